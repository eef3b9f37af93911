//! kill -9 at random moments under load. Whatever any client was told survives: each token is in the log, each
//! acknowledged change is in force, no finite key was used too often, nothing was issued after a revocation.

use super::load::{
    Ledger, Received, by_certificate, by_key, create, is_gone, keep_asking, key, revoke,
};
use crate::support::broker::{Broker, Caller, Site, refusal};
use crate::support::long;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const USES: u32 = 5;
/// How many keys of earlier rounds are used, or looked at, in each.
const RECENT: usize = 4;

/// Set to the seed that a failed run printed, to run it again.
const SEED: &str = "CAMBIST_TEST_SEED";

/// SplitMix64: all that is needed of randomness here is that a seed can be printed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var(SEED).map_or_else(
            |_| u64::from(std::process::id()),
            |text| text.parse().unwrap(),
        );
        println!("{SEED}={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What was acknowledged in all rounds so far.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    created: Arc<Mutex<HashMap<String, String>>>,
    revoked: Arc<Mutex<Vec<(String, String)>>>,
    finite: Vec<(String, String)>,
}

/// What the log says, read on from where the last look ended.
#[derive(Default)]
struct Seen {
    next: u64,
    issues: HashMap<String, (u64, String)>,
    spent: HashMap<String, u32>,
    issued: HashMap<String, u32>,
    revoked: HashSet<String>,
    finite: HashSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_told_is_lost_when_the_broker_is_killed() {
    let rounds = if long() { 300 } else { 20 };
    let mut moments = Moments::new();
    let site = Site::new();
    let (mut told, mut seen) = (Told::default(), Seen::default());
    let mut unlimited = None;
    let mut checkpoints = Vec::new();
    for round in 0..rounds {
        let mut broker = site.start().await;
        let mut admin = broker.inventory().await;
        if unlimited.is_none() {
            unlimited = Some(create(&mut admin, 0).await.unwrap().1);
        }
        still_in_force(&broker, &told, false).await;
        let (id, secret) = create(&mut admin, USES).await.unwrap();
        seen.finite.insert(format!("key:{id}"));
        told.finite.push((id, secret));
        let victim = create(&mut admin, 0).await.unwrap();
        let tasks = load(&broker, &told, unlimited.clone().unwrap(), victim).await;
        tokio::time::sleep(Duration::from_micros(moments.next() % 600_000)).await;
        broker.kill9().await;
        for task in tasks {
            task.await.unwrap();
        }
        seen.read_on(&site);
        seen.holds(&told);
        // Every checkpoint is held against the log in the end; the whole of it need not be read for each.
        if round % 10 == 9 {
            site.verify_log(&mut checkpoints);
        } else {
            checkpoints.extend(site.checkpoint());
        }
        println!(
            "round {round}: {} tokens so far",
            told.ledger.lock().unwrap().len()
        );
    }
    let mut broker = site.start().await;
    use_up(&broker, &told).await;
    still_in_force(&broker, &told, true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    site.verify_log(&mut checkpoints);
    let records = site.whole_log().len();
    let last = checkpoints.last().unwrap();
    assert_eq!(
        usize::try_from(last.size).unwrap(),
        records,
        "published at the end"
    );
    assert!(told.ledger.lock().unwrap().len() > rounds);
    assert!(!told.revoked.lock().unwrap().is_empty());
}

/// Clients of every kind, until the broker is gone.
async fn load(
    broker: &Broker,
    told: &Told,
    unlimited: String,
    victim: (String, String),
) -> Vec<tokio::task::JoinHandle<()>> {
    let ask = |caller: Caller, request, allowed| {
        tokio::spawn(keep_asking(
            caller,
            request,
            Arc::clone(&told.ledger),
            allowed,
        ))
    };
    let mut tasks = Vec::new();
    for _ in 0..2 {
        tasks.push(ask(broker.anybody().await, by_key(&unlimited), &[]));
        tasks.push(ask(broker.web().await, by_certificate(), &[]));
        tasks.push(ask(
            broker.anybody().await,
            by_key(&victim.1),
            &["credential_refused", "revoked"],
        ));
    }
    // Those of earlier rounds too, but not so many that the load is all handshakes.
    for (_, secret) in told.finite.iter().rev().take(RECENT) {
        for _ in 0..2 {
            tasks.push(ask(
                broker.anybody().await,
                by_key(secret),
                &["credential_spent", "too_busy"],
            ));
        }
    }
    let mut admin = broker.inventory().await;
    let (created, revoked) = (Arc::clone(&told.created), Arc::clone(&told.revoked));
    tasks.push(tokio::spawn(async move {
        match revoke(&mut admin, &victim.0).await {
            Ok(()) => revoked.lock().unwrap().push(victim),
            Err(status) => assert!(is_gone(&status), "{status:?}"),
        }
        loop {
            match create(&mut admin, 0).await {
                Ok((id, secret)) => drop(created.lock().unwrap().insert(id, secret)),
                Err(status) => {
                    assert!(is_gone(&status), "{status:?}");
                    return;
                }
            }
        }
    }));
    tasks
}

/// What was acknowledged before the kill holds after it.
async fn still_in_force(broker: &Broker, told: &Told, last: bool) {
    let mut admin = broker.inventory().await;
    let client = broker.anybody().await;
    let created = told.created.lock().unwrap().clone();
    for id in created.keys() {
        let key = key(&mut admin, id).await;
        assert_eq!(key.unwrap().state, "active", "{id}");
    }
    let revoked = told.revoked.lock().unwrap().clone();
    let looked_at = if last { usize::MAX } else { RECENT };
    for (id, secret) in revoked.iter().rev().take(looked_at) {
        assert_eq!(key(&mut admin, id).await.unwrap().state, "revoked");
        assert_eq!(
            client.no(by_key(secret)).await,
            "credential_refused",
            "{id}"
        );
    }
    // Each once is enough.
    told.created.lock().unwrap().clear();
}

/// Uses what is left of the finite keys, and counts all that was ever received.
async fn use_up(broker: &Broker, told: &Told) {
    let client = broker.anybody().await;
    for (id, secret) in &told.finite {
        let mut count = {
            let ledger = told.ledger.lock().unwrap();
            let of_key = |token: &&Received| token.credential == format!("key:{id}");
            u32::try_from(ledger.iter().filter(of_key).count()).unwrap()
        };
        loop {
            match client.exchange(by_key(secret)).await {
                Ok(_) => count += 1,
                Err(status) => {
                    assert_eq!(refusal(&status), "credential_spent");
                    break;
                }
            }
        }
        assert!(count <= USES, "{id} gave {count} tokens");
    }
}

impl Seen {
    fn read_on(&mut self, site: &Site) {
        for record in site.whole_log_from(self.next) {
            self.next = record["seq"].as_u64().unwrap() + 1;
            self.take(&record);
        }
    }

    fn take(&mut self, record: &Value) {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let credential = text("credential");
        match (record["kind"].as_str().unwrap(), text("action").as_str()) {
            ("issue", _) => {
                let sequence = record["seq"].as_u64().unwrap();
                let twice = self
                    .issues
                    .insert(text("jti"), (sequence, text("token_sha256")));
                assert!(twice.is_none(), "{record}");
                let issued = self.issued.entry(credential.clone()).or_default();
                *issued += 1;
                // The log knows of a use before it knows of its token: an old store can be brought up from it.
                let spent = self.spent.get(&credential).copied().unwrap_or_default();
                assert!(
                    !self.finite.contains(&credential) || *issued <= spent,
                    "issued before it was spent: {record}"
                );
                assert!(
                    !self.revoked.contains(&credential),
                    "issued after its revocation: {record}"
                );
            }
            ("spend", _) => *self.spent.entry(credential).or_default() += 1,
            ("admin", "key.revoke") => drop(self.revoked.insert(credential)),
            _ => {}
        }
    }

    /// Everything that was told is in the log, and the log says nothing that must not be.
    fn holds(&self, told: &Told) {
        for token in told.ledger.lock().unwrap().iter() {
            let expected = (token.index, token.sha256.clone());
            assert_eq!(self.issues.get(&token.jti), Some(&expected), "{token:?}");
        }
        for (id, _) in told.revoked.lock().unwrap().iter() {
            assert!(self.revoked.contains(&format!("key:{id}")), "{id}");
        }
        for (id, _) in &told.finite {
            let name = format!("key:{id}");
            let count = |map: &HashMap<String, u32>| map.get(&name).copied().unwrap_or_default();
            let (spent, issued) = (count(&self.spent), count(&self.issued));
            assert!(
                issued <= spent && spent <= USES,
                "{id}: {spent} spent, {issued} issued"
            );
        }
    }
}
