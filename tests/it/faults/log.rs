//! A log that cannot be written, under a broker that runs: nothing is issued, everything else goes on, and it comes
//! back by itself.

use super::load::{Received, by_certificate, by_key, create, key, received, revoke};
use crate::support::broker::{Broker, Caller, LOOK, Site, records, refusal, segments};
use crate::support::disk::fill;
use crate::support::edge::within;
use crate::support::long;
use cambist::proto::RevokeRequest;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use http::StatusCode;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A caller that cannot be served is told so, and not kept waiting for a disk.
const QUICKLY: Duration = Duration::from_secs(5);

/// What is done to a segment.
type Fault<'a> = &'a dyn Fn(&Path);

pub(super) fn assert_recorded(folder: &Path, tokens: &[Received]) {
    let records = records(folder);
    for token in tokens {
        let found = records.iter().find(|record| record["jti"] == token.jti);
        let hash = found.map(|record| record["token_sha256"].as_str().unwrap());
        assert_eq!(hash, Some(token.sha256.as_str()), "{token:?}");
    }
}

/// Asks until the broker issues again; nothing but the log may be in the way.
async fn until_issued(client: &Caller, secret: &str) -> Received {
    let asking = async {
        loop {
            match client.exchange(by_key(secret)).await {
                Ok(answer) => return received(&answer),
                Err(status) => assert_eq!(refusal(&status), "log_unavailable", "{status:?}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    within("a token", asking).await
}

/// Records that were acknowledged and are gone are not gone on from: nothing is issued, while the broker runs and when it
/// starts, until they are put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_taken_away_stops_issuance_until_it_is_put_back() {
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let truncate = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(0).unwrap();
    };
    let cut = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let last = text.trim_end().rfind('\n').unwrap();
        file.set_len(u64::try_from(last).unwrap() + 1).unwrap();
    };
    let faults: [(&str, Fault<'_>); 3] = [
        ("removed", &remove),
        ("truncated", &truncate),
        ("cut", &cut),
    ];
    for (name, fault) in faults {
        let site = Site::new();
        let mut broker = site.start().await;
        let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
        let client = broker.anybody().await;
        let token = until_issued(&client, &secret).await;
        // Until the last record is under a checkpoint, nothing but the file itself says that it was there.
        published(&site).await;
        let last = segments(&site.path("data/log")).pop().unwrap();
        let bytes = fs::read(&last).unwrap();
        fault(&last);
        for _ in 0..5 {
            let refused = timeout(QUICKLY, client.exchange(by_key(&secret))).await;
            let refused = refused.unwrap().unwrap_err();
            assert_eq!(refusal(&refused), "log_unavailable", "{name}");
            assert_eq!(refused.code(), tonic::Code::Unavailable);
        }
        broker.until_ready(false).await;
        broker.kill9().await;
        let (code, said) = site.fails(&[]).await;
        assert_eq!(code, 1, "{name}: {said}");
        fs::write(&last, bytes).unwrap();
        let broker = site.start().await;
        until_issued(&broker.anybody().await, &secret).await;
        assert_recorded(&site.path("data/log"), &[token]);
    }
}

/// Waits until the last checkpoint is of all that is in the log.
async fn published(site: &Site) {
    let records = site.records().len().try_into().unwrap();
    site.published(records).await;
}

/// What took nothing away closes the segment, and the log goes on in another.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_somebody_wrote_to_or_put_back_takes_no_token_with_it() {
    let site = Site::new();
    let folder = site.path("data/log");
    let mut broker = site.start().await;
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let client = broker.anybody().await;
    let append = |path: &Path| {
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"{}\n").unwrap();
    };
    let move_away = |path: &Path| fs::rename(path, path.with_extension("away")).unwrap();
    let put_back = |path: &Path| fs::rename(path.with_extension("away"), path).unwrap();
    let faults: [(&str, Fault<'_>, Fault<'_>); 2] = [
        ("written to", &append, &|_| ()),
        ("moved", &move_away, &put_back),
    ];
    for (name, fault, mend) in faults {
        until_issued(&client, &secret).await;
        let last = segments(&folder).pop().unwrap();
        fault(&last);
        let refused = timeout(QUICKLY, client.exchange(by_key(&secret))).await;
        let refused = refused.unwrap().unwrap_err();
        assert_eq!(refusal(&refused), "log_unavailable", "{name}");
        mend(&last);
        let token = until_issued(&client, &secret).await;
        assert_recorded(&folder, &[token]);
        let text = fs::read_to_string(segments(&folder).last().unwrap()).unwrap();
        let mut lines = text.lines().filter(|line| line.contains("\"seq\":"));
        let first: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(first["kind"], "gap", "{name}");
    }
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    site.start().await;
    site.verify_log(&mut Vec::new());
}

/// A small file system over the data folder, in a mount namespace that ends with this process.
const MOUNT: &str =
    "mount -t tmpfs -o size=48m,mode=0700 tmpfs \"$DATA\" && echo mounted && exec cat";

/// Holds the small file system; brokers are started within it.
struct SmallDisk(Child);

impl SmallDisk {
    fn new(data: &Path) -> Self {
        fs::create_dir(data).unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", MOUNT])
            .env("DATA", data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().unwrap());
        output.read_line(&mut told).unwrap();
        assert_eq!(told, "mounted\n");
        Self(child)
    }

    /// A path as it looks from within.
    fn view(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
        // A link on the way would lead out again.
        let path = path.canonicalize().unwrap();
        root.join(path.strip_prefix("/").unwrap())
    }

    async fn start(&self, site: &Arc<Site>) -> Broker {
        let target = format!("--target={}", self.0.id());
        let wrapper = [
            "nsenter",
            &target,
            "--user",
            "--mount",
            "--preserve-credentials",
        ];
        site.run_unready(site.wrapped(&wrapper)).await
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its end is the end of its input; whatever else happens, the namespace goes with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_issuance_and_nothing_else() {
    let site = Site::new();
    let disk = SmallDisk::new(&site.path("data"));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
    let data = disk.view(&site.path("data"));
    let log = data.join("log");
    let mut admin = broker.inventory().await;
    let victim = create(&mut admin, 0).await.unwrap();
    let later = create(&mut admin, 0).await.unwrap();
    let other = create(&mut admin, 0).await.unwrap();
    let client = broker.anybody().await;
    let mut tokens = vec![until_issued(&client, &victim.1).await];

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
    tokens.push(until_issued(&client, &other.1).await);
    assert_eq!(client.no(by_key(&victim.1)).await, "credential_refused");
    assert_recorded(&log, &tokens);
    let starts = |line: &&Value| line["kind"] == "start";
    assert_eq!(records(&log).iter().filter(starts).count(), 2);
    assert_eq!(broker.terminate().await.code(), Some(0));
}

/// What is stored of each configured audience at the start comes out of the reserve: who cannot start cannot revoke.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_nobody_from_a_start_with_another_audience() {
    let site = Site::new();
    let disk = SmallDisk::new(&site.path("data"));
    let mut broker = disk.start(&site).await;
    broker.until_ready(true).await;
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
    let broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
}

/// Errors that only a disk can make, injected into the system calls of the real process.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_now_and_then_loses_nothing_that_was_told() {
    // One of the log's, one of the store's.
    let always = [
        vec!["fdatasync:error=EIO:when=12+7"],
        vec!["pwrite64:error=ENOSPC:when=40+11"],
    ];
    let rest = [
        vec!["fdatasync:error=ENOSPC:when=12+7"],
        vec!["write:error=EIO:when=20"],
        vec!["write:error=ENOSPC:when=20"],
        // The segment that follows a failed one fails too, at each of its steps.
        vec!["fdatasync:error=EIO:when=12+7", "fsync:error=EIO:when=10+3"],
        vec!["fdatasync:error=EIO:when=12+7", "rename:error=EIO:when=2+2"],
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
    let broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
    for id in created {
        assert_eq!(
            key(&mut broker.inventory().await, &id).await.unwrap().state,
            "active"
        );
    }
}
