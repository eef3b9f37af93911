use super::stored::entry_key;
use super::*;
use crate::clock::SystemRandomness;
use crate::id::KeyId;
use crate::limits;
use crate::store::{Entry, Op, Value};
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

const TOKEN: Duration = limits::MAX_LIFETIME;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn timing() -> Timing {
    Timing::new(Duration::from_secs(3 * 3600), TOKEN, limits::STALENESS).unwrap()
}

fn kek(byte: u8) -> Kek {
    Kek::new(Zeroizing::new([byte; Kek::LENGTH])).unwrap()
}

/// A ring and what verifiers and tokens in the field rely on.
#[derive(Default)]
struct Model {
    ring: Ring,
    made: u32,
    now: i64,
    last_signed: BTreeMap<KeyId, i64>,
}

#[derive(Clone, Debug)]
enum Act {
    Advance(i64),
    Settle(SigningAlgorithm),
    Rotate,
    Compromise(prop::sample::Index),
}

impl Model {
    fn settle(&mut self, algorithm: SigningAlgorithm) {
        let made = &mut self.made;
        let fresh = || {
            *made += 1;
            KeyId::parse(&format!("k{made:06}")).map_err(|_| ())
        };
        self.ring
            .settle(at(self.now), &timing(), algorithm, fresh)
            .unwrap();
    }

    /// One change of the ring, held against every promise.
    fn step(&mut self, act: &Act) {
        let before = self.ring.clone();
        match act {
            Act::Advance(seconds) => self.now += seconds,
            Act::Settle(algorithm) => self.settle(*algorithm),
            Act::Rotate => {
                let _ = self.ring.rotate(at(self.now), &timing());
                self.settle(SigningAlgorithm::Es256);
            }
            Act::Compromise(index) => {
                let keys: Vec<_> = self.ring.members().map(|(id, _)| id.clone()).collect();
                if !keys.is_empty() {
                    let _ = self.ring.compromise(index.get(&keys), at(self.now));
                }
                self.settle(SigningAlgorithm::Es256);
            }
        }
        if self.made == 0 {
            return;
        }
        let lives =
            |want: fn(&Life) -> bool| self.ring.members().filter(|(_, m)| want(&m.life)).count();
        assert_eq!(
            lives(|life| matches!(life, Life::Active { .. })),
            1,
            "{:?}",
            self.ring
        );
        assert_eq!(
            lives(|life| matches!(life, Life::Prepared)),
            1,
            "{:?}",
            self.ring
        );
        let published = self
            .ring
            .members()
            .filter(|(_, m)| m.is_published())
            .count();
        assert!(published <= limits::PUBLISHED_KEYS, "{published}");

        let (active, member) = self.ring.active().unwrap();
        let held = before.active().is_some_and(|(id, _)| {
            self.ring
                .members()
                .any(|(other, m)| other == id && m.is_published())
        });
        if held && before.active().map(|(id, _)| id) != Some(active) {
            let ahead = at(self.now).duration_since(member.created).unsigned_abs();
            assert!(
                ahead >= limits::PUBLISH_AHEAD,
                "{active} signs {ahead:?} after its publication"
            );
        }
        self.last_signed.insert(active.clone(), self.now);
        let compromised: Vec<_> = before
            .members()
            .chain(self.ring.members())
            .filter(|(_, m)| !m.is_published())
            .map(|(id, _)| id.clone())
            .collect();
        self.last_signed.retain(|id, _| !compromised.contains(id));
        for (id, _) in before.members().filter(|(_, m)| !m.is_published()) {
            let stays = self
                .ring
                .members()
                .any(|(other, m)| other == id && !m.is_published());
            assert!(stays, "{id} is forgotten, and the thief's tokens live");
        }
        let needed = i64::try_from((TOKEN + limits::LEEWAY).as_secs()).unwrap();
        for (id, last) in &self.last_signed {
            let there = self
                .ring
                .members()
                .any(|(other, m)| other == id && m.is_published());
            assert!(
                there || self.now >= last + needed,
                "{id} is gone while its tokens live"
            );
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let algorithm =
        prop_oneof![9 => Just(SigningAlgorithm::Es256), 1 => Just(SigningAlgorithm::Ed25519)];
    prop_oneof![
        6 => (0_i64..8000).prop_map(Act::Advance),
        6 => algorithm.prop_map(Act::Settle),
        3 => Just(Act::Rotate),
        1 => any::<prop::sample::Index>().prop_map(Act::Compromise),
    ]
}

proptest! {
    #[test]
    fn a_ring_keeps_every_promise(acts in prop::collection::vec(act(), 1..80)) {
        let mut model = Model::default();
        model.step(&Act::Settle(SigningAlgorithm::Es256));
        for act in &acts {
            model.step(act);
        }
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs(secret: Vec<u8>, flip in any::<prop::sample::Index>()) {
        let (mine, random) = (kek(1), SystemRandomness::default());
        let sealed = mine.seal(&secret, "here", &random).unwrap();
        let opened = mine.open(&sealed, "here");
        prop_assert_eq!(opened.as_deref(), Ok(&secret));
        prop_assert_eq!(mine.open(&sealed, "there"), Err(SealingFault::NotAuthentic));
        let other = matches!(kek(2).open(&sealed, "here"), Err(SealingFault::OtherKek { .. }));
        prop_assert!(other);
        let mut bytes = sealed.ciphertext.clone().into_bytes();
        let place = flip.index(bytes.len());
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = Sealed { ciphertext: String::from_utf8(bytes).unwrap(), ..sealed };
        prop_assert_eq!(mine.open(&changed, "here"), Err(SealingFault::NotAuthentic));
    }

    #[test]
    fn arbitrary_values_never_panic(bytes: Vec<u8>) {
        let ring = KeyRing::new(Arc::new(kek(1)), timing());
        let key = entry_key(&KeyId::parse("k").unwrap()).unwrap();
        prop_assert!(ring.apply(&Op::Put(key, Value::new(bytes).unwrap())).is_err());
    }
}

/// Rotating as fast as possible stops at the bound and goes on when a key has expired.
#[test]
fn the_published_set_is_bounded_at_n() {
    let slow = Timing::new(
        Duration::from_secs(3600),
        Duration::from_secs(7 * 24 * 3600),
        limits::STALENESS,
    )
    .unwrap();
    let (mut ring, mut made, mut now) = (Ring::default(), 0, 0);
    let mut settle = |ring: &mut Ring, now| {
        let fresh = || {
            made += 1;
            Ok::<_, ()>(KeyId::parse(&format!("k{made}")).unwrap())
        };
        ring.settle(at(now), &slow, SigningAlgorithm::Es256, fresh)
            .unwrap();
    };
    settle(&mut ring, now);
    let mut rotated = 0;
    let full = (0..2 * limits::PUBLISHED_KEYS).find_map(|_| {
        now += 600;
        let refused = ring.rotate(at(now), &slow).err();
        rotated += usize::from(refused.is_none());
        settle(&mut ring, now);
        refused
    });
    assert_eq!(full, Some(NotYet::Full));
    // Two keys at first, one more with each rotation.
    assert_eq!(rotated, limits::PUBLISHED_KEYS - 2);
    now += 8 * 24 * 3600;
    settle(&mut ring, now);
    assert!(ring.members().count() < limits::PUBLISHED_KEYS);
}

#[test]
fn a_spare_that_caches_may_lack_does_not_sign() {
    let mut model = Model::default();
    model.settle(SigningAlgorithm::Es256);
    let ahead = i64::try_from(limits::PUBLISH_AHEAD.as_secs()).unwrap();
    assert_eq!(
        model.ring.rotate(at(ahead - 1), &timing()),
        Err(NotYet::Until(at(ahead)))
    );
    assert_eq!(model.ring.rotate(at(ahead), &timing()), Ok(()));
    assert!(limits::PUBLISH_AHEAD >= 2 * limits::JWKS_MAX_AGE);
}

/// Tokens live as long as was allowed when they were signed, whatever is allowed now.
#[test]
fn a_key_stays_as_long_as_the_highest_ceiling_it_signed_under() {
    let at_most = |token: u64, staleness: u64| {
        let (token, staleness) = (Duration::from_secs(token), Duration::from_secs(staleness));
        Timing::new(Duration::from_secs(3 * 3600), token, staleness).unwrap()
    };
    let mut made = 0;
    let mut settle = |ring: &mut Ring, now, timing: &Timing| {
        let fresh = || {
            made += 1;
            Ok::<_, ()>(KeyId::parse(&format!("k{made}")).unwrap())
        };
        ring.settle(at(now), timing, SigningAlgorithm::Es256, fresh)
            .unwrap();
    };
    let (low, high) = (at_most(300, 60), at_most(3600, 600));
    // Raised under a key that signs, and lowered again before it is retired; or raised only when it is retired.
    for raised_before in [true, false] {
        let mut ring = Ring::default();
        settle(&mut ring, 0, &low);
        let first = ring.active().unwrap().0.clone();
        if raised_before {
            settle(&mut ring, 10, &high);
            settle(&mut ring, 20, &low);
        }
        ring.rotate(at(3000), if raised_before { &low } else { &high })
            .unwrap();
        let keep = 3600 + 600 + i64::try_from(limits::LEEWAY.as_secs()).unwrap();
        let stays = |ring: &Ring| ring.members().any(|(id, _)| *id == first);
        settle(&mut ring, 3000 + keep - 1, &low);
        assert!(stays(&ring));
        settle(&mut ring, 3000 + keep, &low);
        assert!(!stays(&ring));
    }
}

#[test]
fn what_cannot_wait_for_a_clock_does_nothing_by_age() {
    let mut model = Model::default();
    model.settle(SigningAlgorithm::Es256);
    model.ring.rotate(at(3000), &timing()).unwrap();
    model.now = 3000;
    model.settle(SigningAlgorithm::Es256);
    let bad = model.ring.active().unwrap().0.clone();
    let before = model.ring.members().count();
    let far = at(1_000_000_000);
    model.ring.compromise(&bad, far).unwrap();
    let fresh = || Ok::<_, ()>(KeyId::parse("fresh").unwrap());
    let es256 = SigningAlgorithm::Es256;
    model.ring.mend(far, &timing(), es256, fresh).unwrap();
    assert_eq!(
        model.ring.members().count(),
        before + 1,
        "one was forgotten"
    );
    assert_ne!(model.ring.active().unwrap().0, &bad);
    assert_eq!(model.ring.spare().unwrap().0.as_str(), "fresh");

    // Nor does anything wait, once the clock is right, for the time that it was taken for.
    let ahead = i64::try_from(limits::PUBLISH_AHEAD.as_secs()).unwrap();
    let mut early = model.ring.clone();
    assert_eq!(
        early.rotate(at(4000), &timing()),
        Err(NotYet::Until(at(4000 + ahead)))
    );
    model.now = 4000;
    model.settle(es256);
    assert_eq!(
        model.ring.clone().rotate(at(4000 + ahead), &timing()),
        Ok(())
    );
    model.now = 4000 + 3 * 3600;
    model.settle(es256);
    assert_eq!(model.ring.active().unwrap().0.as_str(), "fresh");
}

#[test]
fn timings_that_do_not_fit_are_refused() {
    assert_eq!(
        Timing::new(limits::PUBLISH_AHEAD, TOKEN, limits::STALENESS),
        Err(InvalidTiming::RotatesTooFast)
    );
    assert_eq!(
        Timing::new(limits::ROTATE_AFTER, Duration::ZERO, limits::STALENESS),
        Err(InvalidTiming::NoLifetime)
    );
}

#[test]
fn signatures_are_as_long_as_their_buffers() {
    for algorithm in [
        SigningAlgorithm::Es256,
        SigningAlgorithm::Ed25519,
        SigningAlgorithm::Rs256,
    ] {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = key.sign_jws("a.b".to_owned()).unwrap();
        assert_eq!(token.len(), "a.b.".len() + key.signature_chars());
        let again = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.jwk(), key.jwk());
    }
}

fn entry(key: &SigningKey, life: Life, kek: &Kek) -> Entry {
    let member = Member {
        created: at(0),
        algorithm: key.algorithm(),
        life,
        keep: timing().keep(),
    };
    let stored = StoredKey::seal(key, member, kek, &SystemRandomness::default()).unwrap();
    Entry {
        key: entry_key(key.id()).unwrap(),
        value: stored.value().unwrap(),
        modified: 1,
    }
}

/// Invariant 12: bad material leaves the old in place.
#[test]
fn what_fails_our_verifier_changes_nothing() {
    let ring = KeyRing::new(Arc::new(kek(1)), timing());
    let make = || SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let (good, other) = (make(), make());
    let active = Life::Active { since: at(0) };
    ring.reset(&[entry(&good, active, &kek(1))]).unwrap();
    let before = ring.view();

    let later = Life::Active { since: at(1) };
    let sound = entry(&other, later, &kek(1));
    let swap = |part: &str, with: &Entry| {
        let mut mine: serde_json::Value = serde_json::from_slice(sound.value.as_bytes()).unwrap();
        let theirs: serde_json::Value = serde_json::from_slice(with.value.as_bytes()).unwrap();
        mine[part] = theirs[part].clone();
        Value::new(serde_json::to_vec(&mine).unwrap()).unwrap()
    };
    let elsewhere = entry(&make(), later, &kek(1));
    let mut version: serde_json::Value = serde_json::from_slice(sound.value.as_bytes()).unwrap();
    version["version"] = 2.into();
    // A public key of another, under this key's id; and, sealed by who holds our key, a private key of another.
    let mut impostor: serde_json::Value =
        serde_json::from_slice(elsewhere.value.as_bytes()).unwrap();
    impostor["jwk"]["kid"] = other.id().as_str().into();
    impostor["life"] = serde_json::json!({"state": "retired", "since": at(1)});
    let mut foreign: serde_json::Value = serde_json::from_slice(sound.value.as_bytes()).unwrap();
    let context = stored::context(Purpose::AccessToken, other.id(), other.algorithm());
    let secret = make().to_pkcs8().unwrap();
    let sealed = kek(1).seal(&secret, &context, &SystemRandomness::default());
    foreign["sealed"] = serde_json::to_value(sealed.unwrap()).unwrap();
    let value = |json: &serde_json::Value| Value::new(serde_json::to_vec(json).unwrap()).unwrap();
    let bad = [
        (&sound.key, swap("sealed", &elsewhere)),
        (&sound.key, swap("jwk", &elsewhere)),
        (&elsewhere.key, sound.value.clone()),
        (&sound.key, entry(&other, later, &kek(2)).value),
        (&sound.key, value(&version)),
        (&sound.key, value(&impostor)),
        (&sound.key, value(&foreign)),
    ];
    for (key, value) in bad {
        assert!(ring.apply(&Op::Put(key.clone(), value.clone())).is_err());
        let fresh = Entry {
            key: key.clone(),
            value,
            modified: 2,
        };
        assert!(ring.reset(&[fresh]).is_err());
        assert!(Arc::ptr_eq(&ring.view(), &before), "the old view stays");
    }
    ring.apply(&Op::Put(sound.key, sound.value)).unwrap();
    assert_eq!(ring.view().active.as_ref().unwrap().id(), other.id());
    assert!(ring.view().jwks.find(other.id().as_str()) < ring.view().jwks.find(good.id().as_str()));
}

#[test]
fn nothing_private_is_printed_or_published() {
    let key = SigningKey::generate(SigningAlgorithm::Ed25519).unwrap();
    let secret = key.to_pkcs8().unwrap();
    let ring = KeyRing::new(Arc::new(kek(1)), timing());
    let entry = entry(&key, Life::Active { since: at(0) }, &kek(1));
    let stored: StoredKey = serde_json::from_slice(entry.value.as_bytes()).unwrap();
    ring.reset(&[entry]).unwrap();
    let shown = format!(
        "{key:?} {ring:?} {:?} {:?} {stored:?} {}",
        kek(1),
        ring.view(),
        ring.view().jwks
    );
    // The last 32 bytes of the document are the seed, whichever way it is written.
    let seed = &secret[secret.len() - 32..];
    use base64::Engine as _;
    let forms = [
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(seed),
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(seed),
        seed.iter().map(|byte| format!("{byte:02x}")).collect(),
        format!("{seed:?}"),
    ];
    for form in forms {
        assert!(!shown.contains(&form));
    }
    assert!(!ring.view().jwks.contains("\"d\""));
}

/// Who can write to the log's folder cannot have it say another.
#[test]
fn from_where_on_headers_are_signed_is_sealed_with_the_logs_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let (kek, random) = (kek(1), SystemRandomness::default());
    let from = || LogKey::signed_from(&path, &kek);
    let create = |from| LogKey::create(&path, "log", from, &kek, &random).unwrap();
    assert_eq!(from().unwrap(), None);
    let made = create(Some(7));
    assert_eq!(from().unwrap(), Some(7));
    // It stays.
    LogKey::note_signed(&path, 9, &kek, &random).unwrap();
    assert_eq!(from().unwrap(), Some(7));
    let stored = fs::read_to_string(&path).unwrap();
    let said = r#""version":2,"log":"log","signed_from":7"#;
    for other in [
        r#""version":2,"log":"log","signed_from":8"#,
        r#""version":2,"log":"log""#,
        r#""version":1,"log":"log""#,
        r#""version":1,"log":"log","signed_from":7"#,
        r#""version":1,"log":"log\n7""#,
        r#""version":2,"log":"gol","signed_from":7"#,
    ] {
        let changed = stored.replacen(said, other, 1);
        assert_ne!(changed, stored);
        fs::write(&path, changed).unwrap();
        assert!(from().is_err(), "{other}");
        assert!(
            !matches!(LogKey::open(&path, "log", &kek), Ok(Some(_))),
            "{other}"
        );
    }
    fs::write(&path, &stored).unwrap();
    for (read, is_taken) in [(Some(7), true), (None, false), (Some(8), false)] {
        let opened = LogKey::open_as_read(&path, "log", read, &kek);
        assert_eq!(opened.is_ok(), is_taken, "{read:?}");
    }
    // That of an earlier version is the same key afterwards.
    fs::remove_file(&path).unwrap();
    let earlier = create(None);
    assert_eq!(from().unwrap(), None);
    LogKey::note_signed(&path, 9, &kek, &random).unwrap();
    assert_eq!(from().unwrap(), Some(9));
    let opened = LogKey::open(&path, "log", &kek).unwrap().unwrap();
    assert_eq!(opened.public(), earlier.public());
    assert_ne!(opened.public(), made.public());
}
