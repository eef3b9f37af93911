//! Whether a record is the one that was logged.
//!
//! Whoever can write to the log's folder can put another record in a record's place, and no file tells. So what a running
//! broker hands out is held to the tree that it has published, and to the hashes that the writer kept of what is not in that
//! yet. That is asked of what is handed out, and not of all that is looked through to find it.

use super::device::{Segments, Source};
use super::publisher::Publisher;
use super::read::{Entry, ReadError};
use super::tree::{Hash, Tile};
use std::io;
use std::sync::Arc;

/// Hashes of records that follow each other.
#[derive(Debug, Default)]
pub struct Row {
    /// The first of them.
    first: u64,
    hashes: Vec<Hash>,
}

impl Row {
    fn hash_of(&self, sequence: u64) -> Option<Hash> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.hashes.get(place).copied()
    }
}

/// Holds what one reader reads to what is known of it. It remembers what it was told last: neighbours are told together.
#[derive(Debug, Default)]
pub struct Check {
    last: Row,
}

impl Check {
    /// Lets a record of `segments` through that is the one that was logged, or of which that is not known.
    ///
    /// # Errors
    /// [`ReadError::Changed`], or what keeps the tree from being read.
    pub fn held(&mut self, segments: &dyn Segments, entry: Entry) -> Result<Entry, ReadError> {
        let sequence = entry.sequence;
        if self.last.hash_of(sequence).is_none() {
            self.last = segments.hashes_at(sequence)?;
        }
        match self.last.hash_of(sequence) {
            Some(hash) => entry.held_to(hash),
            None => Ok(entry),
        }
    }
}

/// Segments whose records are known by the tree.
#[derive(Debug)]
pub struct Logged {
    segments: Arc<dyn Segments>,
    publisher: Arc<Publisher>,
}

impl Logged {
    /// Those of the log that `publisher` publishes.
    #[must_use]
    pub fn new(segments: Arc<dyn Segments>, publisher: Arc<Publisher>) -> Self {
        Self {
            segments,
            publisher,
        }
    }
}

impl Segments for Logged {
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.segments.segments()
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.segments.read(first)
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.segments.index(first)
    }

    fn distrust(&self, first: u64) {
        self.segments.distrust(first);
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        self.segments.acknowledged()
    }

    fn hashes_at(&self, sequence: u64) -> io::Result<Row> {
        // Before the tree is: it has what is forgotten here.
        if let Some(hash) = self.publisher.written(sequence) {
            let (first, hashes) = (sequence, vec![hash]);
            return Ok(Row { first, hashes });
        }
        let tile = Tile::of_leaf(sequence, sequence).index;
        Ok(Row {
            first: tile.saturating_mul(u64::from(Tile::FULL)),
            hashes: self.publisher.neighbours(sequence)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::leaves::{Leaves, Run};
    use crate::audit::testing::stand_in::StandIn;
    use crate::audit::testing::{Memory, archive, context, minted, open_with, options, token_id};
    use crate::audit::{Filter, Follow, Options, Order, search, story};
    use std::fs;
    use std::path::Path;

    const RECORDS: u64 = 300;
    /// Up to where there is a checkpoint: a full tile, and some of the next.
    const PUBLISHED: u64 = 280;
    /// Up to where the writer's hashes are in memory.
    const WRITTEN: u64 = 290;

    async fn world(folder: &Path) -> (Arc<Memory>, Arc<Logged>) {
        let device = Memory::new();
        let small = Options {
            segment_bytes: 30_000,
            ..options()
        };
        let log = open_with(&device, small).unwrap().log;
        for n in 0..RECORDS {
            log.issue(minted(n.into()), &context()).await.unwrap();
        }
        // Its writer keeps hashes.
        let written = Arc::new(StandIn {
            leaves: Some(Leaves::default()),
            ..StandIn::of(&device)
        });
        let publisher = archive::publisher(folder, Arc::clone(&written) as _, 0);
        publisher.advance(PUBLISHED).unwrap();
        let all = crate::audit::read::records(Arc::clone(&device) as _, PUBLISHED).unwrap();
        let count = usize::try_from(WRITTEN - PUBLISHED).unwrap();
        let leaves = written.leaves().unwrap();
        for entry in all.take(count) {
            let line = [&entry.unwrap().line[..], b"\n"].concat();
            leaves.put(Run::of(&line).unwrap());
        }
        let logged = Logged::new(written, Arc::new(publisher));
        (device, Arc::new(logged))
    }

    /// Changes what a record says, and nothing of its form. Gives what its segment was.
    fn change(device: &Memory, sequence: u64) -> (u64, Vec<u8>) {
        let firsts = device.segments().unwrap();
        let first = firsts.into_iter().rfind(|first| *first <= sequence);
        let was = device.bytes(first.unwrap());
        let text = String::from_utf8(was.clone()).unwrap();
        let begin = text.find(&format!("\"seq\":{sequence},")).unwrap();
        let (before, its) = text.split_at(begin);
        let its = its.replacen("192.0.2.7", "192.0.2.8", 1);
        device.set_bytes(first.unwrap(), format!("{before}{its}").into_bytes());
        (first.unwrap(), was)
    }

    #[tokio::test]
    async fn what_was_changed_is_not_handed_out_and_ends_the_reading() {
        let folder = tempfile::tempdir().unwrap();
        let (device, logged) = world(folder.path()).await;
        let found = |order| {
            let all = search(
                Arc::clone(&logged) as _,
                Filter::default(),
                0..RECORDS,
                order,
            );
            let all = all.unwrap().map(|found| match found {
                Ok(entry) => Ok(entry.sequence),
                Err(ReadError::Changed(sequence)) => Err(sequence),
                Err(error) => panic!("{error}"),
            });
            all.collect::<Vec<Result<u64, u64>>>()
        };
        for changed in [0, 3, 255, 256, PUBLISHED - 1, PUBLISHED, WRITTEN - 1] {
            let (first, was) = change(&device, changed);
            let up_to: Vec<_> = (0..changed).map(Ok).chain([Err(changed)]).collect();
            assert_eq!(found(Order::OldestFirst), up_to);
            let down_to = (changed + 1..RECORDS).rev().map(Ok).chain([Err(changed)]);
            assert_eq!(found(Order::NewestFirst), down_to.collect::<Vec<_>>());
            // Also where it is not wanted by what it says.
            let nothing = Filter::default().within(crate::audit::Field::Kind, [].into());
            for filter in [Filter::default(), nothing] {
                let mut follow = Follow::new(Arc::clone(&logged) as _, 0);
                let ended = follow.read(RECORDS, &filter, |_| true).unwrap_err();
                assert!(matches!(ended, ReadError::Changed(at) if at == changed));
                assert_eq!(follow.next(), changed);
            }
            let token = token_id(changed.into()).to_string();
            let told = story(Arc::clone(&logged) as _, Filter::default(), RECORDS, &token);
            let told = told.unwrap();
            assert!(told.records.is_empty());
            let problem = ReadError::Changed(changed).to_string();
            assert_eq!(told.problems, [problem]);
            device.set_bytes(first, was);
        }
        // Nothing knows it yet.
        change(&device, WRITTEN);
        assert_eq!(found(Order::OldestFirst).len() as u64, RECORDS);
    }

    #[tokio::test]
    async fn neighbours_are_asked_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let (_, logged) = world(folder.path()).await;
        let all = search(
            logged.clone(),
            Filter::default(),
            0..257,
            Order::OldestFirst,
        );
        let mut all = all.unwrap();
        let tile = folder.path().join("tile/0/000");
        let mut next = || all.next().unwrap().map(drop);
        next().unwrap();
        fs::remove_file(&tile).unwrap();
        (1..256).for_each(|_| next().unwrap());
        assert!(!tile.exists(), "it was not looked for");
        // Made again when it is.
        let mut check = Check::default();
        let entry = |at| {
            crate::audit::read::records(logged.clone(), at)
                .unwrap()
                .next()
        };
        for (sequence, is_there) in [(256, false), (0, true)] {
            check
                .held(&*logged, entry(sequence).unwrap().unwrap())
                .unwrap();
            assert_eq!(tile.exists(), is_there);
        }
    }
}
