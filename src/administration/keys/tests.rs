//! What a key's maker is told, and what is left behind when nothing can be told.

use super::*;
use crate::administration::Settled;
use crate::audit::Context;
use crate::authn::{Administrators, Authn, Duty, Face, OwnTokens, Peer};
use crate::clock::SystemRandomness;
use crate::clock::guard::TimeGuard;
use crate::clock::testing::TestClock;
use crate::id::{Audience, Owner, Purpose};
use crate::inventory::{AudienceSpec, KEY_PREFIX};
use crate::keys::KeyRing;
use crate::limits;
use crate::revocation::HotSet;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Reply, load_all};
use crate::trust::TrustStore;
use std::sync::atomic::{AtomicBool, Ordering};

const NOW: i64 = 1_000_000;

/// Says that nothing settles while it is down; what settles all the same is another's matter.
#[derive(Debug, Default)]
struct Log {
    down: AtomicBool,
}

impl Settled for Log {
    fn settles(&self) -> Result<(), Denial> {
        match self.down.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Denial::failed(Fault::LogUnavailable, "it is down")),
        }
    }

    fn settled(&self, _: Revision) -> Reply<'_, Result<(), Denial>> {
        Box::pin(async { Ok(()) })
    }

    fn reached(&self) -> Option<Revision> {
        None
    }
}

fn author(keys: &Arc<Keys>, audiences: &Arc<Audiences>) -> Author {
    let issuer: Arc<str> = "https://cambist.example.org".into();
    let authn = Authn::new(
        Arc::clone(keys),
        Arc::clone(audiences),
        Arc::new(TrustStore::new()),
        OwnTokens::new(issuer, KeyRing::empty_for_test()),
        Arc::default(),
        Timestamp::MIN,
    );
    let peer = Arc::new(Peer {
        uid: Some(0),
        ..Peer::default()
    });
    let allowed = Administrators {
        uids: [0].into(),
        ..Administrators::default()
    };
    let now = Timestamp::from_second(NOW).unwrap();
    let who = authn.administrator(&peer, &allowed, Duty::Administer, now);
    Author {
        who: who.unwrap().into(),
        context: Context {
            face: Face::Grpc,
            peer,
            ask: None,
            request: None,
        },
    }
}

#[tokio::test]
async fn a_secret_that_could_be_lost_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, random) = (TestClock::at(NOW), SystemRandomness::shared());
    let path = folder.path().join("store.db");
    let store = Arc::new(EmbeddedStore::open(&path, clock.clone(), random.clone()).unwrap());
    let keys = Arc::new(Keys::new("https://a".into(), Arc::<HotSet>::default()));
    let audiences = Arc::<Audiences>::default();
    let audience = Audience::parse("shop").unwrap();
    let registered = serde_json::json!({ "name": "shop", "owner": "team" });
    let registered: AudienceSpec = serde_json::from_value(registered).unwrap();
    audiences.configure(vec![registered]).unwrap();
    let log = Arc::<Log>::default();
    let guard = Arc::new(TimeGuard::new(clock, None));
    let changes = Changes::new(store.clone(), log.clone(), guard, random);
    let author = author(&keys, &audiences);
    let admin = KeyAdmin::new(
        Arc::clone(&keys),
        audiences,
        Arc::new(changes),
        limits::MAX_KEY_LIFE,
    );
    let spec = KeySpec {
        owner: Owner::parse("team").unwrap(),
        purpose: Purpose::parse("a test").unwrap(),
        audiences: vec![audience],
        scopes: Default::default(),
        expires: Timestamp::from_second(NOW + 60).unwrap(),
        networks: Vec::new(),
        uses: None,
        tenant: None,
        labels: Default::default(),
    };
    let on = Precondition {
        idempotency_key: Some("once".parse().unwrap()),
        ..Precondition::default()
    };
    let stored = async || load_all(&*store, KEY_PREFIX).await.unwrap();

    log.down.store(true, Ordering::Release);
    let refused = admin.create(spec.clone(), &author, &on).await.unwrap_err();
    assert_eq!(refused.code(), "log_unavailable");
    assert!(stored().await.is_empty());
    log.down.store(false, Ordering::Release);
    // Nothing follows the store in this test, so that the key is made and not found; a repeat would be one of this call.
    let _not_in_memory = admin.create(spec, &author, &on).await;
    let entries = stored().await;
    assert_eq!(entries.len(), 1);
    keys.reset(&entries).unwrap();

    // With a rotation that is lost, the old key would be lost too.
    log.down.store(true, Ordering::Release);
    let id = keys.list(None).first().unwrap().key().id;
    let on = Precondition::default();
    let rotated = admin.rotate(&id, Duration::ZERO, None, &author, &on);
    assert_eq!(rotated.await.unwrap_err().code(), "log_unavailable");
    assert_eq!(stored().await, entries);
    // What takes a right away does not wait for the log.
    let revoked = admin.set_state(&id, KeyState::Revoked, "leaked", &author, &on);
    revoked.await.unwrap();
    assert_ne!(stored().await, entries);
}
