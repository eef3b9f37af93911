//! A log that is read while its writer finds that records are gone, or has them back.

use super::{look, publisher};
use crate::audit::acknowledged::Acknowledged;
use crate::audit::device::Source;
use crate::audit::testing::{Memory, context, minted, open};
use crate::audit::{Device as _, Finding, Lack, Segments};
use std::io;
use std::sync::Arc;

/// What the writer does meanwhile.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    /// It drops what it kept, once that was read.
    PutsBack,
    /// It goes on behind what is read, and finds that this is gone.
    Loses(Acknowledged),
}

#[derive(Debug)]
struct Written(Arc<Memory>, Meanwhile);

impl Segments for Written {
    fn segments(&self) -> io::Result<Vec<u64>> {
        if let Meanwhile::Loses(acknowledged) = self.1 {
            self.0.keep_acknowledged(&acknowledged.encode()?)?;
        }
        self.0.segments()
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.0.read(first)
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.0.index(first)
    }

    fn distrust(&self, first: u64) {
        self.0.distrust(first);
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        let kept = self.0.acknowledged();
        if let Meanwhile::PutsBack = self.1 {
            self.0.forget_acknowledged()?;
        }
        kept
    }
}

#[tokio::test]
async fn only_what_was_acknowledged_before_it_was_read_and_is_still_missing_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let device = Memory::new();
    let opened = open(&device);
    for n in [1, 2] {
        opened.log.issue(minted(n), &context()).await.unwrap();
    }
    let publisher = publisher(folder, Arc::clone(&device) as _, 1);
    publisher.advance(1).unwrap();
    let kept = |records| Acknowledged {
        log: opened.log.id(),
        records,
    };
    let found = |meanwhile| {
        let segments = Arc::new(Written(Arc::clone(&device), meanwhile));
        look(folder, segments, publisher.verifier())
    };
    assert_eq!(found(Meanwhile::Loses(kept(3))).unwrap().records, 2);
    // From now on it is known before.
    let lacks = |found| match found {
        Err(Finding::Lacks(lack)) => lack,
        found => panic!("{found:?}"),
    };
    let behind = Lack::Behind {
        log: 2,
        acknowledged: 3,
    };
    assert_eq!(lacks(found(Meanwhile::Nothing)), behind);
    assert_eq!(found(Meanwhile::PutsBack).unwrap().records, 2);
    assert_eq!(found(Meanwhile::Nothing).unwrap().records, 2);
    opened.log.close().await;
}
