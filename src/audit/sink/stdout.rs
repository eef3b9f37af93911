//! Lines on standard output.

use super::{Delivery, Event, Sink, Undelivered};
use std::io::{self, Write as _};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// Writes each event as a line. The program that serves writes nothing else there.
///
/// A pipe that nobody reads holds up whoever writes into it, for as long as it likes: that is a thread of its own, which the
/// process does not wait for at its end. What it was given is not given to it again: lines are never torn by a delivery that was
/// dropped.
#[derive(Debug, Default)]
pub struct Stdout {
    writer: Option<mpsc::SyncSender<Work>>,
    /// The batch that is being written: its last sequence, and how it went.
    writing: Option<(u64, oneshot::Receiver<io::Result<()>>)>,
}

#[derive(Debug)]
struct Work {
    lines: Vec<u8>,
    done: oneshot::Sender<io::Result<()>>,
}

impl Sink for Stdout {
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a> {
        Box::pin(async move {
            let Some(last) = batch.last().map(|event| event.sequence) else {
                return Ok(0);
            };
            if self
                .writing
                .as_ref()
                .is_none_or(|(until, _)| *until != last)
            {
                let done = self
                    .write(batch)
                    .map_err(|error| Undelivered::failed(&error))?;
                self.writing = Some((last, done));
            }
            let Some((_, done)) = &mut self.writing else {
                return Ok(0);
            };
            let written = done.await;
            self.writing = None;
            match written {
                Ok(Ok(())) => Ok(0),
                Ok(Err(error)) => Err(Undelivered::failed(&error)),
                Err(_) => {
                    self.writer = None;
                    Err(Undelivered::Failed("the writer has ended".to_owned()))
                }
            }
        })
    }
}

impl Stdout {
    fn write(&mut self, batch: &[Event]) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let mut lines = Vec::new();
        for event in batch {
            lines.extend_from_slice(event.text.as_bytes());
            lines.push(b'\n');
        }
        let (done, written) = oneshot::channel();
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => start()?,
        };
        // One batch at a time is given out, so that there is room for it.
        writer
            .try_send(Work { lines, done })
            .map_err(io::Error::other)?;
        self.writer = Some(writer);
        Ok(written)
    }
}

fn start() -> io::Result<mpsc::SyncSender<Work>> {
    let (sender, work) = mpsc::sync_channel::<Work>(1);
    std::thread::Builder::new()
        .name("sink-stdout".to_owned())
        .spawn(move || {
            for Work { lines, done } in work {
                let mut out = io::stdout().lock();
                let written = out.write_all(&lines).and_then(|()| out.flush());
                drop(out);
                let _nobody_waits = done.send(written);
            }
        })?;
    Ok(sender)
}
