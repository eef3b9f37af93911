//! An administration of revocations on a store that others write to, and that may be away.

use super::super::estate::testing::JOBS;
use super::super::*;
use crate::administration::Settled;
use crate::audit::Context;
use crate::authn::{Administrator, Face};
use crate::clock::SystemRandomness;
use crate::clock::guard::TimeGuard;
use crate::clock::testing::TestClock;
use crate::id::{Audience, Purpose};
use crate::inventory::{ApiKey, Audiences, KEY_PREFIX, KeySpec, Keys};
use crate::keys::{
    Kek, KeyRing, Life, PREFIX as SIGNING_PREFIX, Rotation, SigningAlgorithm, Timing,
};
use crate::limits;
use crate::refusal::Fault;
use crate::revocation::{Encode, End, Label, PREFIX as MARKER_PREFIX};
use crate::secret::{Secret, api_key};
use crate::store::embedded::EmbeddedStore;
use crate::store::replica::Apply as _;
use crate::store::{
    Batch, CommitError, Cursor, Entry, Event, Incarnation, Key, LoadError, LogPosition, Op,
    OutboxEntry, Page, Reply, Store, StoreFault, Value, load_all,
};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

pub(super) const NOW: i64 = 1_000_000;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A store that somebody else writes to as well.
#[derive(Debug)]
pub(super) struct Shared {
    store: EmbeddedStore,
    /// Is committed right after this key was read.
    pub(super) between: Mutex<Option<(Key, Batch)>>,
    /// Whoever writes this key is told that it changed meanwhile.
    contested: Mutex<Option<Key>>,
    /// Whether it does not answer.
    away: AtomicBool,
    /// Whether what is committed hangs.
    pub(super) hangs: AtomicBool,
    /// Is told when a commit does.
    pub(super) hanging: Notify,
    /// Whether what is read hangs.
    pub(super) reads_hang: AtomicBool,
    /// How many seconds pass meanwhile, once.
    pub(super) lasts: AtomicU32,
    clock: Arc<TestClock>,
    /// How long commits took, all together.
    pub(super) spent: Mutex<Duration>,
}

impl Shared {
    async fn hang_reading(&self) {
        if self.reads_hang.load(Ordering::Acquire) {
            std::future::pending().await
        }
    }

    fn answers(&self) -> Result<(), StoreFault> {
        match self.away.load(Ordering::Acquire) {
            true => Err(StoreFault("it is away".to_owned())),
            false => Ok(()),
        }
    }
}

impl Store for Shared {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        Box::pin(async {
            self.hang_reading().await;
            self.answers()?;
            self.store.revision().await
        })
    }

    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        Box::pin(async move {
            self.hang_reading().await;
            self.answers()?;
            let read = self.store.read(key).await;
            let between = self.between.lock().unwrap().take_if(|(of, _)| of == key);
            if let Some((_, batch)) = between {
                self.store.commit(batch).await.unwrap();
            }
            read
        })
    }

    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>> {
        Box::pin(async move {
            self.hang_reading().await;
            self.store.load(prefix, from).await
        })
    }

    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        let contested = self.contested.lock().unwrap().clone();
        let puts = |op: &Op| matches!(op, Op::Put(key, _) if Some(key) == contested.as_ref());
        if let Err(StoreFault(why)) = self.answers() {
            return Box::pin(async { Err(CommitError::Refused(why)) });
        }
        self.clock.advance(self.lasts.swap(0, Ordering::AcqRel));
        if self.hangs.load(Ordering::Acquire) {
            self.hanging.notify_one();
            return Box::pin(std::future::pending());
        }
        if batch.ops().iter().any(puts) {
            return Box::pin(async { Err(CommitError::Conflict) });
        }
        Box::pin(async {
            let start = Instant::now();
            let committed = self.store.commit(batch).await;
            *self.spent.lock().unwrap() += start.elapsed();
            committed
        })
    }

    fn watch(&self, from: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        self.store.watch(from)
    }

    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        self.store.outbox(limit)
    }

    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        self.store.drained(position)
    }

    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        self.store.log_position()
    }
}

/// What is committed is in force once it is in memory.
#[derive(Debug)]
pub(super) struct InMemory {
    store: OnceLock<Arc<Shared>>,
    keys: Arc<Keys>,
    hot: Arc<HotSet>,
    ring: Arc<KeyRing>,
    reached: Mutex<Option<Revision>>,
    /// Whether no record is durable.
    lacks_log: AtomicBool,
    /// One at a time, as a replica applies what changed: nobody puts back what was read before.
    turn: tokio::sync::Mutex<()>,
}

impl Settled for InMemory {
    fn settles(&self) -> Result<(), Denial> {
        Ok(())
    }

    fn settled(&self, revision: Revision) -> Reply<'_, Result<(), Denial>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let store = self.store.get().unwrap();
            let entries = load_all(&**store, KEY_PREFIX).await.unwrap();
            self.keys.reset(&entries).unwrap();
            let entries = load_all(&**store, SIGNING_PREFIX).await.unwrap();
            self.ring.reset(&entries).unwrap();
            for (id, member) in self.ring.ring().members() {
                if matches!(member.life, Life::Compromised { .. }) {
                    self.hot.revoke(Thing::SigningKey(id), Second::NEVER);
                }
            }
            for entry in load_all(&**store, MARKER_PREFIX).await.unwrap() {
                self.hot.take_early(&entry).unwrap().unwrap();
            }
            if self.lacks_log.load(Ordering::Acquire) {
                *self.reached.lock().unwrap() = None;
                return Err(Denial::failed(Fault::LogUnavailable, "no log"));
            }
            *self.reached.lock().unwrap() = Some(revision);
            Ok(())
        })
    }

    fn reached(&self) -> Option<Revision> {
        *self.reached.lock().unwrap()
    }
}

/// Nobody watches.
#[derive(Debug)]
struct Unheard;

impl Encode for Unheard {
    fn part(&self, _: Vec<u8>, _: bool, _: Option<&End>) -> Bytes {
        Bytes::new()
    }

    fn delta(&self, _: Vec<u8>, _: &Label) -> Bytes {
        Bytes::new()
    }

    fn heartbeat(&self, _: &Label) -> Bytes {
        Bytes::new()
    }
}

pub(super) struct World {
    pub(super) store: Arc<Shared>,
    pub(super) clock: Arc<TestClock>,
    pub(super) hot: Arc<HotSet>,
    pub(super) admin: RevocationAdmin,
    settled: Arc<InMemory>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (TestClock::at(NOW), SystemRandomness::shared());
        let path = folder.path().join("store.db");
        let store = EmbeddedStore::open(&path, clock.clone(), random.clone()).unwrap();
        let store = Arc::new(Shared {
            store,
            between: Mutex::default(),
            contested: Mutex::default(),
            away: AtomicBool::default(),
            hangs: AtomicBool::default(),
            hanging: Notify::new(),
            reads_hang: AtomicBool::default(),
            lasts: AtomicU32::default(),
            clock: Arc::clone(&clock),
            spent: Mutex::default(),
        });
        let hot = Arc::<HotSet>::default();
        let issuer: Arc<str> = "https://cambist.example.org".into();
        let keys = Arc::new(Keys::new(Arc::clone(&issuer), Arc::clone(&hot)));
        let timing = Timing::new(
            limits::ROTATE_AFTER,
            limits::MAX_LIFETIME,
            limits::STALENESS,
        );
        let timing = timing.unwrap();
        let kek = Kek::new(zeroize::Zeroizing::new([7; Kek::LENGTH])).unwrap();
        let kek = Arc::new(kek);
        let ring = Arc::new(KeyRing::new(Arc::clone(&kek), timing));
        let settled = Arc::new(InMemory {
            store: OnceLock::from(Arc::clone(&store)),
            keys: Arc::clone(&keys),
            hot: Arc::clone(&hot),
            ring: Arc::clone(&ring),
            reached: Mutex::default(),
            lacks_log: AtomicBool::default(),
            turn: tokio::sync::Mutex::default(),
        });
        let guard = Arc::new(TimeGuard::new(clock.clone(), None));
        let told = Arc::clone(&settled);
        let changes = Changes::new(store.clone(), told, guard, random.clone());
        let changes = Arc::new(changes);
        let algorithm = SigningAlgorithm::Es256;
        let rotation = Rotation::new(store.clone(), kek, random, algorithm, timing);
        let signing = SigningAdmin::new(rotation, ring, Arc::clone(&changes));
        let audiences = Arc::<Audiences>::default();
        let shop = serde_json::json!({ "name": "shop", "owner": "team" });
        let shop = serde_json::from_value(shop).unwrap();
        audiences.configure(vec![shop]).unwrap();
        let keys = KeyAdmin::new(keys, audiences, Arc::clone(&changes), limits::MAX_KEY_LIFE);
        let label = || Label {
            revision: Revision {
                incarnation: Incarnation(1),
                counter: 0,
            },
            as_of: None,
            earliest: None,
        };
        let admin = RevocationAdmin::new(
            issuer,
            Arc::clone(&hot),
            Feed::new(Arc::clone(&hot), Box::new(Unheard), label),
            Arc::new(keys),
            Arc::new(signing),
            changes,
            Arc::default(),
        );
        Self {
            store,
            clock,
            hot,
            admin,
            settled,
            _folder: folder,
        }
    }

    /// The signing key that is active; at first one is made.
    pub(super) async fn signing_key(&self) -> KeyId {
        self.admin.signing.ensure().await.unwrap();
        self.admin.changes.all_in_force().await.unwrap();
        let ring = self.settled.ring.ring();
        ring.active().unwrap().0.clone()
    }

    /// Nothing that is committed gets onto the record.
    pub(super) fn lacks_log(&self, lacks: bool) {
        self.settled.lacks_log.store(lacks, Ordering::Release);
    }

    /// A key of an owner that was made so many seconds from now.
    pub(super) async fn key(&self, owner: &str, later: i64) -> KeyPublicId {
        self.key_and_text(owner, later).await.0
    }

    pub(super) async fn key_and_text(&self, owner: &str, later: i64) -> (KeyPublicId, Secret) {
        let (text, parsed) = api_key::generate(&*SystemRandomness::shared()).unwrap();
        let key = ApiKey {
            version: 1,
            id: parsed.id,
            digest: parsed.digest,
            spec: KeySpec {
                owner: Owner::parse(owner).unwrap(),
                purpose: Purpose::parse("a test").unwrap(),
                audiences: vec![Audience::parse("shop").unwrap()],
                scopes: Default::default(),
                expires: at(NOW + 1_000),
                networks: Vec::new(),
                uses: None,
                tenant: None,
                labels: Default::default(),
            },
            created: at(NOW + later),
            state: KeyState::Active,
            successor: None,
        };
        let value = Value::new(serde_json::to_vec(&key).unwrap()).unwrap();
        self.put(stored_key(&key.id), value).await;
        self.admin.changes.all_in_force().await.unwrap();
        (key.id, text)
    }

    pub(super) fn away(&self, is_away: bool) {
        self.store.away.store(is_away, Ordering::Release);
    }

    /// Something is applied whose record is not durable.
    pub(super) fn unreach(&self) {
        *self.settled.reached.lock().unwrap() = None;
    }

    /// What was done to a key, as the records say that wait for the log.
    pub(super) async fn recorded(&self, id: &KeyPublicId) -> Vec<String> {
        self.records(&format!("\"key:{id}\"")).await
    }

    /// The records that wait for the log and have this in them.
    pub(super) async fn records(&self, of: &str) -> Vec<String> {
        let waiting = self.store.outbox(100).await.unwrap();
        let records = waiting.iter().map(|entry| entry.record.to_vec());
        let records = records.map(|record| String::from_utf8(record).unwrap());
        records.filter(|record| record.contains(of)).collect()
    }

    pub(super) async fn put(&self, key: Key, value: Value) {
        let batch = Batch::new().put(key, value).unwrap();
        self.store.commit(batch).await.unwrap();
    }

    pub(super) async fn is_revoked(&self, id: &KeyPublicId) -> bool {
        let entry = self.store.read(&stored_key(id)).await.unwrap().unwrap();
        let key: ApiKey = serde_json::from_slice(entry.value.as_bytes()).unwrap();
        key.state == KeyState::Revoked
    }

    pub(super) async fn are_revoked(&self, ids: &[KeyPublicId]) -> Vec<bool> {
        let mut revoked = Vec::new();
        for id in ids {
            revoked.push(self.is_revoked(id).await);
        }
        revoked
    }

    pub(super) async fn revoke(
        &self,
        what: &Revocable,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        self.admin.revoke(what, "gone", &author(), on).await
    }

    pub(super) async fn jobs(&self) -> usize {
        load_all(&*self.store, JOBS).await.unwrap().len()
    }

    pub(super) fn contest(&self, key: Option<Key>) {
        *self.store.contested.lock().unwrap() = key;
    }

    /// A token's marker as it is stored.
    pub(super) fn marker(&self, token: &str, until: i64) -> (Key, StoredMarker) {
        let thing = Thing::Token("https://cambist.example.org", token);
        let marker = Marker {
            id: thing.id(),
            cover: Cover::all(Second::of(at(until))),
        };
        let told = Told {
            kind: thing.kind().name().to_owned(),
            thing: token.to_owned(),
            reason: String::new(),
            author: "uid:7".to_owned(),
            at: at(NOW),
            owner: None,
        };
        let key = StoredMarker::key(&marker.id).unwrap();
        let tenant = None;
        (
            key,
            StoredMarker {
                marker,
                told,
                tenant,
            },
        )
    }
}

pub(super) fn stored_key(id: &KeyPublicId) -> Key {
    Key::new(&format!("{KEY_PREFIX}{id}")).unwrap()
}

/// Of a call and its repeats.
pub(super) fn once() -> Precondition {
    Precondition {
        idempotency_key: Some("once".parse().unwrap()),
        expected_revision: None,
    }
}

pub(super) fn author() -> Author {
    Author {
        who: Administrator::for_test(7).into(),
        context: Context {
            face: Face::Grpc,
            peer: Arc::default(),
            ask: None,
            request: None,
        },
    }
}
