use super::*;
use crate::audit::testing::archive::publisher;
use crate::audit::testing::{
    Effect, Memory, NOW, Opened, Step, context, minted, open_with, options,
};
use crate::audit::{Archivist, Device, Filter, Options, Order, search};
use serde_json::Value;
use std::io::ErrorKind;
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// A log of several segments, the sealed ones compressed, and no checkpoint of any record yet.
struct Site {
    device: Arc<Memory>,
    opened: Opened,
    publisher: Arc<Publisher>,
    firsts: Vec<u64>,
    _folder: TempDir,
}

impl Site {
    async fn new() -> Self {
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
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), Arc::clone(&device) as _, 0);
        Self {
            device,
            opened,
            publisher: Arc::new(publisher),
            firsts,
            _folder: folder,
        }
    }

    fn pruner(&self, holds: &Holds) -> Pruner {
        let (log, publisher) = (self.opened.log.clone(), Arc::clone(&self.publisher));
        Pruner::new(
            Arc::clone(&self.device) as _,
            log,
            publisher,
            holds.clone(),
            DAY,
        )
    }

    fn publish(&self) {
        self.publisher.advance(self.opened.log.durable()).unwrap();
    }

    /// A step once all is under a checkpoint, when all is old.
    async fn step(&self, pruner: &mut Pruner) -> Result<Option<u64>, PruneError> {
        self.publish();
        pruner.step(old(9999)).await
    }

    fn segments(&self) -> Vec<u64> {
        self.device.segments().unwrap()
    }

    /// The second of a record's time, since the log began.
    fn second(&self, sequence: u64) -> i64 {
        let records = self.device.records();
        let time = records[usize::try_from(sequence).unwrap()]["time"].as_str();
        time.unwrap().parse::<Timestamp>().unwrap().as_second() - NOW
    }

    /// A compressed segment as it was written.
    fn plain(&self, first: u64) -> Vec<u8> {
        let packed = Archive::form(&*self.device, first, Form::Packed).unwrap();
        let mut bytes = Vec::new();
        io::copy(
            &mut crate::audit::frames::Packed::open(packed).unwrap(),
            &mut bytes,
        )
        .unwrap();
        bytes
    }

    /// Puts a segment beside its compressed form that says this of itself, or of its first record, a year earlier.
    fn antedate(&self, first: u64, member: &str) {
        let plain = String::from_utf8(self.plain(first)).unwrap();
        let [is, was] = ["2027", "2026"].map(|year| format!(r#""{member}":"{year}"#));
        assert!(plain.contains(&is), "{plain}");
        let changed = plain.replacen(&is, &was, 1);
        self.device.set_bytes(first, changed.into_bytes());
    }
}

/// When what is of a second since the log began has become old.
fn old(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap() + DAY
}

fn told(device: &Arc<Memory>) -> Vec<Value> {
    let begin = device.segments().unwrap()[0];
    let all = records(Arc::clone(device) as Arc<dyn Device>, begin).unwrap();
    let all = all.map(|entry| serde_json::from_slice::<Value>(&entry.unwrap().line).unwrap());
    all.filter(|record| record["kind"] == "retention").collect()
}

#[tokio::test]
async fn segments_go_once_a_checkpoint_is_of_the_act_that_says_so() {
    let site = Site::new().await;
    let Site { device, firsts, .. } = &site;
    let mut pruner = site.pruner(&Holds::default());
    // The record that says how old the first segment is must be the tree's.
    site.publisher.advance(firsts[1]).unwrap();
    assert_eq!(pruner.step(old(9999)).await.unwrap(), None);
    assert!(told(device).is_empty());
    site.publisher.advance(firsts[1] + 1).unwrap();
    // Nothing is that old: all of the first segment is, once the second was begun.
    let begun = site.second(firsts[1]);
    assert_eq!(pruner.step(old(begun - 1)).await.unwrap(), None);
    assert!(told(device).is_empty());
    assert_eq!(pruner.step(old(begun)).await.unwrap(), None);
    let change = &told(device)[0]["change"];
    assert_eq!(change["first"], firsts[1]);
    let ended: Timestamp = change["ended"].as_str().unwrap().parse().unwrap();
    assert_eq!(ended, Timestamp::from_second(NOW + begun).unwrap());
    assert_eq!(change["retention"], DAY.as_secs());
    // Told, and not under a checkpoint.
    site.publisher
        .advance(site.opened.log.durable() - 1)
        .unwrap();
    assert_eq!(pruner.step(old(begun)).await.unwrap(), None);
    assert_eq!(site.segments(), *firsts);
    site.publish();
    let removed = pruner.step(old(begun)).await.unwrap();
    assert_eq!(removed, Some(firsts[1]));
    assert_eq!(site.segments(), firsts[1..]);
    assert_eq!(device.form_bytes(firsts[0], Form::Index), None);
    // What is not compressed stays; and so does the last one.
    let plain = firsts[firsts.len() - 2];
    device.set_bytes(plain, site.plain(plain));
    for _ in 0..3 {
        site.step(&mut pruner).await.unwrap();
    }
    assert_eq!(site.segments()[0], plain);
    site.opened.log.close().await;
}

#[tokio::test]
async fn a_search_misses_what_no_record_says_was_removed() {
    let site = Site::new().await;
    let Site { device, firsts, .. } = &site;
    let mut pruner = site.pruner(&Holds::default());
    let begun = site.second(firsts[1]);
    for removed in [None, Some(firsts[1])] {
        site.publish();
        assert_eq!(pruner.step(old(begun)).await.unwrap(), removed);
    }
    let end = site.opened.log.durable();
    let found = |order| {
        let all = search(Arc::clone(device) as _, Filter::default(), 0..end, order).unwrap();
        let all = all.map(|found| found.map(|entry| entry.sequence).map_err(|e| e.to_string()));
        all.collect::<Vec<_>>()
    };
    let from = |first| (first..end).map(Ok);
    assert!(from(firsts[1]).eq(found(Order::OldestFirst)));
    assert!(from(firsts[1]).rev().eq(found(Order::NewestFirst)));
    // No more than that was said.
    device.remove(firsts[1], Form::Packed).unwrap();
    let missing = || std::iter::once(Err(format!("record {} is not there", firsts[1])));
    let told = missing().chain(from(firsts[2]));
    assert!(told.eq(found(Order::OldestFirst)));
    let told = from(firsts[2]).rev().chain(missing());
    assert!(told.eq(found(Order::NewestFirst)));
    site.opened.log.close().await;
}

/// Whoever may write to the folder makes nothing old: a header is no leaf of the tree.
#[tokio::test]
async fn what_is_young_stays_whatever_a_header_says() {
    let site = Site::new().await;
    let mut pruner = site.pruner(&Holds::default());
    let (second, young) = (site.firsts[1], site.second(site.firsts[1]) - 1);
    site.publish();
    site.antedate(second, "created");
    for _ in 0..2 {
        assert_eq!(pruner.step(old(young)).await.unwrap(), None);
        site.publish();
    }
    assert!(told(&site.device).is_empty());
    assert_eq!(site.segments(), site.firsts);
    site.opened.log.close().await;
}

#[tokio::test]
async fn nothing_goes_by_a_record_that_is_not_the_trees() {
    let site = Site::new().await;
    let mut pruner = site.pruner(&Holds::default());
    let second = site.firsts[1];
    site.publish();
    site.antedate(second, "time");
    // However old it is.
    for at in [site.second(0), 9999] {
        let refused = pruner.step(old(at)).await.unwrap_err();
        assert!(
            matches!(refused, PruneError::Read(ReadError::Changed(record)) if record == second)
        );
        site.publish();
    }
    assert!(told(&site.device).is_empty());
    assert_eq!(site.segments(), site.firsts);
    site.opened.log.close().await;
}

#[tokio::test]
async fn what_somebody_has_not_taken_stays() {
    let site = Site::new().await;
    let firsts = &site.firsts;
    let holds = Holds::default();
    let mut pruner = site.pruner(&holds);
    let (one, other) = (holds.hold(0), holds.hold(firsts[2]));
    site.publish();
    // What is not old is not held back.
    let begun = site.second(firsts[1]);
    pruner.step(old(begun - 1)).await.unwrap();
    assert!(!pruner.is_held());
    for _ in 0..2 {
        site.step(&mut pruner).await.unwrap();
        assert!(pruner.is_held());
    }
    assert_eq!(site.segments(), *firsts);
    one.raise(firsts[2] - 1);
    for _ in 0..2 {
        site.step(&mut pruner).await.unwrap();
        assert!(!pruner.is_held());
    }
    assert_eq!(site.segments(), firsts[1..]);
    drop(one);
    assert_eq!(holds.least(), Some(firsts[2]));
    // Told under the hold of one, and held by another since.
    let mut told = site.pruner(&holds);
    site.step(&mut told).await.unwrap();
    let late = holds.hold(firsts[1]);
    assert_eq!(site.step(&mut told).await.unwrap(), None);
    assert_eq!(site.segments(), firsts[1..]);
    drop(late);
    assert_eq!(site.step(&mut told).await.unwrap(), Some(firsts[2]));
    drop(other);
    assert_eq!(holds.least(), None);
    site.opened.log.close().await;
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again_and_nothing_goes_unrecorded() {
    let site = Site::new().await;
    let Site { device, firsts, .. } = &site;
    let before = device.records().len() as u64;
    let mut pruner = site.pruner(&Holds::default());
    site.publish();
    device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
    let unrecorded = pruner.step(old(9999)).await;
    assert!(matches!(unrecorded, Err(PruneError::Unrecorded(_))));
    assert_eq!(site.segments()[0], 0);
    site.step(&mut pruner).await.unwrap();
    for effect in [Effect::Fails, Effect::Persists] {
        device.fail(Step::Remove, effect, ErrorKind::Other);
        assert!(matches!(
            site.step(&mut pruner).await,
            Err(PruneError::Io(_))
        ));
    }
    site.step(&mut pruner).await.unwrap();
    let left = device.power_cut();
    let begin = left.segments().unwrap()[0];
    assert!(begin >= firsts[firsts.len() - 1]);
    assert!(!told(&left).is_empty());
    assert!(before >= begin);
    site.opened.log.close().await;
}

#[tokio::test]
async fn what_is_held_against_the_tree_in_one_step_ends_at_n() {
    for more in [0, 1] {
        let site = Site::new().await;
        let mut pruner = site.pruner(&Holds::default());
        pruner.at_once = site.firsts[1] + more;
        site.step(&mut pruner).await.unwrap();
        let remains = site.firsts[1 + usize::try_from(more).unwrap()];
        assert_eq!(told(&site.device)[0]["change"]["first"], remains);
        // The rest comes with the next ones.
        site.step(&mut pruner).await.unwrap();
        assert_eq!(site.segments()[0], remains);
        site.step(&mut pruner).await.unwrap();
        let last = told(&site.device).pop().unwrap();
        assert!(last["change"]["first"].as_u64() > Some(remains));
    }
}
