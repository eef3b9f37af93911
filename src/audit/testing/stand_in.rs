//! Segments that stand in for those in memory.

use super::Memory;
use crate::audit::Leaves;
use crate::audit::device::{Segments, Source};
use std::fmt;
use std::io;
use std::sync::Arc;

/// How a call is answered in the place of the segments in memory.
type Answer<T> = Box<dyn Fn(&Memory) -> io::Result<T> + Send + Sync>;

/// They answer as those in memory do, but for what a test puts in a member here.
pub(in crate::audit) struct StandIn {
    pub(in crate::audit) memory: Arc<Memory>,
    pub(in crate::audit) segments: Answer<Vec<u64>>,
    pub(in crate::audit) acknowledged: Answer<Option<Vec<u8>>>,
    pub(in crate::audit) leaves: Option<Leaves>,
}

impl StandIn {
    /// One that changes nothing yet.
    pub(in crate::audit) fn of(memory: &Arc<Memory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            segments: Box::new(Memory::segments),
            acknowledged: Box::new(Memory::acknowledged),
            leaves: None,
        }
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

impl Segments for StandIn {
    fn segments(&self) -> io::Result<Vec<u64>> {
        (self.segments)(&self.memory)
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        Memory::read(&self.memory, first)
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        Memory::index(&self.memory, first)
    }

    fn distrust(&self, first: u64) {
        Memory::distrust(&self.memory, first);
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        (self.acknowledged)(&self.memory)
    }

    fn leaves(&self) -> Option<&Leaves> {
        self.leaves.as_ref()
    }
}
