use super::*;
use crate::clock::testing::TestClock;
use crate::leak::published::tests::{BODY, ID, SIGNATURE, document, github, public};
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A place where something is published, or nothing, and that counts who asks.
#[derive(Clone, Debug, Default)]
struct Place(Arc<(Mutex<Option<Vec<u8>>>, AtomicUsize)>);

impl Place {
    fn put(&self, document: Option<Vec<u8>>) {
        *self.0.0.lock().unwrap() = document;
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl KeySource for Place {
    fn fetch(&self) -> Fetched<'_> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let document = self.0.0.lock().unwrap().clone();
        Box::pin(async move {
            // Others come meanwhile.
            tokio::task::yield_now().await;
            document.ok_or_else(|| "away".to_owned())
        })
    }
}

struct World {
    clock: Arc<TestClock>,
    place: Place,
    reporters: Reporters,
    signature: Vec<u8>,
}

impl World {
    fn new(document: Option<Vec<u8>>) -> Self {
        let (clock, place) = (TestClock::at(1_000), Place::default());
        place.put(document);
        let source: Box<dyn KeySource> = Box::new(place.clone());
        let injected: Arc<dyn Clock> = clock.clone();
        Self {
            reporters: Reporters::new([(name("github"), source)], &injected),
            clock,
            place,
            signature: STANDARD.decode(SIGNATURE).unwrap(),
        }
    }

    fn passes(&self, time: Duration) {
        self.clock.advance(u32::try_from(time.as_secs()).unwrap());
    }

    async fn signer(&self, key: &str) -> Result<String, Unproven> {
        let signed = Signed {
            key,
            signature: &self.signature,
            body: BODY,
        };
        let signer = self.reporters.signer(signed).await;
        signer.map(|name| name.to_string())
    }
}

fn name(text: &str) -> Reporter {
    Reporter::parse(text).unwrap()
}

#[tokio::test]
async fn a_reporter_is_known_by_its_signature_and_its_keys_are_fetched_once() {
    let world = World::new(Some(github()));
    assert_eq!(world.place.asked(), 0, "not before they are needed");
    for _ in 0..3 {
        assert_eq!(world.signer(ID).await.unwrap(), "github");
    }
    assert_eq!(world.place.asked(), 1);
}

const PACE: u64 = limits::LEAK_KEYS_PACE.as_secs();

/// In vain, and to be asked again after so many seconds.
fn later<T>(seconds: u64) -> Result<T, Unproven> {
    Err(Unproven::KeysUnavailable(Duration::from_secs(seconds)))
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_at_a_pace_and_until_then_nobody_knows() {
    let world = World::new(Some(github()));
    assert_eq!(world.signer("x").await, Err(Unproven::UnknownKey));
    assert_eq!(world.place.asked(), 1);
    let second = Duration::from_secs(1);
    for since in 1..PACE {
        world.passes(second);
        assert_eq!(world.signer("x").await, later(PACE - since));
    }
    assert_eq!(world.place.asked(), 1, "however often it is asked for");
    world.passes(second);
    assert_eq!(world.signer("x").await, Err(Unproven::UnknownKey));
    assert_eq!(world.place.asked(), 2);
    // A known one needs no look.
    world.passes(limits::LEAK_KEYS_PACE);
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    assert_eq!(world.place.asked(), 2);
}

#[tokio::test]
async fn a_key_that_is_published_after_the_last_look_is_not_turned_away() {
    let before = String::from_utf8(github()).unwrap().replace(ID, "old");
    let world = World::new(Some(before.into_bytes()));
    assert_eq!(world.signer("old").await.unwrap(), "github");
    world.place.put(Some(github()));
    let second = Duration::from_secs(1);
    world.passes(limits::LEAK_KEYS_PACE - second);
    assert_eq!(world.signer(ID).await, later(1));
    world.passes(second);
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    assert_eq!(world.place.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_and_one_that_is_withdrawn_is_forgotten_in_time() {
    let world = World::new(Some(document(&[])));
    assert_eq!(world.signer(ID).await, later(PACE));
    world.place.put(Some(github()));
    world.passes(limits::LEAK_KEYS_PACE);
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    let another = github();
    let another = String::from_utf8(another).unwrap().replace(ID, "new");
    world.place.put(Some(another.into_bytes()));
    world.passes(limits::LEAK_KEYS_AGE - Duration::from_secs(1));
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    world.passes(Duration::from_secs(1));
    assert_eq!(world.signer(ID).await, Err(Unproven::UnknownKey));
    assert_eq!(world.signer("new").await.unwrap(), "github");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_again_go_on_and_those_that_never_were_are_no_verdict() {
    let world = World::new(None);
    assert_eq!(world.signer(ID).await, later(PACE));
    world.place.put(Some(github()));
    assert_eq!(world.signer(ID).await, later(PACE));
    world.passes(limits::LEAK_KEYS_PACE);
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    world.place.put(None);
    world.passes(limits::LEAK_KEYS_AGE * 3);
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    assert_eq!(world.signer("x").await, later(PACE));
    assert_eq!(world.place.asked(), 3);
}

#[tokio::test]
async fn many_at_a_time_fetch_once() {
    let world = Arc::new(World::new(Some(github())));
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let world = Arc::clone(&world);
        asking.spawn(async move { world.signer(ID).await });
    }
    while let Some(signer) = asking.join_next().await {
        assert_eq!(signer.unwrap().unwrap(), "github");
    }
    assert_eq!(world.place.asked(), 1);
}

#[tokio::test]
async fn a_key_of_the_same_name_at_another_reporters_is_another_key() {
    let world = World::new(Some(github()));
    let first = Place::default();
    let another = public(&ECDSA_P256_SHA256_ASN1_SIGNING);
    first.put(Some(document(&[(ID, &another)])));
    let clock: Arc<dyn Clock> = world.clock.clone();
    let both: [(Reporter, Box<dyn KeySource>); 2] = [
        (name("mimic"), Box::new(first)),
        (name("github"), Box::new(world.place.clone())),
    ];
    let world = World {
        reporters: Reporters::new(both, &clock),
        ..world
    };
    assert_eq!(world.signer(ID).await.unwrap(), "github");
    let wrong = World {
        signature: vec![1; 70],
        ..world
    };
    assert_eq!(wrong.signer(ID).await, Err(Unproven::WrongSignature));
}
