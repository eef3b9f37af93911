//! A log device that takes what the writer gives it and keeps nothing: what is left of a call without the disk, and, since
//! there is nothing to read back, without the tree: the publisher says so once, and goes on asking for the records.

use cambist::audit::{CreateError, Device, Segment, Segments, Source, Space};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Knows how much its segment would hold.
#[derive(Clone, Debug, Default)]
pub struct Discard(Arc<AtomicU64>);

impl Segments for Discard {
    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(Vec::new())
    }

    fn read(&self, _: u64) -> io::Result<Box<dyn Source>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn index(&self, _: u64) -> io::Result<Box<dyn Source>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn distrust(&self, _: u64) {}

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl Device for Discard {
    fn repair(&self, _: u64, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _: u64) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(self.clone()))
    }

    fn create(&self, _: u64, head: &[u8], _: Space) -> Result<Box<dyn Segment>, CreateError> {
        self.0.store(head.len() as u64, Ordering::Release);
        Ok(Box::new(self.clone()))
    }

    fn keep_reserve(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_low(&self, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn keep_acknowledged(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn forget_acknowledged(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Segment for Discard {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Acquire))
    }
}
