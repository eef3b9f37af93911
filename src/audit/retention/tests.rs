use super::*;
use crate::audit::testing::{
    Effect, Memory, NOW, Opened, Step, context, minted, open_with, options,
};
use crate::audit::{Archivist, Device, Options, read};
use std::io::ErrorKind;

/// A log of several segments, the sealed ones compressed.
async fn log() -> (Arc<Memory>, Opened, Vec<u64>) {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 5400,
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    for n in 0..24_u64 {
        opened
            .log
            .issue(minted(n.into()), &context())
            .await
            .unwrap();
        opened.clock.advance(10);
    }
    let mut archivist = Archivist::new(Arc::clone(&device) as Arc<dyn Archive>);
    while archivist.step(u64::MAX).unwrap().is_some() {}
    let firsts = device.segments().unwrap();
    assert!(firsts.len() > 3);
    (device, opened, firsts)
}

fn pruner(device: &Arc<Memory>, opened: &Opened, holds: &Holds) -> Pruner {
    Pruner::new(Arc::clone(device) as _, opened.log.clone(), holds.clone())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn kinds(device: &Arc<Memory>) -> Vec<String> {
    let begin = device.segments().unwrap()[0];
    let all = read::records(Arc::clone(device) as Arc<dyn Device>, begin).unwrap();
    let line = |line: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&line).unwrap();
    let all = all.map(|entry| line(entry.unwrap().line));
    all.map(|record| record["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn segments_go_once_a_checkpoint_is_of_the_act_that_says_so() {
    let (device, opened, firsts) = log().await;
    let mut pruner = pruner(&device, &opened, &Holds::default());
    // Nothing is that old: all of the first segment is, once the second was begun.
    let begun = created(&*device, firsts[1]).unwrap();
    let before = begun.as_second() - NOW;
    assert_eq!(pruner.step(at(before - 1), u64::MAX).await.unwrap(), None);
    assert!(!kinds(&device).contains(&"retention".to_owned()));
    assert_eq!(pruner.step(at(before), u64::MAX).await.unwrap(), None);
    assert_eq!(kinds(&device).last().unwrap(), "retention");
    let told = opened.log.durable() - 1;
    // Told, and not under a checkpoint.
    assert_eq!(pruner.step(at(before), told).await.unwrap(), None);
    assert_eq!(device.segments().unwrap(), firsts);
    let removed = pruner.step(at(before), told + 1).await.unwrap();
    assert_eq!(removed, Some(firsts[1]));
    assert_eq!(device.segments().unwrap(), firsts[1..]);
    assert_eq!(device.form_bytes(firsts[0], Form::Index), None);
    // What is not under a checkpoint, or not compressed, stays; and so does the last one.
    assert_eq!(pruner.step(at(9999), firsts[2] - 1).await.unwrap(), None);
    assert_eq!(device.segments().unwrap(), firsts[1..]);
    let plain = firsts[firsts.len() - 2];
    let packed = Archive::form(&*device, plain, Form::Packed).unwrap();
    let mut bytes = Vec::new();
    io::copy(
        &mut crate::audit::frames::Packed::open(packed).unwrap(),
        &mut bytes,
    )
    .unwrap();
    device.set_bytes(plain, bytes);
    for _ in 0..3 {
        pruner.step(at(9999), u64::MAX).await.unwrap();
    }
    assert_eq!(device.segments().unwrap()[0], plain);
    opened.log.close().await;
}

#[tokio::test]
async fn what_somebody_has_not_taken_stays() {
    let (device, opened, firsts) = log().await;
    let holds = Holds::default();
    let mut pruner = pruner(&device, &opened, &holds);
    let (one, other) = (holds.hold(0), holds.hold(firsts[2]));
    pruner.step(at(9999), u64::MAX).await.unwrap();
    pruner.step(at(9999), u64::MAX).await.unwrap();
    assert_eq!(device.segments().unwrap(), firsts);
    one.raise(firsts[2] - 1);
    pruner.step(at(9999), u64::MAX).await.unwrap();
    pruner.step(at(9999), u64::MAX).await.unwrap();
    assert_eq!(device.segments().unwrap(), firsts[1..]);
    drop(one);
    assert_eq!(holds.least(), Some(firsts[2]));
    // Told under the hold of one, and held by another since.
    let mut told = Pruner::new(Arc::clone(&device) as _, opened.log.clone(), holds.clone());
    told.step(at(9999), u64::MAX).await.unwrap();
    let late = holds.hold(firsts[1]);
    assert_eq!(told.step(at(9999), u64::MAX).await.unwrap(), None);
    assert_eq!(device.segments().unwrap(), firsts[1..]);
    drop(late);
    assert_eq!(
        told.step(at(9999), u64::MAX).await.unwrap(),
        Some(firsts[2])
    );
    drop(other);
    assert_eq!(holds.least(), None);
    opened.log.close().await;
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again_and_nothing_goes_unrecorded() {
    let (device, opened, firsts) = log().await;
    let before = read::records(Arc::clone(&device) as Arc<dyn Device>, 0)
        .unwrap()
        .count();
    let mut pruner = pruner(&device, &opened, &Holds::default());
    device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
    let unrecorded = pruner.step(at(9999), u64::MAX).await;
    assert!(matches!(unrecorded, Err(PruneError::Unrecorded(_))));
    assert_eq!(device.segments().unwrap()[0], 0);
    pruner.step(at(9999), u64::MAX).await.unwrap();
    for effect in [Effect::Fails, Effect::Persists] {
        device.fail(Step::Remove, effect, ErrorKind::Other);
        assert!(matches!(
            pruner.step(at(9999), u64::MAX).await,
            Err(PruneError::Io(_))
        ));
    }
    pruner.step(at(9999), u64::MAX).await.unwrap();
    let left = device.power_cut();
    let begin = left.segments().unwrap()[0];
    assert!(begin >= firsts[firsts.len() - 1]);
    assert!(kinds(&left).contains(&"retention".to_owned()));
    assert!(before as u64 >= begin);
    opened.log.close().await;
}
