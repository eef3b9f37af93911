use super::*;
use crate::audit::segment;
use crate::audit::testing::{Effect, Memory, Step, context, minted, open_with, options};
use crate::audit::{Device, Options, read};
use std::io::ErrorKind;

/// Records, in segments of a few hundred.
const RECORDS: u64 = 1500;

async fn log() -> Arc<Memory> {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 400_000,
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    for n in 0..RECORDS {
        // A segment that fails half-way holds more than its durable size.
        if n == 700 {
            device.fail(Step::Sync, Effect::Persists, ErrorKind::Other);
            let refused = opened.log.issue(minted(n.into()), &context()).await;
            assert!(refused.is_err());
        }
        let _ = opened.log.issue(minted(n.into()), &context()).await;
    }
    opened.log.close().await;
    device
}

fn lines(device: &Arc<Memory>, from: u64) -> Vec<Vec<u8>> {
    let all = read::records(Arc::clone(device) as Arc<dyn Device>, from).unwrap();
    all.map(|entry| entry.unwrap().line).collect()
}

/// Everything there is to do, and what of it failed.
fn keep(device: &Arc<Memory>, published: u64) -> (Vec<Done>, Vec<ArchiveError>) {
    let mut archivist = Archivist::new(Arc::clone(device) as Arc<dyn Archive>);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    loop {
        match archivist.step(published) {
            Ok(None) => return (done, failed),
            Ok(Some(one)) => done.push(one),
            Err(error) => failed.push(error),
        }
    }
}

fn has(device: &Arc<Memory>, first: u64, form: Form) -> bool {
    Archive::has(&**device, first, form).unwrap()
}

#[tokio::test]
async fn sealed_segments_are_compressed_and_hold_the_same_bytes() {
    let device = log().await;
    let before = lines(&device, 0);
    let firsts = device.segments().unwrap();
    let size = |at: usize| {
        durable_size(&*device, firsts[at], firsts[at + 1])
            .unwrap()
            .unwrap()
    };
    let sizes: Vec<u64> = (0..firsts.len() - 1).map(size).collect();
    let plain: Vec<Vec<u8>> = firsts.iter().map(|first| device.bytes(*first)).collect();
    assert!(
        sizes
            .iter()
            .zip(&plain)
            .any(|(size, plain)| *size < plain.len() as u64),
        "a segment holds what is no part of the log"
    );
    // Only what a checkpoint is of.
    let (done, failed) = keep(&device, firsts[2] - 1);
    assert_eq!(done, [Done::Indexed(0), Done::Packed(0)]);
    let (done, more) = keep(&device, u64::MAX);
    assert!(failed.is_empty() && more.is_empty(), "{more:?}");
    assert_eq!(done.len(), 2 * (firsts.len() - 2));
    for (at, first) in firsts.iter().enumerate() {
        let sealed = at + 1 < firsts.len();
        assert_eq!(has(&device, *first, Form::Plain), !sealed);
        let Some(size) = sizes.get(at) else { continue };
        let packed = device.form_bytes(*first, Form::Packed).unwrap();
        assert!(packed.len() < plain[at].len() / 3);
        let unpacked = zstd::stream::decode_all(packed.as_slice()).unwrap();
        assert!(unpacked == plain[at][..usize::try_from(*size).unwrap()]);
    }
    assert_eq!(device.segments().unwrap(), firsts);
    for from in (0..before.len())
        .step_by(97)
        .chain(firsts.iter().map(|n| *n as usize))
    {
        assert!(lines(&device, from as u64) == before[from..], "from {from}");
    }
    // A start looks at the last one only.
    assert_eq!(
        open_with(&device, options()).unwrap().recovered.next,
        before.len() as u64
    );
}

/// Each frame is a tile's records, and the header is a frame of its own.
#[tokio::test]
async fn frames_end_where_tiles_do() {
    let device = log().await;
    keep(&device, u64::MAX);
    let first = device.segments().unwrap()[1];
    assert!(
        !first.is_multiple_of(256),
        "a segment that begins within a tile"
    );
    let packed = device.form_bytes(first, Form::Packed).unwrap();
    let mut rest = packed.as_slice();
    let mut begins = Vec::new();
    while !rest.is_empty() {
        let length = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
        let plain = zstd::stream::decode_all(&rest[..length]).unwrap();
        rest = &rest[length..];
        begins.extend(
            plain
                .split(|byte| *byte == b'\n')
                .next()
                .map(segment::sequence),
        );
    }
    assert_eq!(begins[..2], [None, Some(first)], "header, then records");
    assert_eq!(begins.last().unwrap(), &None, "the table");
    let records = &begins[2..begins.len() - 1];
    assert!(!records.is_empty());
    assert!(
        records
            .iter()
            .all(|begin| begin.unwrap().is_multiple_of(256))
    );
}

/// Step × effect → the log reads the same, nothing is removed that is not there in another form, and it is done later.
#[tokio::test]
async fn each_step_may_fail_in_each_way_and_nothing_is_lost() {
    let device = log().await;
    let before = lines(&device, 0);
    for step in [Step::Put, Step::Remove] {
        for effect in [Effect::Fails, Effect::Short, Effect::Persists] {
            let device = device.power_cut();
            let all = device.segments().unwrap().len();
            for _ in 0..2 * all {
                device.fail(step, effect, ErrorKind::Other);
            }
            let (_, failed) = keep(&device, u64::MAX);
            assert!(!failed.is_empty(), "{step:?} {effect:?}");
            assert!(lines(&device, 0) == before, "{step:?} {effect:?}");
            assert!(
                lines(&device.power_cut(), 0) == before,
                "{step:?} {effect:?}"
            );
            let after = device.power_cut();
            let (_, failed) = keep(&after, u64::MAX);
            assert!(failed.is_empty(), "{step:?} {effect:?}: {failed:?}");
            assert!(lines(&after, 0) == before);
            assert_eq!(after.segments().unwrap().len(), all);
            assert!(!has(&after, 0, Form::Plain), "{step:?} {effect:?}");
        }
    }
}

/// Both forms are there after a crash: the segment itself is what counts, and is only removed for a form that holds the same.
#[tokio::test]
async fn a_compressed_form_that_is_not_the_segment_is_not_believed() {
    let device = log().await;
    let (before, plain) = (lines(&device, 0), device.bytes(0));
    keep(&device, u64::MAX);
    let packed = device.form_bytes(0, Form::Packed).unwrap();
    let other = device.segments().unwrap()[1];
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 1;
    for beside in [
        packed[..packed.len() / 2].to_vec(),
        flipped,
        device.form_bytes(other, Form::Packed).unwrap(),
        Vec::new(),
    ] {
        device.set_bytes(0, plain.clone());
        device.set_form(0, Form::Packed, beside);
        assert!(lines(&device, 0) == before);
        let (done, failed) = keep(&device, u64::MAX);
        assert!(failed.is_empty() && done == [Done::Packed(0)]);
        assert!(device.form_bytes(0, Form::Packed).unwrap() == packed);
        assert!(lines(&device, 0) == before);
    }
}

#[tokio::test]
async fn a_damaged_segment_is_left_as_it_is_and_the_others_are_kept() {
    let device = log().await;
    let firsts = device.segments().unwrap();
    let mut bytes = device.bytes(firsts[1]);
    let at = bytes.len() / 2;
    let at = at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap() + 3;
    bytes[at] ^= 1;
    device.set_bytes(firsts[1], bytes.clone());
    let (done, failed) = keep(&device, u64::MAX);
    assert!(
        matches!(&failed[..], [ArchiveError { first, error: ReadError::Damaged { .. } }] if *first == firsts[1])
    );
    assert_eq!(done.len(), 2 * (firsts.len() - 2));
    assert!(device.bytes(firsts[1]) == bytes);
    assert!(!has(&device, firsts[1], Form::Packed));
}

#[tokio::test]
async fn a_changed_byte_of_a_compressed_segment_is_damage_and_no_other_record() {
    let device = log().await;
    let before = lines(&device, 0);
    keep(&device, u64::MAX);
    let mut packed = device.form_bytes(0, Form::Packed).unwrap();
    let at = packed.len() * 9 / 10;
    packed[at] ^= 1;
    device.set_form(0, Form::Packed, packed);
    let all = read::records(Arc::clone(&device) as Arc<dyn Device>, 0).unwrap();
    for (read, entry) in all.enumerate() {
        match entry {
            Ok(entry) => assert!(entry.line == before[read]),
            Err(error) => {
                assert!(
                    matches!(&error, ReadError::Damaged { file, .. } if file.ends_with(".seg.zst")),
                    "{error}"
                );
                return assert!(read > 0 && read.is_multiple_of(256));
            }
        }
    }
    panic!("the damage is not told");
}
