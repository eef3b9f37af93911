//! A log in memory, cursors in memory, and a receiver that does as it is told.

use crate::audit::sink::{
    Around, Cursor, Cursors, Delivery, Event, Format, Kind, Relay, Settings, Sink, SinkName, Start,
    Undelivered,
};
use crate::audit::testing::{Memory, Opened, open};
use crate::audit::{Act, ActKind, Filter, Segments};
use crate::clock::SystemRandomness;
use crate::limits;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(super) type Answers = dyn Fn(&[Event]) -> Option<Result<u64, Undelivered>> + Send + Sync;

/// A receiver that is asked each time how it answers; `None` is never.
pub(super) struct Receiver {
    answers: Box<Answers>,
    /// The sequences of each delivery that it answered with yes.
    pub(super) took: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

impl Sink for Receiver {
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a> {
        Box::pin(async move {
            let Some(answer) = (self.answers)(batch) else {
                return std::future::pending().await;
            };
            if answer.is_ok() {
                let taken = batch.iter().map(|event| event.sequence).collect();
                self.took.lock().unwrap().push(taken);
            }
            answer
        })
    }
}

/// Cursors in memory, which can be made to fail.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) all: Mutex<BTreeMap<SinkName, Vec<u8>>>,
    pub(super) fails: AtomicBool,
}

impl Cursors for Kept {
    fn load(&self, name: &SinkName) -> io::Result<Option<Vec<u8>>> {
        Ok(self.all.lock().unwrap().get(name).cloned())
    }

    fn keep(&self, name: &SinkName, bytes: &[u8]) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut all = self.all.lock().unwrap();
        all.insert(name.clone(), bytes.to_vec());
        Ok(())
    }
}

pub(super) struct World {
    pub(super) device: Arc<Memory>,
    pub(super) opened: Opened,
    pub(super) cursors: Arc<Kept>,
    pub(super) took: Arc<Mutex<Vec<Vec<u64>>>>,
    /// What the sink takes.
    pub(super) only: Filter,
}

pub(super) fn name(text: &str) -> SinkName {
    SinkName::try_from(text.to_owned()).unwrap()
}

impl World {
    pub(super) async fn with(records: u64) -> Self {
        let device = Memory::new();
        let world = Self {
            opened: open(&device),
            device,
            cursors: Arc::default(),
            took: Arc::default(),
            only: Filter::default(),
        };
        world.record(records).await;
        world
    }

    pub(super) async fn record(&self, count: u64) {
        for _ in 0..count {
            self.act("broker.start").await;
        }
    }

    pub(super) async fn act(&self, action: &'static str) {
        let act = Act::new(ActKind::Start, action);
        self.opened.log.event(&act).await.unwrap();
    }

    pub(super) fn open(
        &self,
        start: Start,
        answers: impl Fn(&[Event]) -> Option<Result<u64, Undelivered>> + Send + Sync + 'static,
    ) -> Relay {
        self.open_on(self.device.clone(), start, answers)
    }

    pub(super) fn open_on(
        &self,
        segments: Arc<dyn Segments>,
        start: Start,
        answers: impl Fn(&[Event]) -> Option<Result<u64, Undelivered>> + Send + Sync + 'static,
    ) -> Relay {
        let settings = Settings {
            name: name("test"),
            format: Format::Record,
            only: self.only.clone(),
            start,
            timeout: limits::SINK_DELIVERY,
            kind: Kind::Stdout,
        };
        let around = Around {
            log: self.opened.log.clone(),
            segments,
            cursors: self.cursors.clone(),
            clock: self.opened.clock.clone(),
            random: SystemRandomness::shared(),
        };
        let receiver = Receiver {
            answers: Box::new(answers),
            took: Arc::clone(&self.took),
        };
        Relay::open(settings, Box::new(receiver), around).unwrap()
    }

    /// What was taken since the last look.
    pub(super) fn took(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut *self.took.lock().unwrap())
    }

    pub(super) fn cursor(&self) -> u64 {
        let kept = self.cursors.load(&name("test")).unwrap().unwrap();
        let cursor = Cursor::decode(&kept).unwrap();
        assert_eq!(cursor.log, self.opened.log.id());
        cursor.next
    }

    pub(super) fn put_cursor(&self, bytes: &[u8]) {
        self.cursors.keep(&name("test"), bytes).unwrap();
    }

    pub(super) async fn pass(&self, relay: &mut Relay) -> Result<(), String> {
        relay.pass(self.opened.log.durable()).await
    }
}

pub(super) fn takes_all(_: &[Event]) -> Option<Result<u64, Undelivered>> {
    Some(Ok(0))
}

pub(super) fn failed() -> Undelivered {
    Undelivered::Failed("away".into())
}

pub(super) fn refused() -> Undelivered {
    Undelivered::Refused("odd".into())
}

pub(super) struct Said(pub(super) Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
