//! What keeps the broker from starting, and that it says so; and what it takes in its stride.

use super::load::{by_certificate, exchanges, reason};
use crate::support::process::{Broker, LOOK, PATIENCE, Site};
use rustix::process::Signal;
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use tokio::time::timeout;

/// The broker does not start, with this exit code and these words.
async fn refused(site: &Site, code: i32, words: &[&str]) {
    let (ended, said) = site.fails(&[]).await;
    assert_eq!(ended, code, "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_from_a_failure() {
    let site = Site::new();
    site.configure("node = \"node-1\"", "node = \"node-1\"\ncolour = \"blue\"");
    refused(&site, 78, &["colour"]).await;
    site.configure("colour = \"blue\"\n", "");
    // A file stands where the data folder should be.
    write(site.path("data"), "").unwrap();
    refused(&site, 1, &["data"]).await;
    std::fs::remove_file(site.path("data")).unwrap();
    std::fs::create_dir(site.path("data")).unwrap();
    for mode in [0o777, 0o720, 0o702] {
        set_permissions(site.path("data"), Permissions::from_mode(mode)).unwrap();
        refused(&site, 1, &["written by others", "0700"]).await;
        assert!(!site.path("data/store.db").exists());
    }
    set_permissions(site.path("data"), Permissions::from_mode(0o700)).unwrap();
    site.start().await;
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
    refused(&site, 78, &["seal_key_file", "seal.key"]).await;
    put(&right, 0o644);
    refused(&site, 78, &["seal.key", "secret"]).await;
    put(&right, 0o640);
    refused(&site, 1, &["seal.key", "0600"]).await;
    put(&right[..31], 0o600);
    refused(&site, 1, &["seal.key", "32"]).await;
    put(&[7; 32], 0o600);
    refused(&site, 1, &["seal"]).await;
    put(&right, 0o600);
    let broker = site.start().await;
    let issued = exchanges(broker.mtls()).exchange(by_certificate()).await;
    issued.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_do_not_share_a_folder() {
    let site = Site::new();
    let first = site.start().await;
    refused(&site, 1, &["store.db", "in use"]).await;
    let issued = exchanges(first.mtls()).exchange(by_certificate()).await;
    issued.unwrap();
}

/// Has the files read again until those of `what` were refused as they are now.
async fn until_not_taken(broker: &Broker, what: &str) {
    let line = format!(r#"cambist_reloads_total{{what="{what}",result="refused"}} "#);
    let refused = async || -> u64 {
        let (_, metrics) = broker.ops("/metrics").await.unwrap();
        let count = metrics.lines().find_map(|told| told.strip_prefix(&line));
        count.map_or(0, |count| count.parse().unwrap())
    };
    let before = refused().await;
    let looking = async {
        // Two may have been under way: one that was asked for, and one by the watch of the files.
        while refused().await < before + 3 {
            broker.signal(Signal::HUP);
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_something_bad_changes_nothing() {
    let site = Site::new();
    let mut broker = site.start().await;
    let policy = site.path("policies/all.cedar");
    let good = std::fs::read_to_string(&policy).unwrap();
    let mut client = exchanges(broker.mtls());
    let all: &[&str] = &["policies", "trust", "tls"];
    for (text, bundle, bad) in [("permit (", "no PEM", all), ("", "", &all[1..])] {
        write(&policy, text).unwrap();
        write(site.path("bundle.pem"), bundle).unwrap();
        write(site.path("server.pem"), "half").unwrap();
        for what in bad {
            until_not_taken(&broker, what).await;
        }
        if !text.is_empty() {
            client.exchange(by_certificate()).await.unwrap();
        }
    }
    // An empty set of policies is a valid one: everything is denied, and readiness says so.
    assert!(broker.until_ready(false).await.contains("policies"));
    let denied = client.exchange(by_certificate()).await.unwrap_err();
    assert_eq!(reason(&denied), "policy_denied");
    write(&policy, good).unwrap();
    broker.signal(Signal::HUP);
    broker.until_ready(true).await;
    client.exchange(by_certificate()).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_nothing_that_keeps_it_from_starting_again() {
    let site = Site::new();
    for _ in 0..3 {
        let mut broker = Broker::start(&site, site.command()).await;
        broker.kill9().await;
        assert!(site.path("cambist.sock").exists());
    }
    site.start().await;
}
