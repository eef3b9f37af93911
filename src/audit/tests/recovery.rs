//! What a start makes of what a crash, a bad disk or a stranger left behind.

use crate::audit::recovery::recover;
use crate::audit::segment::Headers;
use crate::audit::testing::{
    Effect, Memory, NOW, ORIGIN, Step, context, minted, open, open_with, options,
};
use crate::audit::{Log, OpenError, read};
use crate::clock::SystemRandomness;
use crate::clock::testing::TestClock;
use crate::keys::MacKey;
use crate::limits;
use jiff::Timestamp;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;

/// A log of `count` issues, closed, as its one segment's bytes.
fn log_of(count: u128) -> Vec<u8> {
    let device = Memory::new();
    let opened = open(&device);
    runtime().block_on(async {
        for n in 0..count {
            opened.log.issue(minted(n), &context()).await.unwrap();
        }
        opened.log.close().await;
    });
    device.bytes(0)
}

/// A log of `alone` issues, each acknowledged before the next, and then of `together` in one commit.
fn log_with_batch(alone: u128, together: u128) -> Vec<u8> {
    let device = Memory::new();
    let opened = open(&device);
    runtime().block_on(async {
        for n in 1..alone {
            opened.log.issue(minted(n), &context()).await.unwrap();
        }
        device.hold(true);
        let last = opened.log.issue(minted(alone), &context());
        device.await_sync();
        let batch: Vec<_> = (1..=together)
            .map(|n| opened.log.issue(minted(alone + n), &context()))
            .collect();
        device.hold(false);
        last.await.unwrap();
        for issue in batch {
            issue.await.unwrap();
        }
        opened.log.close().await;
    });
    device.bytes(0)
}

/// The sectors of a file from the one on that holds `from`, as far as they lie between there and `to`.
fn sectors(from: usize, to: usize) -> impl Iterator<Item = Range<usize>> {
    (from / 512..to.div_ceil(512)).map(move |n| (n * 512).max(from)..(n * 512 + 512).min(to))
}

fn zeroed(whole: &[u8], hole: Range<usize>) -> Vec<u8> {
    let mut holed = whole.to_vec();
    holed[hole].fill(0);
    holed
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

fn device_of(bytes: Vec<u8>) -> Arc<Memory> {
    let device = Memory::new();
    device.set_bytes(0, bytes);
    device
}

/// Where the lines of a segment begin, the header's included, and its length.
fn lines(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect()
}

fn goes_on(device: &Arc<Memory>, next: u64) {
    let opened = open(device);
    assert_eq!(opened.recovered.next, next);
    runtime().block_on(async {
        let issued = opened.log.issue(minted(99), &context()).await.unwrap();
        assert_eq!(issued.receipt().index, next);
        opened.log.close().await;
    });
    let records = device.power_cut().records();
    assert_eq!(records.len() as u64, next + 1);
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_record_is_dropped() {
    let whole = log_of(3);
    let starts = lines(&whole);
    let last = starts[starts.len() - 2];
    for cut in last..whole.len() {
        goes_on(&device_of(whole[..cut].to_vec()), 2);
    }
    goes_on(&device_of(whole), 3);
}

/// Power fails while a batch is written: any of its sectors may be missing, the rest of the one that the batch before it
/// ends in among them.
#[test]
fn a_batch_with_a_sector_that_was_never_written_is_dropped_from_there() {
    let whole = log_with_batch(2, 5);
    let starts = lines(&whole);
    let batch = starts[3];
    for hole in sectors(batch, whole.len()) {
        let lost = starts.iter().rposition(|start| *start <= hole.start);
        let next = u64::try_from(lost.unwrap() - 1).unwrap();
        goes_on(&device_of(zeroed(&whole, hole)), next);
    }
    // All of it, and the file's size alone was written.
    goes_on(&device_of(zeroed(&whole, batch..whole.len())), 2);
    // What begins or ends where no sector does was not left by a crash.
    let edge = batch.next_multiple_of(512);
    for damage in [batch..edge - 1, edge + 1..edge + 512, edge..edge + 511] {
        let damaged = device_of(zeroed(&whole, damage.clone()));
        assert!(open_with(&damaged, options()).is_err(), "{damage:?}");
    }
}

/// What a later batch follows was durable, and acknowledged: it is never taken for a torn tail.
#[test]
fn a_hole_before_a_later_batch_is_damage() {
    let whole = log_with_batch(6, 3);
    let starts = lines(&whole);
    for hole in sectors(starts[1], starts[7]) {
        let damaged = device_of(zeroed(&whole, hole.clone()));
        assert!(open_with(&damaged, options()).is_err(), "{hole:?}");
    }
    // Also where the only line of the later batch has lost its beginning.
    let whole = log_of(6);
    let starts = lines(&whole);
    let hole = starts[6] / 512 * 512..starts[6].next_multiple_of(512);
    assert!(hole.start > starts[5] && hole.end < whole.len());
    assert!(open_with(&device_of(zeroed(&whole, hole)), options()).is_err());
}

/// A sync fails and the process dies before a new segment is begun. The next start reads back from memory what may not
/// be on disk; it must be there once that start has built on it.
#[test]
fn what_is_read_back_after_a_failed_sync_is_written_again() {
    let device = Memory::new();
    let opened = open(&device);
    runtime().block_on(async {
        opened.log.issue(minted(1), &context()).await.unwrap();
        device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
        device.break_down(Step::Create);
        assert!(opened.log.issue(minted(2), &context()).await.is_err());
        opened.log.close().await;
    });
    device.mend();
    goes_on(&device, 2);
    assert_eq!(open(&device.power_cut()).recovered.next, 3);
}

#[test]
fn entries_are_the_bytes_that_the_segment_holds() {
    let whole = log_of(3);
    let starts = lines(&whole);
    let all: Vec<_> = read::records(device_of(whole.clone()), 0)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (entry, at) in all.iter().zip(starts.windows(2).skip(1)) {
        assert_eq!(entry.line, whole[at[0]..at[1] - 1]);
    }
    assert_eq!(all.len(), 3);
}

#[test]
fn what_may_be_dropped_is_bounded_at_n_and_n_plus_one() {
    let whole = log_of(1);
    for (beyond, opens) in [(0, true), (1, false)] {
        let mut bytes = whole.clone();
        bytes.resize(whole.len() + limits::LOG_BATCH_BYTES + beyond, 0);
        assert_eq!(open_with(&device_of(bytes), options()).is_ok(), opens);
    }
}

#[test]
fn damage_before_the_tail_is_named_by_file_and_offset() {
    let whole = log_of(3);
    let second = lines(&whole)[2];
    let mut bytes = whole;
    bytes[second + 1] = b'!';
    match open_with(&device_of(bytes.clone()), options()).map(|_| ()) {
        Err(OpenError::Damaged { file, offset, .. }) => {
            assert_eq!(file, "00000000000000000000.seg");
            assert_eq!(offset, second as u64);
        }
        other => panic!("{other:?}"),
    }
    let device = device_of(bytes);
    let read: Vec<_> = read::records(device, 0).unwrap().collect();
    assert_eq!(read.len(), 2);
    assert!(matches!(read[1], Err(read::ReadError::Damaged { .. })));
}

#[test]
fn another_origin_and_another_format_are_refused() {
    let text = String::from_utf8(log_of(1)).unwrap();
    for (from, to) in [
        ("node-1", "node-2"),
        (r#""version":2"#, r#""version":1"#),
        (r#""cambist":"log""#, r#""cambist":"box""#),
        (r#""first":0"#, r#""first":1"#),
        ("\n", " "),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        assert!(
            open_with(&device_of(other.into_bytes()), options()).is_err(),
            "{from}"
        );
    }
}

/// All that a header says counts when it is next relied on.
#[test]
fn a_header_that_somebody_changed_is_refused() {
    let text = String::from_utf8(log_of(2)).unwrap();
    let (header, records) = text.split_once('\n').unwrap();
    let (said, tag) = header.split_once(",\"mac\":").unwrap();
    for (from, to) in [
        (r#""mark":null"#, r#""mark":"9000-01-01T00:00:00Z""#),
        (r#""drained":null"#, r#""drained":"1.1""#),
        (r#""previous":null"#, r#""previous":{"first":0,"size":1}"#),
        (r#""created":"2"#, r#""created":"1"#),
    ] {
        let changed = said.replacen(from, to, 1);
        assert_ne!(changed, said, "{from}");
        let changed = format!("{changed},\"mac\":{tag}\n{records}");
        match open_with(&device_of(changed.into_bytes()), options()).map(|_| ()) {
            Err(OpenError::NotOwn(file)) => assert_eq!(file, "00000000000000000000.seg"),
            other => panic!("{to}: {other:?}"),
        }
    }
}

/// One of an earlier version has none. From where on none is of one, the log's key knows.
#[test]
fn a_header_without_a_tag_opens_up_to_the_first_that_has_one() {
    let (now, random) = (
        Timestamp::from_second(NOW).unwrap(),
        SystemRandomness::default(),
    );
    let headers = |signed_from| Headers::new(MacKey::testing(), signed_from);
    let text = String::from_utf8(log_of(0)).unwrap();
    let (said, tag) = text.trim_end().split_once(",\"mac\":").unwrap();
    let said = said.replacen(r#""first":0"#, r#""first":7"#, 1);
    let opens = |header: &str, signed_from| {
        let device = Memory::new();
        device.set_bytes(7, format!("{header}\n").into_bytes());
        let opened = recover(&*device, ORIGIN, now, &random, &headers(signed_from), false);
        opened.map(|resume| resume.signed_from())
    };
    let without = format!("{said}}}");
    for signed_from in [None, Some(8)] {
        assert_eq!(opens(&without, signed_from).unwrap(), None);
    }
    for signed_from in [Some(7), Some(0)] {
        assert!(opens(&without, signed_from).is_err(), "{signed_from:?}");
    }
    // A wrong one is no older for it.
    let changed = format!("{said},\"mac\":{tag}");
    for signed_from in [None, Some(8), Some(7)] {
        assert!(opens(&changed, signed_from).is_err(), "{signed_from:?}");
    }
}

/// Also where the records are gone that would have come before the first header of which the key knows that it is signed.
#[test]
fn what_is_begun_anew_has_signed_headers_only() {
    for read in [None, Some(0), Some(9)] {
        let (log, _) = Log::open(
            Memory::new(),
            ORIGIN,
            Arc::default(),
            TestClock::at(NOW),
            SystemRandomness::shared(),
            Headers::new(MacKey::testing(), read),
            options(),
        )
        .unwrap();
        runtime().block_on(async {
            log.begin_anew().await.unwrap();
            log.close().await;
        });
        assert_eq!(log.signed_from(), Some(0), "{read:?}");
    }
}

#[test]
fn a_reader_begins_where_it_is_told_and_sees_what_is_missing() {
    let device = device_of(log_of(3));
    let from = |n| read::records(Arc::clone(&device) as _, n).unwrap();
    let sequences: Vec<_> = from(1).map(|entry| entry.unwrap().sequence).collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(from(3).count(), 0);
    let later = Memory::new();
    let moved = String::from_utf8(log_of(1))
        .unwrap()
        .replacen(r#""first":0"#, r#""first":7"#, 1);
    later.set_bytes(7, moved.into_bytes());
    let mut all = read::records(later, 0).unwrap();
    assert!(matches!(all.next(), Some(Err(read::ReadError::Missing(0)))));
}

/// A log that is begun anew is told from the one that was lost; a segment that follows another is not.
#[test]
fn each_log_has_an_id_of_its_own_and_keeps_it() {
    let device = Memory::new();
    let opened = open(&device);
    let id = opened.log.id();
    runtime().block_on(async {
        opened.log.issue(minted(1), &context()).await.unwrap();
        device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
        assert!(opened.log.issue(minted(2), &context()).await.is_err());
        opened.log.close().await;
    });
    let again = open(&device.power_cut());
    assert_eq!((again.recovered.next, again.log.id()), (2, id));
    assert_ne!(open(&Memory::new()).log.id(), id);
}

/// The log that goes on after a rollback was accepted is another one, with the records of the one so far.
#[test]
fn a_log_that_is_begun_anew_goes_on_under_another_id() {
    for full in [false, true] {
        let device = Memory::new();
        let opened = open(&device);
        let id = opened.log.id();
        runtime().block_on(async {
            opened.log.issue(minted(1), &context()).await.unwrap();
            device.break_down(Step::Create);
            assert!(opened.log.begin_anew().await.is_err());
            device.mend();
            device.fill(full);
            opened.log.begin_anew().await.unwrap();
            assert_ne!(opened.log.id(), id);
            device.fill(false);
            opened.log.close().await;
        });
        let device = device.power_cut();
        let kinds = device.records();
        let kinds: Vec<_> = kinds.iter().map(|r| r["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["issue", "gap"]);
        let again = open(&device);
        assert_eq!((again.recovered.next, again.log.id()), (2, opened.log.id()));
    }
}

#[test]
fn the_mark_is_the_highest_time_of_an_issue() {
    let opened = open(&device_of(log_of(2)));
    assert_eq!(opened.recovered.mark, Timestamp::from_second(NOW).ok());
    assert_eq!(open(&Memory::new()).recovered.mark, None);
}

/// A flipped bit anywhere, the last record included, is either noticed at start or changes no record's place: it never
/// makes a record vanish.
#[test]
fn a_flipped_bit_never_drops_a_record() {
    let whole = log_of(3);
    let now = Timestamp::from_second(NOW).unwrap();
    let (random, key) = (SystemRandomness::default(), Headers::testing());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(resume) = recover(&*device_of(bytes), ORIGIN, now, &random, &key, false) {
                assert_eq!(resume.recovered.next, 3, "bit {bit} of byte {at}");
            }
        }
    }
}
