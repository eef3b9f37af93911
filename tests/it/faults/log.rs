//! A log that cannot be written, under a broker that runs: nothing is issued, everything else goes on, and it comes
//! back by itself.

use super::load::{Received, by_certificate, by_key, create, key, received, revoke};
use super::seen::Seen;
use crate::support::broker::{Broker, Caller, LOOK, Site, checkpoint, records, refusal, segments};
use crate::support::disk::{SmallDisk, fill};
use crate::support::edge::{until, within};
use crate::support::long;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{ExchangeRequest, RevokeRequest};
use http::StatusCode;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// A caller that cannot be served is told so, and not kept waiting for a disk until its request has taken too long
/// (`limits::REQUEST`).
pub(super) const QUICKLY: Duration = Duration::from_secs(20);

pub(super) fn assert_recorded(folder: &Path, tokens: &[Received]) {
    let records = records(folder);
    for token in tokens {
        let found = records.iter().find(|record| record["jti"] == token.jti);
        let hash = found.map(|record| record["token_sha256"].as_str().unwrap());
        assert_eq!(hash, Some(token.sha256.as_str()), "{token:?}");
    }
}

/// Asks until the broker issues again; nothing but the log may be in the way.
pub(super) async fn until_issued(client: &Caller, request: &ExchangeRequest) -> Received {
    let asking = async {
        loop {
            match client.exchange(request.clone()).await {
                Ok(answer) => return received(&answer),
                Err(status) => assert_eq!(refusal(&status), "log_unavailable", "{status:?}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    within("a token", asking).await
}

/// Waits until `/readyz` says so.
pub(super) async fn told(broker: &Broker, what: &str) {
    until(what, async || {
        let answer = broker.operations("/readyz").await;
        answer.is_some_and(|(_, body)| body.contains(what))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_issuance_and_nothing_else() {
    let site = Site::new();
    let disk = SmallDisk::new(&site.path("data"));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
    let data = disk.view(&site.path("data"));
    let log = data.join("log");
    let seen = Seen::of(&log);
    let mut admin = broker.inventory().await;
    let victim = create(&mut admin, 0).await.unwrap();
    let later = create(&mut admin, 0).await.unwrap();
    let other = create(&mut admin, 0).await.unwrap();
    let client = broker.anybody().await;
    let mut tokens = vec![until_issued(&client, &by_key(&victim.1)).await];

    let junk = data.join("junk");
    fill(&junk);
    let refused = async {
        loop {
            let answer = timeout(QUICKLY, client.exchange(by_key(&victim.1))).await;
            match answer.unwrap() {
                Ok(answer) => tokens.push(received(&answer)),
                Err(status) => return status,
            }
            fill(&junk);
        }
    };
    let refused = within("a refusal", refused).await;
    assert_eq!(refusal(&refused), "log_unavailable");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let told = broker.until_ready(false).await;
    assert!(told.contains(r#""condition":"log""#), "{told}");

    // Whoever verifies tokens, and whoever looks after keys, is served.
    let mut http = broker.http("http/1.1").await;
    let (status, _, keys) = http.get("/.well-known/jwks.json").await.unwrap();
    assert_eq!((status, keys.contains("\"kid\"")), (StatusCode::OK, true));
    assert_eq!(key(&mut admin, &victim.0).await.unwrap().state, "active");
    let (alive, _) = broker.operations("/healthz").await.unwrap();
    assert_eq!(alive, StatusCode::OK);

    // A leaked key can still be stopped, for good: its record is in the reserve.
    revoke(&mut admin, &victim.0).await.unwrap();
    assert_eq!(client.no(by_key(&victim.1)).await, "credential_refused");
    let revocation = |line: &Value| line["action"] == "key.revoke";
    assert!(records(&log).iter().any(revocation));
    let request = RevokeRequest {
        thing: Some(Thing::TokenId(tokens[0].jti.clone())),
        ..RevokeRequest::default()
    };
    let mut revocations = RevocationClient::new(broker.local().await);
    let answer = revocations.revoke(request).await.unwrap().into_inner();
    assert!(answer.durable, "{answer:?}");
    assert!(
        records(&log)
            .iter()
            .any(|line| line["action"] == "marker.set")
    );

    // Neither does it need the broker to have been running all along.
    broker.kill9().await;
    let mut broker = disk.start(&site).await;
    fill(&junk);
    let client = broker.anybody().await;
    assert_eq!(client.no(by_key(&victim.1)).await, "credential_refused");
    revoke(&mut broker.inventory().await, &later.0)
        .await
        .unwrap();
    broker.until_ready(false).await;

    // Room makes it well again, without a restart.
    fs::remove_file(&junk).unwrap();
    broker.until_ready(true).await;
    tokens.push(until_issued(&client, &by_key(&other.1)).await);
    assert_eq!(client.no(by_key(&victim.1)).await, "credential_refused");
    assert_recorded(&log, &tokens);
    let starts = |line: &&Value| line["kind"] == "start";
    assert_eq!(records(&log).iter().filter(starts).count(), 2);
    assert_eq!(broker.terminate().await.code(), Some(0));
    seen.holds();
}

/// What is stored of each configured audience at the start comes out of the reserve: who cannot start cannot revoke.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_nobody_from_a_start_with_another_audience() {
    let site = Site::new();
    let disk = SmallDisk::new(&site.path("data"));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
    let seen = Seen::of(&disk.view(&site.path("data")).join("log"));
    let (id, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    fill(&disk.view(&site.path("data")).join("junk"));
    let mut config = File::options()
        .append(true)
        .open(site.path("cambist.toml"))
        .unwrap();
    let another = "\n[[audience]]\nname = \"another\"\nowner = \"team-another\"\n";
    config.write_all(another.as_bytes()).unwrap();

    let mut broker = disk.start(&site).await;
    revoke(&mut broker.inventory().await, &id).await.unwrap();
    let refused = broker.anybody().await.no(by_key(&secret)).await;
    assert_eq!(refused, "credential_refused");
    assert_eq!(broker.terminate().await.code(), Some(0));
    seen.holds();
}

/// A file system that found an error of its own takes nothing more, through whichever file.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_stops_issuance_and_loses_nothing() {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let mut wrapper: Vec<String> = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"]
        .map(str::to_owned)
        .into();
    for call in ["write", "fdatasync", "fsync"] {
        let inject = format!("inject={call}:error=EROFS:when=12+");
        wrapper.extend(["-e".to_owned(), inject]);
    }
    wrapper.extend(["-e", "trace=write,fdatasync,fsync"].map(str::to_owned));
    // The segment, and all that another one could be made from.
    for name in ["00000000000000000000.seg", "next", "reserve"] {
        let path = site.path("data/log").join(name);
        wrapper.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut broker = site.run(site.wrapped(&wrapper)).await;
    let seen = Seen::of(&site.path("data/log"));
    let client = broker.web().await;
    let mut tokens = Vec::new();
    let refused = async {
        loop {
            match client.exchange(by_certificate()).await {
                Ok(answer) => tokens.push(received(&answer)),
                Err(status) => return status,
            }
        }
    };
    let refused = within("a refusal", refused).await;
    assert_eq!(refusal(&refused), "log_unavailable");
    for _ in 0..3 {
        let answer = timeout(QUICKLY, client.exchange(by_certificate())).await;
        assert_eq!(refusal(&answer.unwrap().unwrap_err()), "log_unavailable");
    }
    broker.until_ready(false).await;
    let mut http = broker.http("http/1.1").await;
    let (status, ..) = http.get("/.well-known/jwks.json").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    broker.kill9().await;
    assert!(!tokens.is_empty());
    assert_recorded(&site.path("data/log"), &tokens);
    let mut broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    seen.holds();
}

/// The kernel itself says so. It lets nobody make a file system read-only through `remount` while a file is open for writing,
/// so that the log's folder becomes a read-only mount of itself: what is open stays as it is, and nothing else can be
/// written.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_becomes_read_only_stops_what_needs_another_file() {
    let site = Site::new();
    let disk = SmallDisk::new(&site.path("data"));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
    let folder = site.path("data").join("log");
    let log = disk.view(&site.path("data")).join("log");
    let seen = Seen::of(&log);
    let client = broker.web().await;
    let issue = async || received(&client.exchange(by_certificate()).await.unwrap());
    let mut tokens = vec![issue().await];
    let last = segments(&log).pop().unwrap();
    let mut open = File::options().append(true).open(last).unwrap();
    disk.run(&[
        "mount",
        "--bind",
        "-o",
        "ro",
        folder.to_str().unwrap(),
        folder.to_str().unwrap(),
    ]);
    assert_eq!(
        fs::write(log.join("x"), "").unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    // The segment is still taken, and no checkpoint of it is.
    let before = checkpoint(&log);
    tokens.push(issue().await);
    let failures = "log_publish_failures_total";
    until("failures", async || {
        broker.metric(failures).await >= Some(2)
    })
    .await;
    assert_eq!(checkpoint(&log), before);
    let unpublished = "no checkpoint of the log is published";
    assert_eq!(site.stderr().matches(unpublished).count(), 1);
    // It ends, and no other one can be begun.
    open.write_all(b"{}\n").unwrap();
    for _ in 0..3 {
        let answer = timeout(QUICKLY, client.exchange(by_certificate())).await;
        assert_eq!(refusal(&answer.unwrap().unwrap_err()), "log_unavailable");
    }
    // At first it may say what ended the segment.
    told(&broker, "Read-only file system").await;
    let mut http = broker.http("http/1.1").await;
    let (status, ..) = http.get("/.well-known/jwks.json").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    // It can be written again, and all is well without a restart.
    disk.run(&["umount", "--lazy", folder.to_str().unwrap()]);
    broker.until_ready(true).await;
    tokens.push(issue().await);
    assert_eq!(broker.terminate().await.code(), Some(0));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.holds();
}

/// Errors that only a disk can make, injected into the system calls of the real process.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_now_and_then_loses_nothing_that_was_told() {
    // The log's writer's, and one of the store's.
    let always = [
        vec!["fdatasync:error=EIO:when=12+7"],
        vec!["pwrite64:error=ENOSPC:when=40+11"],
        vec!["write:error=EIO:when=20"],
        vec!["write:error=ENOSPC:when=20"],
        // The segment that follows a failed one fails too, at each of its steps.
        vec!["fdatasync:error=EIO:when=12+7", "fsync:error=EIO:when=10+3"],
        vec!["fdatasync:error=EIO:when=12+7", "rename:error=EIO:when=2+2"],
    ];
    let rest = [
        vec!["fdatasync:error=ENOSPC:when=12+7"],
        vec!["pwrite64:error=EIO:when=40+11"],
    ];
    let rest = if long() { &rest[..] } else { &[] };
    for injected in always.iter().chain(rest) {
        under_injection(injected).await;
    }
}

async fn under_injection(injected: &[&str]) {
    let site = Site::new();
    // Prepared without faults, so that they hit what runs and not how it starts.
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let calls: Vec<_> = injected
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    let trace = format!("trace={}", calls.join(","));
    let faults: Vec<_> = injected
        .iter()
        .map(|fault| format!("inject={fault}"))
        .collect();
    let mut wrapper = vec!["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace];
    for fault in &faults {
        wrapper.extend(["-e", fault]);
    }
    // Sockets are written to as well: only the segment that is being written is meant.
    let segment = site.path("data/log/00000000000000000000.seg");
    if calls.contains(&"write") {
        wrapper.extend(["-P", segment.to_str().unwrap()]);
    }
    let mut broker = site.run_unready(site.wrapped(&wrapper)).await;
    let seen = Seen::of(&site.path("data/log"));
    let (client, mut admin) = (broker.web().await, broker.inventory().await);
    let (mut tokens, mut created, mut failures) = (Vec::new(), Vec::new(), 0);
    for number in 0..200 {
        let outcome = if number % 8 == 0 {
            create(&mut admin, 0).await.map(|(id, _)| created.push(id))
        } else {
            let answer = client.exchange(by_certificate()).await;
            answer.map(|answer| tokens.push(received(&answer)))
        };
        if let Err(status) = outcome {
            failures += 1;
            let code = refusal(&status);
            let faults = ["log_unavailable", "state_stale", "store_unavailable"];
            assert!(faults.contains(&code.as_str()), "{injected:?}: {status:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
    let told = (tokens.len(), created.len());
    println!("{injected:?}: {told:?} told, {failures} failures");
    assert!(failures > 0, "nothing was hit");
    broker.kill9().await;
    assert_recorded(&site.path("data/log"), &tokens);
    let mut broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
    for id in created {
        assert_eq!(
            key(&mut broker.inventory().await, &id).await.unwrap().state,
            "active"
        );
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    seen.holds();
}
