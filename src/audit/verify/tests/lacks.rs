//! A log that is read while its writer finds that records are gone, or has them back.

use super::{look, publisher};
use crate::audit::acknowledged::Acknowledged;
use crate::audit::testing::stand_in::StandIn;
use crate::audit::testing::{Memory, context, minted, open};
use crate::audit::{Device as _, Finding, Lack, Segments};
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
        let mut segments = StandIn::of(&device);
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::PutsBack => {
                segments.acknowledged = Box::new(|memory| {
                    let kept = memory.acknowledged();
                    memory.forget_acknowledged()?;
                    kept
                });
            }
            Meanwhile::Loses(acknowledged) => {
                segments.segments = Box::new(move |memory| {
                    memory.keep_acknowledged(&acknowledged.encode()?)?;
                    memory.segments()
                });
            }
        }
        look(folder, Arc::new(segments), publisher.verifier())
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
