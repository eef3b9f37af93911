//! What keeps the broker from starting, and that it says so; and what it takes in its stride.

use super::load::by_certificate;
use crate::support::broker::{Broker, LOOK, Site};
use crate::support::edge::{Client, connect, until, within};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{File, Permissions, set_permissions, write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_from_a_failure() {
    let site = Site::with(|setup| setup.config.insert_str(0, "colour = \"blue\"\n"));
    site.refuses_with(78, &["colour"]).await;
    let site = Site::new();
    // A file stands where the data folder should be.
    write(site.path("data"), "").unwrap();
    site.refuses(&["data"]).await;
    std::fs::remove_file(site.path("data")).unwrap();
    std::fs::create_dir(site.path("data")).unwrap();
    for mode in [0o777, 0o720, 0o702] {
        set_permissions(site.path("data"), Permissions::from_mode(mode)).unwrap();
        site.refuses(&["written by others", "0700"]).await;
        assert!(!site.path("data/store.db").exists());
    }
    set_permissions(site.path("data"), Permissions::from_mode(0o700)).unwrap();
    site.start().await;
}

/// Standard error may be a file on the disk that is full.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_said_stops_nothing() {
    let site = Site::new();
    let mut command = site.command();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    command.stdout(full()).stderr(full());
    let mut broker = site.run(command).await;
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_key_that_is_not_right_is_refused_and_harms_nothing() {
    let site = Site::new();
    let path = site.path("seal.key");
    let right = std::fs::read(&path).unwrap();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let put = |bytes: &[u8], mode| {
        write(&path, bytes).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    std::fs::remove_file(&path).unwrap();
    site.refuses_with(78, &["seal_key_file", "seal.key"]).await;
    put(&right, 0o644);
    site.refuses_with(78, &["seal.key", "secret"]).await;
    put(&right, 0o640);
    site.refuses_with(78, &["seal.key", "0600"]).await;
    put(&right[..31], 0o600);
    site.refuses_with(78, &["seal.key", "32"]).await;
    put(&[7; 32], 0o600);
    site.refuses(&["sealed under the key-encryption key"]).await;
    put(&right, 0o600);
    let broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
}

/// What `check-config` would have said, the start says, and does not come back to be told again.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_wrong_content_are_a_wrong_configuration() {
    let site = Site::new();
    for (name, key) in [
        ("server.pem", "tls.certificate"),
        ("example.org.pem", "trust_domain[0].bundle"),
        ("policies/tests.cedar", "policy.files"),
    ] {
        let right = std::fs::read(site.path(name)).unwrap();
        write(site.path(name), "permit (").unwrap();
        site.refuses_with(78, &[key]).await;
        write(site.path(name), right).unwrap();
    }
    site.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_do_not_share_a_folder() {
    let site = Site::new();
    let first = site.start().await;
    site.refuses(&["store.db", "in use"]).await;
    first.web().await.yes(by_certificate()).await;
}

/// Has the files read again until those of `what` were refused as they are now.
async fn until_not_taken(broker: &Broker, what: &str) {
    let line = format!(r#"cambist_reloads_total{{what="{what}",result="refused"}} "#);
    let refused = async || -> u64 {
        let (_, metrics) = broker.operations("/metrics").await.unwrap();
        let count = metrics.lines().find_map(|told| told.strip_prefix(&line));
        count.map_or(0, |count| count.parse().unwrap())
    };
    let before = refused().await;
    // Two may have been under way: one that was asked for, and one by the watch of the files.
    until("the files to be refused", async || {
        broker.signal(Signal::HUP);
        refused().await >= before + 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_something_bad_changes_nothing() {
    let site = Site::new();
    let mut broker = site.start().await;
    let policy = site.path("policies/tests.cedar");
    let good = std::fs::read_to_string(&policy).unwrap();
    let client = broker.web().await;
    let all: &[&str] = &["policies", "trust", "tls"];
    for (text, bundle, bad) in [("permit (", "no PEM", all), ("", "", &all[1..])] {
        write(&policy, text).unwrap();
        write(site.path("example.org.pem"), bundle).unwrap();
        write(site.path("server.pem"), "half").unwrap();
        for what in bad {
            until_not_taken(&broker, what).await;
        }
        if !text.is_empty() {
            client.yes(by_certificate()).await;
        }
    }
    // An empty set of policies is a valid one: everything is denied, and readiness says so.
    assert!(broker.until_ready(false).await.contains("policies"));
    assert_eq!(client.no(by_certificate()).await, "policy_denied");
    write(&policy, good).unwrap();
    broker.signal(Signal::HUP);
    broker.until_ready(true).await;
    client.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_nothing_that_keeps_it_from_starting_again() {
    let site = Site::new();
    for _ in 0..3 {
        let mut broker = site.start().await;
        broker.kill9().await;
        assert!(site.socket.exists());
    }
    site.start().await;
}

/// The TCP address in the line of the site's log that says `message`, once it is there.
async fn told(site: &Site, message: &str) -> SocketAddr {
    let looking = async {
        loop {
            let said = site.stderr();
            let found = said.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let fields = &line["fields"];
                let address = fields["address"].as_str()?.parse().ok()?;
                (fields["message"] == message).then_some(address)
            });
            match found {
                Some(address) => return address,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    };
    within(message, looking).await
}

/// Ports that the system picks are in the log; and the issuer is a name, which need not be where the broker listens.
#[tokio::test(flavor = "multi_thread")]
async fn where_it_listens_is_told_and_is_not_who_it_is() {
    let site = Site::with(|setup| {
        let lines = setup
            .config
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some(("issuer", _)) => "issuer = \"https://cambist.example.org\"",
                Some(("address", tcp)) if tcp.starts_with("\"127.0.0.1:") => {
                    "address = \"127.0.0.1:0\""
                }
                _ => line,
            });
        setup.config = lines.collect::<Vec<_>>().join("\n");
    });
    let _process = site.command().spawn().unwrap();
    let ops = TcpStream::connect(told(&site, "operations listening").await).await;
    let mut ops = Client::h1(ops.unwrap()).await.unwrap();
    let (status, _, _) = ops.get("/healthz").await.unwrap();
    assert_eq!(status, http::StatusCode::OK);
    let address = told(&site, "listening").await;
    let stream = connect(address, site.tls_config("http/1.1")).await.unwrap();
    let mut client = Client::h1(stream).await.unwrap();
    let answer = client.get("/.well-known/openid-configuration").await;
    let (_, _, metadata) = answer.unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["issuer"], "https://cambist.example.org");
}
