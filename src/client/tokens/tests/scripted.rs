//! A broker that does as the test says, and clocks that follow Tokio's paused time.

use super::super::broker::{Broker, Delivery, Lease};
use super::*;
use crate::clock::NoRandomness;
use crate::id::TokenId;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use tokio::sync::mpsc;
use tokio::time::Instant;

const START: i64 = 1_800_000_000;

pub(in crate::client) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(in crate::client) fn outage() -> Error {
    Error::Unreachable("nobody there".into())
}

pub(in crate::client) fn refusal(code: &str) -> Error {
    Error::Refused {
        code: code.into(),
        message: "no".into(),
        retry_after: None,
    }
}

/// What a test holds.
pub(in crate::client) struct Rig {
    pub(in crate::client) broker: Script,
    pub(in crate::client) clock: Arc<PausedClock>,
    random: Arc<Fixed>,
}

impl Rig {
    pub(in crate::client) fn new() -> Self {
        Self::drawing(0)
    }

    pub(in crate::client) fn drawing(draw: u64) -> Self {
        let clock = Arc::new(PausedClock {
            start: Instant::now(),
            slept: AtomicI64::new(0),
        });
        Self {
            broker: Script(Arc::new(Inner::new(Arc::clone(&clock)))),
            clock,
            random: Arc::new(Fixed(draw)),
        }
    }

    pub(in crate::client) fn tokens(&self) -> Tokens {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let random: Arc<dyn Random> = self.random.clone();
        Tokens::start(self.broker.clone(), clock, random, limits::CLIENT_PATIENCE).unwrap()
    }
}

#[derive(Debug)]
pub(in crate::client) struct PausedClock {
    start: Instant,
    slept: AtomicI64,
}

impl PausedClock {
    pub(in crate::client) fn sleep_of_the_machine(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap();
        self.slept.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let slept = Duration::from_secs(self.slept.load(Ordering::SeqCst).unsigned_abs());
        Timestamp::from_second(START).unwrap() + (self.start.elapsed() + slept)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[derive(Debug)]
struct Fixed(u64);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.copy_from_slice(&self.0.to_ne_bytes());
        Ok(())
    }
}

#[derive(Clone)]
pub(in crate::client) struct Script(Arc<Inner>);

struct Inner {
    clock: Arc<PausedClock>,
    ahead: AtomicI64,
    made: AtomicU8,
    failure: Mutex<Option<Error>>,
    no_lease: Mutex<Error>,
    offered: Mutex<VecDeque<ScriptedLease>>,
    asked: Mutex<Vec<u64>>,
    leases: Mutex<Vec<u64>>,
}

impl Inner {
    fn new(clock: Arc<PausedClock>) -> Self {
        Self {
            clock,
            ahead: AtomicI64::new(0),
            made: AtomicU8::new(0),
            failure: Mutex::new(None),
            no_lease: Mutex::new(Error::Unimplemented),
            offered: Mutex::default(),
            asked: Mutex::default(),
            leases: Mutex::default(),
        }
    }

    fn token(&self, lifetime: u32) -> Token {
        let now = self.clock.now().as_second() + self.ahead.load(Ordering::SeqCst);
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        let value = format!("token-{made}");
        let mut answer = answer(&value, now + i64::from(lifetime), lifetime);
        answer.token_id = TokenId::new([made; 16]).to_string();
        Token::try_from(answer).unwrap()
    }

    fn second(&self) -> u64 {
        self.clock.monotonic().as_secs()
    }
}

impl Script {
    /// The seconds at which exchanges were asked for.
    pub(in crate::client) fn asked(&self) -> Vec<u64> {
        self.0.asked.lock().unwrap().clone()
    }

    /// The seconds at which leases were asked for.
    pub(in crate::client) fn leases(&self) -> Vec<u64> {
        self.0.leases.lock().unwrap().clone()
    }

    pub(in crate::client) fn fail_with(&self, error: Option<Error>) {
        *self.0.failure.lock().unwrap() = error;
    }

    pub(in crate::client) fn refuse_leases(&self, error: Error) {
        *self.0.no_lease.lock().unwrap() = error;
    }

    pub(in crate::client) fn clock_is_ahead(&self, seconds: i64) {
        self.0.ahead.store(seconds, Ordering::SeqCst);
    }

    /// The next lease that is asked for will be granted.
    pub(in crate::client) fn offer_lease(&self) -> Lessor {
        let (sender, receiver) = mpsc::unbounded_channel();
        let outdated = Arc::new(AtomicBool::new(false));
        self.0.offered.lock().unwrap().push_back(ScriptedLease {
            receiver,
            outdated: Arc::clone(&outdated),
        });
        Lessor {
            broker: Arc::clone(&self.0),
            sender,
            outdated,
        }
    }
}

impl Broker for Script {
    type Lease = ScriptedLease;

    async fn exchange(&self) -> Result<Token, Error> {
        self.0.asked.lock().unwrap().push(self.0.second());
        // Time for the others to join the wait.
        tokio::task::yield_now().await;
        match self.0.failure.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(self.0.token(900)),
        }
    }

    async fn lease(&self) -> Result<ScriptedLease, Error> {
        self.0.leases.lock().unwrap().push(self.0.second());
        let offered = self.0.offered.lock().unwrap().pop_front();
        offered.ok_or_else(|| self.0.no_lease.lock().unwrap().clone())
    }
}

pub(in crate::client) struct ScriptedLease {
    receiver: mpsc::UnboundedReceiver<Result<Option<Delivery>, Error>>,
    outdated: Arc<AtomicBool>,
}

impl Lease for ScriptedLease {
    async fn next(&mut self) -> Result<Option<Delivery>, Error> {
        match self.receiver.recv().await {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }

    async fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::SeqCst)
    }
}

/// The other end of a lease.
pub(in crate::client) struct Lessor {
    broker: Arc<Inner>,
    sender: mpsc::UnboundedSender<Result<Option<Delivery>, Error>>,
    outdated: Arc<AtomicBool>,
}

impl Lessor {
    pub(in crate::client) fn deliver(&self, lifetime: u32, successor_age: Option<u64>) {
        let delivery = Delivery {
            token: self.broker.token(lifetime),
            successor_age: successor_age.map(seconds),
        };
        self.end(Ok(Some(delivery)));
    }

    pub(in crate::client::tokens) fn end(&self, end: Result<Option<Delivery>, Error>) {
        self.sender.send(end).unwrap();
    }

    pub(in crate::client) fn outdate(&self) {
        self.outdated.store(true, Ordering::SeqCst);
    }

    pub(in crate::client) fn is_left(&self) -> bool {
        self.sender.is_closed()
    }
}
