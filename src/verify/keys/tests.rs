//! Fetching in the background, by a publisher that does as it is told, on paused time.

use super::*;
use crate::clock::{NoRandomness, Random};
use crate::jose::{Jwk, VerifyingKey};
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::time::Instant;

const KEYS: [(&str, &str); 2] = [
    (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    ),
    (
        "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    ),
];

/// A set of the first `n` keys.
fn set(n: usize) -> KeySet {
    let keys = KEYS[..n].iter().enumerate().map(|(place, (x, y))| {
        let jwk = serde_json::json!({"kty": "EC", "crv": "P-256", "kid": place.to_string(), "x": x, "y": y});
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        VerifyingKey::from_jwk(&jwk).unwrap()
    });
    KeySet::new(keys).unwrap()
}

/// What is published, and when it was asked for.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    answers: VecDeque<Answer>,
    last: usize,
    begun: Option<Instant>,
    asked: Vec<u64>,
}

enum Answer {
    Keys(usize),
    Failure,
    Never,
}

impl Publisher for Script {
    async fn keys(&self) -> Result<KeySet, FetchError> {
        let answer = {
            let mut told = self.0.lock().unwrap();
            let begun = *told.begun.get_or_insert_with(Instant::now);
            told.asked.push(begun.elapsed().as_secs());
            let answer = told.answers.pop_front().unwrap_or(Answer::Keys(told.last));
            if let Answer::Keys(n) = answer {
                told.last = n;
            }
            answer
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        match answer {
            Answer::Keys(n) => Ok(set(n)),
            Answer::Failure => Err(FetchError::Runtime),
            Answer::Never => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct Low;

impl Random for Low {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.fill(0);
        Ok(())
    }
}

impl Script {
    fn then(self, answer: Answer) -> Self {
        self.0.lock().unwrap().answers.push_back(answer);
        self
    }

    fn asked(&self) -> Vec<u64> {
        self.0.lock().unwrap().asked.clone()
    }

    fn keys(&self) -> Keys {
        Keys::start(self.clone(), Arc::new(Low), Duration::from_secs(300)).unwrap()
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_anew_before_they_are_too_old() {
    let script = Script::default()
        .then(Answer::Keys(1))
        .then(Answer::Keys(2));
    let keys = script.keys();
    assert!(keys.is_empty() && keys.ready(Duration::from_secs(1)).await);
    assert_eq!(keys.len(), 1);
    seconds(205).await;
    assert_eq!(keys.len(), 1);
    seconds(10).await;
    assert_eq!((keys.len(), keys.current().generation), (2, 2));
    seconds(1_000).await;
    assert_eq!(keys.current().generation, 2, "the same keys are no others");
    assert_eq!(script.asked()[..3], [0, 210, 420]);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_no_age_at_all_does_not_set_the_pace() {
    let script = Script::default().then(Answer::Keys(1));
    let keys = Keys::start(script.clone(), Arc::new(Low), Duration::ZERO).unwrap();
    assert!(keys.ready(Duration::from_secs(1)).await);
    seconds(2 * limits::KEYS_REFETCH.as_secs() + 1).await;
    assert_eq!(script.asked(), [0, 5, 10]);
}

#[tokio::test(start_paused = true)]
async fn old_keys_stay_in_use_when_a_fetch_fails() {
    let failing = (0..20).fold(Script::default().then(Answer::Keys(1)), |script, _| {
        script.then(Answer::Failure)
    });
    let script = failing.then(Answer::Keys(2));
    let keys = script.keys();
    assert!(keys.ready(Duration::from_secs(1)).await);
    seconds(211).await;
    assert!(
        keys.stats()
            .failures
            .load(std::sync::atomic::Ordering::Relaxed)
            > 0
    );
    assert_eq!((keys.len(), keys.current().generation), (1, 1));
    seconds(60).await;
    assert_eq!(keys.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_miss_a_key_cause_one_fetch() {
    let script = Script::default()
        .then(Answer::Keys(1))
        .then(Answer::Keys(2));
    let keys = script.keys();
    assert!(keys.ready(Duration::from_secs(1)).await);
    seconds(10).await;
    let missing: Vec<_> = (0..100)
        .map(|_| {
            let keys = keys.clone();
            tokio::spawn(async move { keys.refetch().await })
        })
        .collect();
    for one in missing {
        assert!(one.await.unwrap());
    }
    assert_eq!(keys.len(), 2);
    seconds(60).await;
    assert_eq!(
        script.asked(),
        [0, 10],
        "nor do they cause another one later"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_misses_keys_does_not_set_the_pace() {
    let script = Script::default().then(Answer::Keys(1));
    let keys = script.keys();
    assert!(keys.ready(Duration::from_secs(1)).await);
    let rest = limits::KEYS_REFETCH;
    tokio::time::sleep(rest.saturating_sub(Duration::from_millis(1))).await;
    let begun = Instant::now();
    assert!(!keys.refetch().await);
    keys.want();
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "and nobody waits for nothing"
    );
    assert_eq!(script.asked().len(), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    assert!(keys.refetch().await);
    assert_eq!(script.asked().len(), 2);
    for _ in 0..60 {
        seconds(1).await;
        keys.want();
    }
    let most = 2 + 60 / usize::try_from(rest.as_secs()).unwrap();
    assert!(script.asked().len() <= most, "{:?}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_told() {
    let script = Script::default().then(Answer::Keys(1)).then(Answer::Never);
    let keys = script.keys();
    assert!(keys.ready(Duration::from_secs(1)).await);
    seconds(10).await;
    let begun = Instant::now();
    assert!(!keys.refetch().await);
    assert_eq!(begun.elapsed(), limits::KEYS_WAIT);
}

#[tokio::test]
async fn fixed_keys_are_never_fetched() {
    let keys = Keys::fixed(set(2));
    assert!(keys.ready(Duration::ZERO).await && !keys.refetch().await);
    assert_eq!(keys.len(), 2);
}
