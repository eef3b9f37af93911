//! Rings of signing keys in a store: what is committed, what a node makes of it, and the key-encryption key's file.

use crate::support::plain_store::{Mishap, PlainStore};
use cambist::clock::SystemRandomness;
use cambist::id::KeyId;
use cambist::keys::{
    Change, Kek, KekFileError, KeyRing, Life, NotYet, Rotation, RotationError, SigningAlgorithm,
    Timing,
};
use cambist::limits;
use cambist::store::{Entry, Key, Op, Value};
use jiff::Timestamp;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

struct Fixture {
    store: Arc<PlainStore>,
    rotation: Rotation,
    ring: KeyRing,
}

impl Fixture {
    fn new() -> Self {
        Self::on(Arc::default())
    }

    /// A node over a store.
    fn on(store: Arc<PlainStore>) -> Self {
        Self::within(store, limits::STALENESS)
    }

    /// The same whose view may be as old as this.
    fn within(store: Arc<PlainStore>, staleness: Duration) -> Self {
        let kek = Arc::new(Kek::new([3; Kek::LENGTH].into()).unwrap());
        let timing = Timing::new(limits::ROTATE_AFTER, limits::MAX_LIFETIME, staleness).unwrap();
        let rotation = Rotation::new(
            Arc::<PlainStore>::clone(&store),
            Arc::clone(&kek),
            SystemRandomness::shared(),
            SigningAlgorithm::Es256,
            timing,
        );
        Self {
            store,
            rotation,
            ring: KeyRing::new(kek, timing),
        }
    }

    /// What the replica does after a change.
    fn follow(&self) {
        self.ring.reset(&self.signing_entries()).unwrap();
    }

    fn signing_entries(&self) -> Vec<Entry> {
        let all = self.store.entries();
        all.into_iter()
            .filter(|entry| entry.key.as_str().starts_with(cambist::keys::PREFIX))
            .collect()
    }

    fn active(&self) -> KeyId {
        self.ring.view().active.as_ref().unwrap().id().clone()
    }

    fn published(&self) -> usize {
        self.ring.view().published.len()
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(second.try_into().unwrap()).unwrap()
}

/// A record that says what changed.
fn record(changes: &[Change]) -> Arc<[u8]> {
    let text: Vec<_> = changes
        .iter()
        .map(|change| match change.member.map(|member| member.life) {
            None => "gone",
            Some(Life::Prepared) => "prepared",
            Some(Life::Active { .. }) => "active",
            Some(Life::Retired { .. }) => "retired",
            Some(Life::Compromised { .. }) => "compromised",
        })
        .collect();
    text.join(" ").into_bytes().into()
}

const AHEAD: u64 = limits::PUBLISH_AHEAD.as_secs();

#[tokio::test]
async fn a_ring_lives_through_a_month() {
    let node = Fixture::new();
    assert!(
        node.rotation
            .ensure(at(0), &record)
            .await
            .unwrap()
            .is_some()
    );
    node.follow();
    let first = node.active();
    assert_eq!(node.published(), 2, "one signs, one is the spare");
    assert_eq!(
        node.rotation.ensure(at(1), &record).await,
        Ok(None),
        "a second start changes nothing"
    );

    let month = limits::ROTATE_AFTER.as_secs();
    assert_eq!(
        node.rotation.tick(&node.ring, at(month - 1), &record).await,
        Ok(None)
    );
    assert!(
        node.rotation
            .tick(&node.ring, at(month), &record)
            .await
            .unwrap()
            .is_some()
    );
    node.follow();
    assert_ne!(node.active(), first);
    assert_eq!(node.published(), 3, "the retired key's tokens still verify");
    assert!(node.ring.view().published.find(Some(&first)).is_ok());
    let stored = node
        .store
        .entries()
        .into_iter()
        .find(|e| e.key.as_str().ends_with(first.as_str()))
        .unwrap();
    assert!(
        !String::from_utf8_lossy(stored.value.as_bytes()).contains("sealed"),
        "its private half is gone"
    );

    let keep = node.ring.timing().keep().as_secs();
    assert_eq!(
        node.rotation
            .tick(&node.ring, at(month + keep - 1), &record)
            .await,
        Ok(None)
    );
    assert!(
        node.rotation
            .tick(&node.ring, at(month + keep), &record)
            .await
            .unwrap()
            .is_some()
    );
    node.follow();
    assert_eq!(node.published(), 2);
    assert!(node.ring.view().published.find(Some(&first)).is_err());
    let records: Vec<_> = node
        .store
        .records()
        .into_iter()
        .map(|r| String::from_utf8(r).unwrap())
        .collect();
    assert_eq!(records[0], "active prepared");
    assert!(records[1].starts_with("active ") && records[1].contains("retired"));
    assert_eq!(records[2], "gone");
}

/// What is stored in whole seconds is all that was asked for, so that nothing is due by it again.
#[tokio::test]
async fn a_configured_part_of_a_second_is_settled_once() {
    for millis in [999, 1000, 1001, 1500] {
        let node = Fixture::within(Arc::default(), Duration::from_millis(millis));
        node.rotation.ensure(at(0), &record).await.unwrap();
        node.follow();
        let due = node.rotation.tick(&node.ring, at(1), &record).await;
        assert_eq!(due.unwrap(), None, "{millis}");
    }
}

#[tokio::test]
async fn an_operator_cannot_rotate_into_stale_caches() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    let early = node.rotation.rotate_now(at(AHEAD - 1), &[], &record).await;
    assert_eq!(early, Err(RotationError::NotYet(NotYet::Until(at(AHEAD)))));
    assert!(
        node.rotation
            .rotate_now(at(AHEAD), &[], &record)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_compromised_key_is_replaced_at_once_with_its_marker() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    node.follow();
    let bad = node.active();
    let marker = Op::Put(Key::new("marker/key").unwrap(), Value::new(*b"m").unwrap());
    node.rotation
        .compromise(&bad, at(1), &[marker], &record)
        .await
        .unwrap();
    assert!(
        node.store
            .entries()
            .iter()
            .any(|entry| entry.key.as_str() == "marker/key")
    );
    assert_eq!(node.store.reserved(), 1);
    node.follow();
    assert_ne!(node.active(), bad);
    assert!(node.ring.view().published.find(Some(&bad)).is_err());
    assert!(!node.ring.view().jwks.contains(bad.as_str()));
    assert_eq!(node.published(), 2);
    // What is done already is no error, and what was never there is one.
    let again = node.rotation.compromise(&bad, at(2), &[], &record).await;
    assert_eq!(again, Ok(None));
    let nobodys = KeyId::parse("nobodys").unwrap();
    let unknown = node
        .rotation
        .compromise(&nobodys, at(2), &[], &record)
        .await;
    assert!(matches!(unknown, Err(RotationError::UnknownKey(_))));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let node = Fixture::new();
    let nothing = |_: &[Change]| Arc::from([]);
    let outcome = node.rotation.ensure(at(0), &nothing).await;
    assert!(matches!(outcome, Err(RotationError::Refused(_))));
    assert!(node.store.entries().is_empty());
}

/// At every point in the middle of a revision there is a key that signs, and it is published.
#[tokio::test]
async fn changes_applied_one_by_one_never_leave_a_gap() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    node.follow();
    for second in [AHEAD, 2 * AHEAD, 3 * AHEAD] {
        node.rotation
            .rotate_now(at(second), &[], &record)
            .await
            .unwrap();
        let ops = node.store.last_ops();
        assert_eq!(
            ops.len(),
            4,
            "the head, one that signs, one retired, one prepared"
        );
        for op in ops {
            node.ring.apply(&op).unwrap();
            let view = node.ring.view();
            let active = view.active.as_ref().unwrap();
            assert!(view.published.find(Some(active.id())).is_ok());
        }
    }
}

#[tokio::test]
async fn two_nodes_starting_together_make_one_ring() {
    let (one, two) = (Fixture::new(), Fixture::new());
    one.rotation.ensure(at(0), &record).await.unwrap();
    // The other node loaded an empty store and is overtaken before it commits.
    let ops = one
        .store
        .entries()
        .into_iter()
        .map(|entry| Op::Put(entry.key, entry.value))
        .collect();
    two.store.will(Mishap::Overtaken(ops));
    assert_eq!(two.rotation.ensure(at(0), &record).await, Ok(None));
    one.follow();
    two.follow();
    assert_eq!(one.ring.view().jwks, two.ring.view().jwks);
}

#[tokio::test]
async fn a_lost_answer_is_told_and_the_next_call_finds_out() {
    for mishap in [Mishap::Lost, Mishap::LostAnswer] {
        let node = Fixture::new();
        node.store.will(mishap.clone());
        let lost = node.rotation.ensure(at(0), &record).await;
        assert!(matches!(lost, Err(RotationError::Unknown(_))));
        let again = node.rotation.ensure(at(1), &record).await.unwrap();
        assert_eq!(again.is_none(), mishap == Mishap::LostAnswer);
        node.follow();
        assert_eq!((node.published(), node.store.counter()), (2, 1));
    }
}

#[tokio::test]
async fn a_restart_opens_the_same_keys_and_another_kek_does_not() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    node.follow();
    let again = Fixture::on(Arc::clone(&node.store));
    again.follow();
    // As every start does.
    let changed = again.rotation.ensure(at(1), &record).await.unwrap();
    assert!(changed.is_none(), "{changed:?}");
    again.follow();
    assert_eq!(again.active(), node.active());
    assert_eq!(again.ring.view().jwks, node.ring.view().jwks);
    let kek = Arc::new(Kek::new([4; Kek::LENGTH].into()).unwrap());
    let stranger = KeyRing::new(kek, *node.ring.timing());
    let refused = stranger.reset(&node.signing_entries()).unwrap_err();
    assert!(refused.contains("key-encryption key"), "{refused}");
    assert!(stranger.view().active.is_none());
}

#[tokio::test]
async fn a_configured_change_of_algorithm_goes_through_publication() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    let timing = *node.ring.timing();
    let kek = Arc::new(Kek::new([3; Kek::LENGTH].into()).unwrap());
    let store = Arc::<PlainStore>::clone(&node.store);
    let other = Rotation::new(
        store,
        kek,
        SystemRandomness::shared(),
        SigningAlgorithm::Ed25519,
        timing,
    );
    other.ensure(at(10), &record).await.unwrap();
    node.follow();
    assert_eq!(
        node.ring.view().active.as_ref().unwrap().algorithm(),
        SigningAlgorithm::Es256
    );
    other
        .tick(&node.ring, at(10 + AHEAD), &record)
        .await
        .unwrap();
    node.follow();
    assert_eq!(
        node.ring.view().active.as_ref().unwrap().algorithm(),
        SigningAlgorithm::Ed25519
    );
    assert_eq!(node.ring.view().algorithms, ["EdDSA", "ES256"]);
}

#[tokio::test]
async fn stored_values_have_a_version_and_no_unknown_members() {
    let node = Fixture::new();
    node.rotation.ensure(at(0), &record).await.unwrap();
    let sound = node.signing_entries();
    let stored = |entry: &&mut Entry| entry.key.as_str().len() > "signing/head".len();
    for (member, is, is_sound) in [
        ("version", json!(1), true),
        ("version", json!(2), false),
        ("later", json!(true), false),
    ] {
        let mut entries = sound.clone();
        let entry = entries.iter_mut().find(stored).unwrap();
        let mut text: serde_json::Value = serde_json::from_slice(entry.value.as_bytes()).unwrap();
        text[member] = is;
        entry.value = Value::new(text.to_string().into_bytes()).unwrap();
        assert_eq!(node.ring.reset(&entries).is_ok(), is_sound, "{text}");
    }
}

#[test]
fn a_kek_file_is_thirty_two_bytes_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kek");
    let made = Kek::create(&path, &SystemRandomness::default()).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(Kek::from_file(&path).unwrap().id(), made.id());
    assert!(matches!(
        Kek::create(&path, &SystemRandomness::default()),
        Err(KekFileError::Io(..))
    ));
    for mode in [0o640, 0o604, 0o660, 0o610, 0o602] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(Kek::from_file(&path), Err(KekFileError::Exposed(..))),
            "{mode:o}"
        );
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    assert!(Kek::from_file(&path).is_ok());
    for length in [0, Kek::LENGTH - 1, Kek::LENGTH + 1, 4096] {
        let other = folder.path().join(format!("kek{length}"));
        std::fs::write(&other, vec![1; length]).unwrap();
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(
            matches!(Kek::from_file(&other), Err(KekFileError::Length(_))),
            "{length}"
        );
    }
    assert!(matches!(
        Kek::from_file(&folder.path().join("absent")),
        Err(KekFileError::Io(..))
    ));
}
