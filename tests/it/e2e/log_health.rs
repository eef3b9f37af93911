//! Whoever looks after a broker reads in its own log what became of the audit log, and what to do.

use crate::support::broker::{Broker, segments};
use crate::support::edge::until;
use std::fs::{self, OpenOptions};
use std::io::Write as _;

const FAILED: &str = "no token is issued";
const WRITTEN: &str = "the log is written again";

#[tokio::test]
async fn a_log_that_fails_and_one_that_is_back_are_said_once_each() {
    let mut broker = Broker::start().await;
    broker.issue(1).await;
    assert!(!broker.stderr().contains(FAILED));
    // Another one follows at once.
    let first = segments(&broker.path("data/log")).remove(0);
    let mut file = OpenOptions::new().append(true).open(first).unwrap();
    file.write_all(b"{}\n").unwrap();
    broker
        .says("the segment was changed by somebody else")
        .await;
    broker.says(WRITTEN).await;
    let times = |what: &str| broker.stderr().matches(what).count();
    assert_eq!((times(FAILED), times(WRITTEN)), (1, 1));
    // As long as this one is away there is none.
    let second = segments(&broker.path("data/log")).pop().unwrap();
    let away = second.with_extension("old");
    fs::rename(&second, &away).unwrap();
    broker.says("move that very file back").await;
    broker.until_ready(false).await;
    fs::rename(&away, &second).unwrap();
    broker.until_ready(true).await;
    until("another return", async || times(WRITTEN) > 1).await;
    // Why the segment was closed, and why there is no other.
    assert_eq!((times(FAILED), times(WRITTEN)), (3, 2));
    let said = broker.stderr();
    assert!(broker.terminate().await.success());
    let rest = broker.stderr().split_off(said.len());
    assert!(!rest.contains(FAILED), "{rest}");
}
