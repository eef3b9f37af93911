//! Copies of the last checkpoint: they come, and a start is held against them.

use crate::support::broker::Site;
use crate::support::disk::copy_folder;
use crate::support::edge::until;
use crate::support::outside::Outside;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use cambist::limits;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

/// What the other party's server does, and what it has.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    note: Option<Bytes>,
    tokens: Vec<String>,
    /// Answered to everything, while it is set.
    broken: Option<StatusCode>,
    puts: usize,
}

impl Server {
    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    async fn serve(&self) -> Outside {
        let router = Router::new().route("/node-1", get(got).put(put));
        Outside::serve(router.with_state(self.clone())).await
    }

    fn size(&self) -> u64 {
        self.with(|kept| kept.note.clone())
            .map_or(0, |note| size(&note))
    }
}

async fn got(State(server): State<Server>) -> Result<Bytes, StatusCode> {
    server.with(|kept| match kept.broken {
        Some(status) => Err(status),
        None => kept.note.clone().ok_or(StatusCode::NOT_FOUND),
    })
}

async fn put(State(server): State<Server>, headers: HeaderMap, note: Bytes) -> StatusCode {
    server.with(|kept| {
        let token = headers.get(header::AUTHORIZATION).unwrap();
        kept.tokens.push(token.to_str().unwrap().to_owned());
        kept.puts += 1;
        if let Some(status) = kept.broken {
            return status;
        }
        kept.note = Some(note);
        StatusCode::NO_CONTENT
    })
}

fn size(note: &[u8]) -> u64 {
    let text = std::str::from_utf8(note).unwrap();
    text.lines().nth(1).unwrap().parse().unwrap()
}

const FILE: &str = "\n[[log.copy]]\nfile = \"other/checkpoint\"\n";

fn at(server: &Outside) -> String {
    let url = format!("{}/node-1", server.origin);
    format!("\n[[log.copy]]\nurl = \"{url}\"\nca = \"keeper.pem\"\ntoken_file = \"keeper.token\"\n")
}

/// A site with copies in these places.
fn site(copies: &str, server: Option<&Outside>) -> Arc<Site> {
    let site = Site::with(|setup| setup.config.push_str(copies));
    fs::create_dir(site.path("other")).unwrap();
    fs::write(site.path("keeper.token"), "not-for-logs\n").unwrap();
    fs::set_permissions(site.path("keeper.token"), fs::Permissions::from_mode(0o600)).unwrap();
    if let Some(server) = server {
        server.write_ca(&site.path("keeper.pem"));
    }
    site
}

/// Puts a log by, and has it grow. The broker is stopped then.
async fn grow(site: &Arc<Site>) {
    site.issue_and_stop(2).await;
    copy_folder(&site.path("data"), &site.path("put-by"));
    site.issue_and_stop(20).await;
}

fn put_back(site: &Site) {
    fs::remove_dir_all(site.path("data")).unwrap();
    copy_folder(&site.path("put-by"), &site.path("data"));
}

#[tokio::test]
async fn each_checkpoint_reaches_its_copies_and_the_last_one_at_the_stop() {
    let server = Server::default();
    let outside = server.serve().await;
    let site = site(&format!("{FILE}{}", at(&outside)), Some(&outside));
    let mut broker = site.start().await;
    let size_in_file = || fs::read(site.path("other/checkpoint")).map_or(0, |note| size(&note));
    let issued = broker.issue(3).await;
    until("both copies", async || {
        server.size() >= issued && size_in_file() >= issued
    })
    .await;
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    let copy = format!("log_copy_size{{copy=\"{}/node-1\"}}", outside.origin);
    assert!(metrics.contains(&copy), "{metrics}");
    // An outage: nothing waits for it, failures are counted, and what comes after it is the latest.
    server.with(|kept| kept.broken = Some(StatusCode::SERVICE_UNAVAILABLE));
    let during = broker.issue(3).await;
    broker.says("is not taken; tried again").await;
    until("the file meanwhile", async || size_in_file() >= during).await;
    assert!(server.size() < during);
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    let failures = format!(
        "log_copy_failures_total{{copy=\"{}/node-1\"}}",
        outside.origin
    );
    let failed = metrics
        .lines()
        .find(|line| line.contains(&failures))
        .unwrap();
    assert!(!failed.ends_with(" 0"), "{failed}");
    server.with(|kept| kept.broken = None);
    until("the copy after the outage", async || {
        server.size() >= during
    })
    .await;
    assert!(broker.terminate().await.success());
    let last = fs::read(site.path("data/log/checkpoint")).unwrap();
    assert_eq!(server.with(|kept| kept.note.clone()).unwrap(), last);
    assert_eq!(fs::read(site.path("other/checkpoint")).unwrap(), last);
    let tokens = server.with(|kept| kept.tokens.clone());
    assert!(tokens.iter().all(|token| token == "Bearer not-for-logs"));
    assert!(!site.stderr().contains("not-for-logs"));
}

/// A whole folder that was put back from an old copy is sound in itself: only who is elsewhere knows better.
#[tokio::test]
async fn a_log_behind_its_last_published_checkpoint_does_not_issue() {
    let server = Server::default();
    let outside = server.serve().await;
    for (place, copies) in [
        ("other/checkpoint", FILE.to_owned()),
        ("/node-1", at(&outside)),
    ] {
        server.with(|kept| kept.note = None);
        let site = site(&copies, Some(&outside));
        grow(&site).await;
        // Sound in itself, and believed without the copy.
        put_back(&site);
        site.refuses(&[place, "--accept-rollback", "the log ends at"])
            .await;
        // Forked: more records than the copy is of, and others.
        let config = fs::read_to_string(site.path("cambist.toml")).unwrap();
        fs::write(site.path("cambist.toml"), config.replacen(&copies, "", 1)).unwrap();
        site.issue_and_stop(60).await;
        fs::write(site.path("cambist.toml"), &config).unwrap();
        site.refuses(&["are not those of"]).await;
        // Accepted, it is another log, and the copies are its own.
        let key = fs::read_to_string(site.path("data/log/vkey")).unwrap();
        let mut accepted = site.accept_rollback().await;
        assert_ne!(fs::read_to_string(site.path("data/log/vkey")).unwrap(), key);
        assert!(accepted.terminate().await.success());
        site.start().await.terminate().await;
    }
}

#[tokio::test]
async fn what_is_in_a_copys_place_and_is_none_keeps_the_broker_from_starting() {
    let site = site(FILE, None);
    let path = site.path("other/checkpoint");
    site.start().await.terminate().await;
    let good = fs::read_to_string(&path).unwrap();
    let other = self::site(FILE, None);
    other.start().await.terminate().await;
    let foreign = fs::read_to_string(other.path("other/checkpoint")).unwrap();
    let larger = good.clone() + &" ".repeat(limits::NOTE + 1 - good.len());
    for wrong in [
        foreign,
        larger,
        String::new(),
        good.replacen("/node-1", "/node-2", 1),
    ] {
        fs::write(&path, &wrong).unwrap();
        site.refuses(&["not one of this log by its key"]).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), wrong, "left as it is");
    }
    fs::write(&path, good).unwrap();
    site.start().await.terminate().await;
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_keeps_it_from_starting_where_it_is_required() {
    let server = Server::default();
    let outside = server.serve().await;
    let file = "\n[[log.copy]]\nfile = \"away/checkpoint\"\n";
    for copies in [file.to_owned(), at(&outside)] {
        server.with(|kept| kept.broken = Some(StatusCode::BAD_GATEWAY));
        let optional = site(&copies, Some(&outside));
        let mut broker = optional.start().await;
        broker.says("nothing is held against it").await;
        broker.issue(1).await;
        // Two logs have no place in common.
        broker.kill9().await;
        let required = site(&format!("{copies}required = true\n"), Some(&outside));
        required.refuses(&["cannot be read, and is required"]).await;
        server.with(|kept| (kept.broken, kept.note) = (None, None));
        fs::create_dir(required.path("away")).unwrap();
        required.start().await.terminate().await;
        // The folder of a disk that is not mounted is there as well, and empty.
        server.with(|kept| kept.note = None);
        let _only_one_is_there = fs::remove_file(required.path("away/checkpoint"));
        required.refuses(&["one is required"]).await;
    }
}

#[tokio::test]
async fn a_log_that_is_behind_overwrites_no_copy_that_was_away_when_it_started() {
    let server = Server::default();
    let outside = server.serve().await;
    let site = site(&at(&outside), Some(&outside));
    grow(&site).await;
    let newer = server.with(|kept| kept.note.clone());
    put_back(&site);
    server.with(|kept| kept.broken = Some(StatusCode::BAD_GATEWAY));
    let mut behind = site.start().await;
    behind.says("nothing is held against it").await;
    behind.issue(1).await;
    server.with(|kept| kept.broken = None);
    // It ends, and does not start again.
    assert_eq!(behind.ended().await.code(), Some(1));
    assert_eq!(site.fails(&[]).await.0, 1);
    assert_eq!(server.with(|kept| kept.note.clone()), newer);
}

/// It holds what was given up, and says nothing against what came after.
#[tokio::test]
async fn a_copy_that_was_away_when_a_rollback_was_accepted_is_replaced_later() {
    let server = Server::default();
    let outside = server.serve().await;
    let site = site(&format!("{FILE}{}", at(&outside)), Some(&outside));
    grow(&site).await;
    let given_up = server.with(|kept| kept.note.clone()).unwrap();
    put_back(&site);
    server.with(|kept| kept.broken = Some(StatusCode::BAD_GATEWAY));
    site.accept_rollback().await.terminate().await;
    assert_eq!(server.with(|kept| kept.note.clone()).unwrap(), given_up);
    // Back at a start, or after it.
    for at_start in [true, false] {
        server.with(|kept| kept.note = Some(given_up.clone()));
        if at_start {
            server.with(|kept| kept.broken = None);
        }
        let mut broker = site.start().await;
        server.with(|kept| kept.broken = None);
        broker.says("is of a log that was given up").await;
        let last = async || server.with(|kept| kept.note.clone()).unwrap() != given_up;
        until("a note of the new log", last).await;
        assert!(broker.terminate().await.success());
        let last = fs::read(site.path("data/log/checkpoint")).unwrap();
        assert_eq!(server.with(|kept| kept.note.clone()).unwrap(), last);
        server.with(|kept| kept.broken = Some(StatusCode::BAD_GATEWAY));
    }
    // Another log's is no less foreign than before.
    let other = self::site(FILE, None);
    other.start().await.terminate().await;
    let foreign = fs::read(other.path("other/checkpoint")).unwrap();
    server.with(|kept| (kept.broken, kept.note) = (None, Some(foreign.into())));
    site.refuses(&["not one of this log by its key"]).await;
}

/// A key's name says nothing: who can give it one has the copy overwritten that tells on them.
#[tokio::test]
async fn a_copy_of_a_log_that_was_not_given_up_here_is_not_replaced() {
    let site = site(FILE, None);
    let other = self::site(FILE, None);
    fs::write(other.path("seal.key"), [9; 32]).unwrap();
    for site in [&site, &other] {
        site.start().await.terminate().await;
    }
    let (copy, log) = (site.path("other/checkpoint"), site.path("data/log"));
    let foreign = fs::read(other.path("other/checkpoint")).unwrap();
    fs::write(&copy, &foreign).unwrap();
    for name in ["vkey", "key"] {
        let from = other.path("data/log").join(name);
        fs::copy(from, log.join(format!("{name}.old"))).unwrap();
        site.refuses(&["not one of this log by its key"]).await;
        assert_eq!(fs::read(&copy).unwrap(), foreign);
    }
}
