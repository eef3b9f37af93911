//! Keys that are revoked or reported as leaked where nothing can be written: they end all the same, and whoever said so is
//! told that it is not durable.

use super::load::{by_key, create, key, suspend};
use super::revocation::{NO_SIGNAL, client, is_active};
use crate::sinks::{Hook, section, until_taken};
use crate::support::broker::{Broker, Site, refusal};
use crate::support::edge::until;
use crate::support::reporter::{Reporter, findings};
use cambist::limits;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::{Key, ListKeysRequest, RevokeKeyRequest, RevokeKeyResponse};
use http::{HeaderMap, StatusCode, header};
use rustix::process::{Resource, Rlimit, prlimit};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

const URL: &str = "https://git.example.org/team-shop/blob/12ab/deploy.sh";

/// A site with somebody who reports leaked keys, and more of the configuration.
fn site(reporter: &Reporter, more: &str) -> Arc<Site> {
    let site = Site::with(|setup| {
        let keys = "[[leak.reporter]]\nname = \"github\"\nfile = \"keys.json\"\n";
        setup.config += &format!("\n{keys}{more}");
    });
    fs::write(site.path("keys.json"), reporter.published()).unwrap();
    site
}

async fn report(
    broker: &Broker,
    reporter: &Reporter,
    keys: &[&str],
) -> (StatusCode, HeaderMap, String) {
    let mut http = broker.http("h2").await;
    let request = reporter.report(&findings(keys, URL));
    http.send(request).await.unwrap()
}

fn assert_told_to_come_again(answer: &(StatusCode, HeaderMap, String)) {
    let (status, headers, body) = answer;
    assert_eq!(*status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(
        headers[header::RETRY_AFTER],
        limits::LEAK_RETRY.as_secs().to_string()
    );
    assert!(body.contains("applied, not durable"), "{answer:?}");
}

async fn revoke(
    client: &mut InventoryClient<Channel>,
    id: &str,
    expected_revision: u64,
) -> Result<RevokeKeyResponse, Status> {
    let request = RevokeKeyRequest {
        id: id.to_owned(),
        reason: "leaked".to_owned(),
        idempotency_key: String::new(),
        expected_revision,
    };
    client
        .revoke_key(request)
        .await
        .map(tonic::Response::into_inner)
}

async fn listed(client: &mut InventoryClient<Channel>) -> Vec<Key> {
    let answer = client.list_keys(ListKeysRequest::default()).await;
    answer.unwrap().into_inner().keys
}

/// A key, and a token that was made of it.
struct Made {
    id: String,
    secret: String,
    token: String,
}

async fn made(broker: &Broker) -> Made {
    let (id, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let token = broker.anybody().await.yes(by_key(&secret)).await;
    Made {
        id,
        secret,
        token: token.access_token,
    }
}

async fn assert_ended(client: &mut RevocationClient<Channel>, keys: &[&Made]) {
    for key in keys {
        assert!(!is_active(client, &key.token).await, "{}", key.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_or_reported_ends_though_nothing_can_be_written() {
    let reporter = Reporter::new("k1");
    let site = site(&reporter, "");
    let mut broker = site.run(site.wrapped(&NO_SIGNAL)).await;
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.push(made(&broker).await);
    }
    let [
        revoked,
        first,
        second,
        by_hand,
        handed_in,
        named,
        suspended,
        other,
    ] = &keys[..]
    else {
        panic!("{}", keys.len());
    };
    let (mut admin, mut checks) = (broker.inventory().await, client(&broker).await);
    // What goes on as it did when the disk was well.
    let found = site.argument("found.key");
    fs::write(&found, &handed_in.secret).unwrap();
    let limit = |current| Rlimit {
        current,
        maximum: None,
    };
    // Nothing can be written past the first page of any file.
    prlimit(Some(broker.pid()), Resource::Fsize, limit(Some(4096))).unwrap();

    // No revocation, and so no reason to do what cannot be kept.
    suspend(&mut admin, &suspended.id).await.unwrap_err();
    assert!(is_active(&mut checks, &suspended.token).await);
    // Whoever wants it as it was gets it so, or not at all.
    let conflict = revoke(&mut admin, &other.id, u64::MAX).await.unwrap_err();
    assert_eq!(refusal(&conflict), "conflict");
    let missing = revoke(&mut admin, "CambistTestKey01", 0).await.unwrap_err();
    assert_eq!(refusal(&missing), "not_found");
    assert!(broker.until_ready(true).await.contains("ready"));

    let seen = key(&mut admin, &revoked.id).await.unwrap().revision;
    let answer = revoke(&mut admin, &revoked.id, seen).await.unwrap();
    assert!(!answer.durable && answer.revision.is_empty(), "{answer:?}");
    assert_eq!(answer.key.unwrap().state, "revoked");
    assert_ended(&mut checks, &[revoked]).await;
    // One that cannot be written keeps no other from ending, and whoever sent them sends them again.
    let both = [&*first.secret, "hunter2", &second.secret];
    for _ in 0..2 {
        assert_told_to_come_again(&report(&broker, &reporter, &both).await);
        assert_ended(&mut checks, &[first, second]).await;
    }
    for (outcome, count) in [("not_durable", 4), ("unknown", 2), ("failed", 0)] {
        let name = format!("leak_reports_total{{outcome=\"{outcome}\"}}");
        assert_eq!(broker.metric(&name).await, Some(count), "{outcome}");
    }
    // By the command line, each in its own way.
    let of_named = format!("key:{}", named.id);
    for line in [
        &["key", "revoke", &by_hand.id, "--reason", "leaked"][..],
        &["leak", "report", &found],
        &["revoke", "--credential", &of_named, "--reason", "leaked"],
    ] {
        let ran = broker.run_as_admin(line).await;
        assert_eq!(ran.code, Some(6), "{ran:?}");
        assert!(ran.stderr.contains("applied, not durable"), "{ran:?}");
        assert!(!ran.stdout.is_empty(), "{ran:?}");
        let ran = broker.run_as_admin(&[line, &["--json"]].concat()).await;
        assert_eq!(
            (ran.code, &ran.json()["durable"]),
            (Some(6), &false.into()),
            "{ran:?}"
        );
        assert!(
            ran.stderr.contains(r#""code":"not_durable","exit":6"#),
            "{ran:?}"
        );
    }
    let ended = [revoked, first, second, by_hand, handed_in, named];
    assert_ended(&mut checks, &ended).await;
    // And told so, whoever looks.
    for key in listed(&mut admin).await {
        let is_ended = ended.iter().any(|ended| ended.id == key.id);
        assert_eq!(key.state == "revoked", is_ended, "{key:?}");
    }
    assert!(is_active(&mut checks, &other.token).await);
    let refused = broker.anybody().await.no(by_key(&other.secret)).await;
    assert!(
        ["store_unavailable", "log_unavailable"].contains(&&*refused),
        "{refused}"
    );
    let says = async || {
        let told = broker.until_ready(false).await;
        told.contains("a revocation is in force and not written")
    };
    until("the reason", says).await;
    // With the key that signed them all the rest goes, and it says the same.
    let ring = async || {
        let ran = broker
            .run_as_admin(&["signing-key", "list", "--json"])
            .await;
        ran.json()["signing_keys"].as_array().unwrap().clone()
    };
    let signs = ring().await;
    let signs = signs.iter().find(|key| key["state"] == "active").unwrap();
    let kid = signs["kid"].as_str().unwrap();
    assert!(is_active(&mut checks, &other.token).await);
    let line = ["signing-key", "rotate", "--compromised", kid];
    let line = [&line[..], &["--reason", "leaked", "--json"]].concat();
    for _ in 0..2 {
        let ran = broker.run_as_admin(&line).await;
        assert_eq!(
            (ran.code, &ran.json()["durable"]),
            (Some(6), &false.into()),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("applied, not durable"), "{ran:?}");
    }
    assert!(!is_active(&mut checks, &other.token).await);
    let told = ring().await;
    let told = told.iter().find(|key| key["kid"] == kid).unwrap();
    assert_eq!(told["state"], "compromised");

    // A store that broke off in the middle takes nothing more before the next start. Whoever was told to say it again, does.
    broker.kill9().await;
    let mut broker = site.start().await;
    let (status, _, body) = report(&broker, &reporter, &both).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer = revoke(&mut broker.inventory().await, &revoked.id, 0)
        .await
        .unwrap();
    assert!(answer.durable && !answer.revision.is_empty(), "{answer:?}");
    let ran = broker
        .run_as_admin(&["leak", "report", &found, "--json"])
        .await;
    assert_eq!(
        (ran.code, &ran.json()["durable"]),
        (Some(0), &true.into()),
        "{ran:?}"
    );
    let mut checks = client(&broker).await;
    assert_ended(&mut checks, &[revoked, first, second, handed_in]).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
}

/// The store is held by another program, and is well again once that lets go.
#[tokio::test(flavor = "multi_thread")]
async fn what_tells_the_owner_of_a_leak_follows_once_it_is_written() {
    let reporter = Reporter::new("k1");
    let hook = Hook::plain().await;
    let only = format!("url = \"{}\"\nactions = [\"key.leaked\"]", hook.url);
    let site = site(&reporter, &section("owner", "webhook", &only));
    let mut broker = site.start().await;
    let (leaked, revoked) = (made(&broker).await, made(&broker).await);
    let mut more = Vec::new();
    for _ in 0..8 {
        more.push(made(&broker).await);
    }
    let mut checks = client(&broker).await;
    let store = rusqlite::Connection::open(site.path("data/store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut admin = broker.inventory().await;
    let keys = [&leaked].into_iter().chain(&more);
    let keys: Vec<_> = keys.map(|key| &*key.secret).collect();
    let began = Instant::now();
    let (answer, by_hand) = tokio::join!(
        report(&broker, &reporter, &keys),
        revoke(&mut admin, &revoked.id, 0)
    );
    assert_told_to_come_again(&answer);
    assert!(!by_hand.unwrap().durable);
    // Each write takes five seconds to fail, and only the first one of a report is waited for.
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_ended(&mut checks, &more.iter().collect::<Vec<_>>()).await;
    assert_ended(&mut checks, &[&leaked, &revoked]).await;
    assert!(hook.asked().is_empty());
    let recorded = |action: &str| {
        let records = broker.records();
        records
            .into_iter()
            .filter(|record| record["action"] == action)
            .collect::<Vec<_>>()
    };
    assert!(recorded("key.leaked").is_empty() && recorded("key.revoke").is_empty());
    store.execute_batch("ROLLBACK").unwrap();
    drop(store);

    until("the records", async || {
        recorded("key.leaked").len() == keys.len() && recorded("key.revoke").len() == 1
    })
    .await;
    broker.until_ready(true).await;
    let records = recorded("key.leaked");
    let record = &records[0];
    // As it would have been, had it been written at once.
    assert_eq!(record["sub"], "reporter:github");
    assert_eq!(record["target"], format!("key:{}", leaked.id));
    assert_eq!(record["owner"], "team-shop");
    assert_eq!(record["change"]["reason"], "reported as leaked");
    let place = serde_json::json!({ "url": URL, "source": "commit" });
    assert_eq!(record["change"]["leak"], place);
    until_taken(&broker, "owner").await;
    assert_eq!(hook.records(), records);
    // By now there is nothing left to do, and that is told.
    let (status, _, body) = report(&broker, &reporter, &keys).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("true_positive"), "{body}");
    assert_eq!(recorded("key.leaked").len(), keys.len());
    broker.kill9().await;
    broker.restart().await;
    for key in [&leaked, &revoked] {
        let refused = broker.anybody().await.no(by_key(&key.secret)).await;
        assert_eq!(refused, "credential_refused");
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
}
