//! Segments for a reading that may be given up.

use super::device::{Segments, Source};
use super::logged::Row;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Whether somebody still waits for what is read.
pub(super) type IsWanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// Segments that cannot be read any more once nobody wants it: a search through gigabytes ends with its caller, whether or
/// not it finds anything.
pub(super) struct WhileWanted {
    pub(super) segments: Arc<dyn Segments>,
    pub(super) is_wanted: IsWanted,
}

impl fmt::Debug for WhileWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.fmt(f)
    }
}

impl Segments for WhileWanted {
    fn segments(&self) -> io::Result<Vec<u64>> {
        wanted(&self.is_wanted)?;
        self.segments.segments()
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        wanted(&self.is_wanted)?;
        Ok(self.watched(self.segments.read(first)?))
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        wanted(&self.is_wanted)?;
        Ok(self.watched(self.segments.index(first)?))
    }

    fn distrust(&self, first: u64) {
        // What could not be read because nobody wants it any more says nothing of the file.
        if (self.is_wanted)() {
            self.segments.distrust(first);
        }
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        wanted(&self.is_wanted)?;
        self.segments.acknowledged()
    }

    fn hashes_at(&self, sequence: u64) -> io::Result<Row> {
        wanted(&self.is_wanted)?;
        self.segments.hashes_at(sequence)
    }
}

impl WhileWanted {
    fn watched(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        Box::new(Watched {
            source,
            is_wanted: Arc::clone(&self.is_wanted),
        })
    }
}

struct Watched {
    source: Box<dyn Source>,
    is_wanted: IsWanted,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        wanted(&self.is_wanted)?;
        self.source.read(into)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

fn wanted(is_wanted: &IsWanted) -> io::Result<()> {
    match is_wanted() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "nobody waits for it any more",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Memory, open_with, options};
    use crate::audit::{Act, ActKind, Filter, Options, Order, search};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A search that finds nothing has nothing to send, and would go on to the end for nobody.
    #[tokio::test]
    async fn a_search_ends_when_nobody_waits_for_it() {
        let device = Memory::new();
        let small = Options {
            segment_bytes: 1,
            ..options()
        };
        let opened = open_with(&device, small).unwrap();
        for _ in 0..8 {
            let act = Act::new(ActKind::Admin, "key.create");
            opened.log.event(&act).await.unwrap();
        }
        let looks = Arc::new(AtomicUsize::new(0));
        let of = |most: usize| {
            let looks = Arc::clone(&looks);
            looks.store(0, Ordering::Relaxed);
            let segments = WhileWanted {
                segments: Arc::clone(&device) as _,
                is_wanted: Arc::new(move || looks.fetch_add(1, Ordering::Relaxed) < most),
            };
            let nothing = Filter::default().within(crate::audit::Field::Kind, [].into());
            search(Arc::new(segments), nothing, 0..8, Order::OldestFirst).map(Iterator::collect)
        };
        let all: Result<Vec<_>, _> = of(usize::MAX);
        assert!(all.unwrap().is_empty());
        let needed = looks.load(Ordering::Relaxed);
        assert!(needed > 16, "it looks at every segment: {needed}");
        let cut: Result<Vec<_>, _> = of(needed / 2);
        assert!(cut.unwrap().iter().any(Result::is_err));
        assert!(of(0).is_err());
    }
}
