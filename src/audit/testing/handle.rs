//! A segment in memory that is open for appending.

use super::{Effect, Memory, Step};
use crate::audit::device::Segment;
use std::io;

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) memory: Memory,
    pub(super) first: u64,
    pub(super) reserved: bool,
}

impl Segment for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.memory.step(Step::Append, |state, effect| {
            if state.full && !self.reserved {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let bytes = match effect {
                Effect::Short => &bytes[..bytes.len() / 2],
                Effect::Persists | Effect::Fails | Effect::Works => bytes,
            };
            state.largest = state.largest.max(bytes.len());
            let file = state.files.get_mut(&self.first).unwrap();
            file.written.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.memory.wait_while_held();
        let first = self.first;
        let synced = self.memory.step(Step::Sync, |state, effect| {
            let file = state.files.get_mut(&first).unwrap();
            let unsynced = file.written.len().saturating_sub(file.durable.len());
            let made = match effect {
                Effect::Short => unsynced / 2,
                Effect::Persists | Effect::Fails | Effect::Works => unsynced,
            };
            file.sync(file.durable.len() + made);
            Ok(())
        });
        synced.inspect_err(|_| {
            self.memory.with(|state| {
                let file = state.files.get_mut(&first).unwrap();
                file.lost.push(file.durable.len()..file.written.len());
            });
        })
    }

    fn size(&self) -> io::Result<u64> {
        let mut size = 0;
        self.memory.step(Step::Size, |state, _| {
            let file = state.files.get(&self.first);
            size = file.ok_or(io::ErrorKind::NotFound)?.written.len();
            Ok(())
        })?;
        Ok(u64::try_from(size).unwrap())
    }
}
