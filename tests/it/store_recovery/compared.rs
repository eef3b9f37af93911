//! What a start makes of where the store and the log say that they are.

use super::{at, end, position};
use cambist::store::recovery::{Lineage, LogEnd, Recovery, decide};
use cambist::store::{LogId, Revision};

/// A log whose last record from the store is followed by others.
fn since(sequence: u64, taken: Revision, taken_at: u64) -> Option<LogEnd> {
    let end = end(sequence, Some(taken))?;
    Some(LogEnd {
        taken_at: Some(taken_at),
        ..end
    })
}

#[test]
fn store_and_log_are_compared() {
    let behind = |from_sequence| Recovery::StoreBehind { from_sequence };
    let untold = |sequence, counter| Recovery::Untold(position(sequence, counter).unwrap());
    let store = |revision, ancestors: &[Revision], log| Lineage {
        revision,
        ancestors: ancestors.to_vec(),
        log,
    };
    // A log that was begun when the other was lost, and has grown past where that was.
    let anew = |taken_at| {
        Some(LogEnd {
            log: LogId(0xb),
            sequence: 30,
            taken: Some(at(1, 80)),
            taken_at: Some(taken_at),
        })
    };
    let table = [
        (
            "both new",
            store(at(1, 0), &[], None),
            None,
            Recovery::InStep,
        ),
        (
            "in step",
            store(at(1, 50), &[], position(20, 48)),
            end(20, Some(at(1, 48))),
            Recovery::InStep,
        ),
        (
            "issues since",
            store(at(1, 50), &[], position(20, 48)),
            since(90, at(1, 48), 20),
            Recovery::InStep,
        ),
        (
            "a change that it was not told of, from before it was told last",
            store(at(1, 50), &[], position(20, 48)),
            since(90, at(1, 49), 20),
            Recovery::Foreign,
        ),
        (
            "crash before the store was told",
            store(at(1, 50), &[], position(20, 48)),
            end(22, Some(at(1, 50))),
            untold(22, 50),
        ),
        (
            "never told",
            store(at(1, 50), &[], None),
            end(22, Some(at(1, 50))),
            untold(22, 50),
        ),
        (
            "issues only",
            store(at(1, 0), &[], None),
            end(22, None),
            Recovery::InStep,
        ),
        (
            "lost its newest",
            store(at(1, 50), &[], position(20, 48)),
            end(25, Some(at(1, 51))),
            behind(21),
        ),
        (
            "old backup",
            store(at(2, 50), &[at(1, 50)], position(20, 48)),
            end(90, Some(at(1, 80))),
            behind(21),
        ),
        (
            "backup from before any drain",
            store(at(2, 5), &[at(1, 5)], None),
            end(90, Some(at(1, 80))),
            behind(0),
        ),
        (
            "backup of a backup",
            store(at(3, 60), &[at(1, 50), at(2, 60)], position(20, 48)),
            end(90, Some(at(2, 61))),
            behind(21),
        ),
        (
            "backup, nothing lost",
            store(at(2, 50), &[at(1, 50)], position(20, 48)),
            end(90, Some(at(1, 50))),
            untold(90, 50),
        ),
        (
            "redone, then stopped",
            store(at(2, 55), &[at(1, 50)], position(90, 50)),
            end(90, Some(at(1, 80))),
            Recovery::InStep,
        ),
        (
            "redone, then served",
            store(at(2, 55), &[at(1, 50)], position(90, 50)),
            since(93, at(1, 80), 90),
            Recovery::InStep,
        ),
        (
            "put back after it was redone",
            store(at(2, 50), &[at(1, 50)], position(20, 48)),
            since(93, at(1, 80), 21),
            behind(21),
        ),
        (
            "log rolled back",
            store(at(1, 50), &[], position(20, 48)),
            end(19, Some(at(1, 48))),
            Recovery::LogBehind,
        ),
        (
            "log gone",
            store(at(1, 50), &[], position(20, 48)),
            None,
            Recovery::LogBehind,
        ),
        (
            "put back a second time",
            store(at(3, 50), &[at(1, 50)], position(20, 48)),
            end(93, Some(at(2, 55))),
            behind(21),
        ),
        (
            "an older one put back after that",
            store(at(3, 40), &[at(1, 40)], position(15, 40)),
            end(93, Some(at(2, 55))),
            behind(16),
        ),
        (
            "another log",
            store(at(1, 50), &[], position(20, 48)),
            anew(30),
            Recovery::Foreign,
        ),
        (
            "another log, in which nothing came since",
            store(at(1, 50), &[], position(20, 48)),
            anew(20),
            Recovery::Foreign,
        ),
        (
            "store of another node",
            store(at(9, 50), &[], None),
            end(90, Some(at(1, 48))),
            Recovery::Foreign,
        ),
        (
            "log that never took",
            store(at(1, 50), &[], position(20, 48)),
            end(21, None),
            Recovery::Foreign,
        ),
    ];
    for (name, store, log, expected) in table {
        assert_eq!(decide(&store, log.as_ref()), expected, "{name}");
    }
}
