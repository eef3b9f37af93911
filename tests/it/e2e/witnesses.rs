//! Witnesses cosign what they have seen to be grown, and hold nothing up.

use crate::support::broker::{Broker, LOOK, Site};
use crate::support::disk::copy_folder;
use crate::support::edge::{until, within};
use crate::support::outside::Outside;
use crate::support::witness::{Manner, Witness};
use axum::http::StatusCode;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use std::sync::Arc;

const READER: &str = "\n[[log.reader]]\nspiffe_id = \"spiffe://example.org/siem\"\n";

/// What has a witness cosign.
fn block(at: usize, witness: &Witness, outside: &Outside) -> String {
    let (url, key) = (&outside.origin, witness.vkey());
    format!(
        "\n[[log.witness]]\nurl = \"{url}/submit\"\nca = \"witness-{at}.pem\"\nkey = \"{key}\"\n"
    )
}

/// A site whose log these witnesses are to cosign.
fn site(witnesses: &[(&Witness, &Outside)]) -> Arc<Site> {
    let all = witnesses.iter().enumerate();
    let blocks = all.map(|(at, (witness, outside))| block(at, witness, outside));
    let config: String = std::iter::once(READER.to_owned()).chain(blocks).collect();
    let site = Site::with(|setup| setup.config.push_str(&config));
    for (at, (_, outside)) in witnesses.iter().enumerate() {
        outside.write_ca(&site.path(&format!("witness-{at}.pem")));
    }
    site
}

fn put_by(site: &Site) {
    let _there_may_be_none = fs::remove_dir_all(site.path("put-by"));
    copy_folder(&site.path("data"), &site.path("put-by"));
}

fn put_back(site: &Site) {
    fs::remove_dir_all(site.path("data")).unwrap();
    copy_folder(&site.path("put-by"), &site.path("data"));
}

/// Puts a log back as it was before a witness had cosigned more of it.
async fn roll_back(site: &Arc<Site>, witness: &Witness) {
    let mut broker = site.start().await;
    witness.meets(&vkey(site));
    broker.issue(2).await;
    broker.terminate().await;
    put_by(site);
    broker.restart().await;
    let issued = broker.issue(40).await;
    until("its cosignature", async || witness.size() >= issued).await;
    broker.terminate().await;
    put_back(site);
}

fn vkey(site: &Site) -> String {
    fs::read_to_string(site.path("data/log/vkey")).unwrap()
}

/// Whose signatures a note carries, by crates that are not ours; the log's must be the first.
fn signers(site: &Site, note: &[u8], witnesses: &[&Witness]) -> (u64, Vec<String>) {
    let log = StandardVerifier::new(vkey(site).trim_end()).unwrap();
    let mut known = vec![Box::new(log) as Box<dyn signed_note::Verifier>];
    known.extend(witnesses.iter().map(|witness| witness.verifier()));
    let note = Note::from_bytes(note).unwrap();
    let (verified, unknown) = note.verify(&VerifierList::new(known)).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(verified[0].name(), checkpoint.origin());
    let names = verified[1..].iter().map(|one| one.name().to_owned());
    (checkpoint.size(), names.collect())
}

fn published(site: &Site, witnesses: &[&Witness]) -> (u64, Vec<String>) {
    let note = fs::read(site.path("data/log/checkpoint")).unwrap();
    signers(site, &note, witnesses)
}

#[tokio::test]
async fn each_witness_signs_under_the_checkpoint_and_goes_on_after_a_restart() {
    let (one, two) = (
        Witness::new("one.example.net/w"),
        Witness::new("two.example.net/w"),
    );
    let (at_one, at_two) = (one.serve().await, two.serve().await);
    let site = site(&[(&one, &at_one), (&two, &at_two)]);
    let mut broker = site.start().await;
    // A log that a witness does not know yet (404) is asked about again.
    broker.says("nothing is held against it").await;
    for witness in [&one, &two] {
        witness.meets(&vkey(&site));
    }
    let both = [&one, &two];
    for count in [3, 300, 1] {
        let issued = broker.issue(count).await;
        until("both cosignatures", async || {
            let (size, mut names) = published(&site, &both);
            names.sort();
            size >= issued && names == ["one.example.net/w", "two.example.net/w"]
        })
        .await;
    }
    // Readers over HTTPS see them, too.
    let siem = broker.svid("spiffe://example.org/siem");
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(site.tls_config_of(Some(&siem)))
        .no_proxy()
        .build()
        .unwrap();
    let seen = async {
        loop {
            let answer = client.get(format!("{}/log/checkpoint", site.issuer)).send();
            let note = answer.await.unwrap().bytes().await.unwrap();
            if signers(&site, &note, &both).1.len() == 2 {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    within("both over HTTPS", seen).await;
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    assert!(
        metrics.contains("log_witness_size{witness=\"one.example.net/w\"}"),
        "{metrics}"
    );
    // Each checkpoint was asked about once, from where the witness stood; never was a proof wrong.
    let asked = one.asked();
    let good: Vec<_> = asked
        .iter()
        .filter(|asked| asked.2 == StatusCode::OK)
        .collect();
    assert!(
        good.windows(2)
            .all(|pair| pair[0].1 == pair[1].0 && pair[0].1 < pair[1].1),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .all(|asked| [StatusCode::OK, StatusCode::NOT_FOUND].contains(&asked.2))
    );
    // After a restart nobody here knows where it stands: it says so (409), and goes on.
    assert!(broker.terminate().await.success());
    let stood = one.size();
    broker.restart().await;
    let issued = broker.issue(2).await;
    until("cosignatures again", async || {
        one.size() >= issued && published(&site, &both).1.len() == 2
    })
    .await;
    let asked = one.asked();
    let conflict = asked
        .iter()
        .position(|asked| asked.2 == StatusCode::CONFLICT)
        .unwrap();
    assert_eq!(asked[conflict].0, 0);
    assert_eq!(
        (asked[conflict + 1].0, asked[conflict + 1].2),
        (stood, StatusCode::OK)
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked.2 != StatusCode::UNPROCESSABLE_ENTITY),
        "{asked:?}"
    );
    site.verify_log(&mut Vec::new());
}

#[tokio::test]
async fn a_witness_that_refuses_lies_or_hangs_holds_nothing_up() {
    let (good, bad) = (
        Witness::new("good.example.net"),
        Witness::new("bad.example.net"),
    );
    let (at_good, at_bad) = (good.serve().await, bad.serve().await);
    let site = site(&[(&good, &at_good), (&bad, &at_bad)]);
    bad.is(Manner::Hangs);
    let mut broker = site.start().await;
    broker.says("nothing is held against it").await;
    for witness in [&good, &bad] {
        witness.meets(&vkey(&site));
    }
    let both = [&good, &bad];
    // The first one hangs until the call is given up; the others are answers.
    let manners = [
        Manner::Hangs,
        Manner::Lies,
        Manner::Stranger,
        Manner::Babbles,
        Manner::Refuses(StatusCode::FORBIDDEN),
        Manner::Refuses(StatusCode::UNPROCESSABLE_ENTITY),
        Manner::Refuses(StatusCode::TEMPORARY_REDIRECT),
        // It refuses what has grown from its own cosignature: that is its fault.
        Manner::Disbelieves,
    ];
    for manner in manners {
        bad.is(manner);
        let failed = failures(&broker).await;
        let issued = broker.issue(2).await;
        until("the good one", async || {
            let (size, names) = published(&site, &both);
            size >= issued && names == ["good.example.net"]
        })
        .await;
        until("a failure", async || failures(&broker).await != failed).await;
        assert_eq!(
            published(&site, &both).1,
            ["good.example.net"],
            "{manner:?}"
        );
        // Back to its senses: where it stands is found out, and the pause is short again.
        bad.is(Manner::Honest);
        until("both", async || published(&site, &both).1.len() == 2).await;
    }
    assert!(broker.terminate().await.success());
}

async fn failures(broker: &Broker) -> String {
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    let counter = "log_witness_failures_total{witness=\"bad.example.net\"}";
    let line = metrics.lines().find(|line| line.contains(counter));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_log_that_a_witness_knows_to_be_longer_or_another_does_not_issue() {
    let witness = Witness::new("w.example.net");
    let outside = witness.serve().await;
    let site = site(&[(&witness, &outside)]);
    // Sound in itself, and believed without the witness.
    roll_back(&site, &witness).await;
    let missing = [
        "the witness w.example.net",
        "records that were published are missing here",
        "--accept-rollback",
    ];
    site.refuses(&missing).await;
    // Forked: more records than the witness has seen, and others.
    let config = fs::read_to_string(site.path("cambist.toml")).unwrap();
    let unheld = config.replacen(&block(0, &witness, &outside), "", 1);
    assert_ne!(unheld, config);
    fs::write(site.path("cambist.toml"), unheld).unwrap();
    site.issue_and_stop(60).await;
    fs::write(site.path("cambist.toml"), &config).unwrap();
    site.refuses(&[
        "the witness w.example.net",
        "are not those",
        "--accept-rollback",
    ])
    .await;
    let last = witness.asked().last().copied().unwrap();
    assert_eq!(
        (last.0, last.2),
        (witness.size(), StatusCode::UNPROCESSABLE_ENTITY)
    );
    // Without its tree, it is the same log.
    fs::remove_file(site.path("data/log/checkpoint")).unwrap();
    fs::remove_dir_all(site.path("data/log/tile")).unwrap();
    site.refuses(&["are not those", "--accept-rollback"]).await;
    // Accepted, it is another log, of which the witness knows nothing (403).
    let key = vkey(&site);
    let mut accepted = site.accept_rollback().await;
    assert_ne!(vkey(&site), key);
    accepted.terminate().await;
    site.start().await.terminate().await;
    let last = witness.asked().last().copied().unwrap();
    assert_eq!(last.2, StatusCode::FORBIDDEN);
    // Told the new key alone, it still speaks of the old log, at a start and later.
    witness.trusts(&vkey(&site));
    let mut broker = site.start().await;
    broker
        .says("it has cosigned nothing since a rollback was accepted")
        .await;
    broker.issue(1).await;
    let asked = witness.asked().len();
    until("asked later", async || witness.asked().len() > asked).await;
    broker.restart().await;
    assert!(published(&site, &[&witness]).1.is_empty());
    // Once it has cosigned the new log, it is believed again.
    witness.meets(&vkey(&site));
    until("its cosignature of the new log", async || {
        !published(&site, &[&witness]).1.is_empty()
    })
    .await;
    // Kept before it serves, if it was not by then.
    broker.restart().await;
    broker.terminate().await;
    put_by(&site);
    broker.restart().await;
    let issued = broker.issue(3).await;
    until("its cosignature", async || witness.size() >= issued).await;
    broker.terminate().await;
    put_back(&site);
    // Which of them are believed does not go by what is in the folder.
    fs::write(site.path("data/log/cosigned-by"), "").unwrap();
    site.refuses(&missing).await;
}

#[tokio::test]
async fn a_witness_that_was_away_when_it_started_ends_a_log_that_is_behind() {
    let witness = Witness::new("w.example.net");
    let outside = witness.serve().await;
    let site = site(&[(&witness, &outside)]);
    roll_back(&site, &witness).await;
    witness.is(Manner::Refuses(StatusCode::SERVICE_UNAVAILABLE));
    let mut behind = site.start().await;
    behind.says("nothing is held against it").await;
    behind.issue(1).await;
    witness.is(Manner::Honest);
    // It ends, and does not start again.
    assert_eq!(behind.ended().await.code(), Some(1));
    site.refuses(&[
        "records that were published are missing here",
        "--accept-rollback",
    ])
    .await;
}

#[tokio::test]
async fn where_a_witness_says_that_it_stands_is_held_against_what_there_is() {
    let witness = Witness::new("w.example.net");
    let outside = witness.serve().await;
    let site = site(&[(&witness, &outside)]);
    site.start().await.terminate().await;
    let size = published(&site, &[]).0;
    // One that it never saw here: as large, and another; then, larger by one record.
    witness.is(Manner::Claims(size));
    site.refuses(&["are not those", "--accept-rollback"]).await;
    witness.is(Manner::Claims(size + 1));
    site.refuses(&[
        "records that were published are missing here",
        "--accept-rollback",
    ])
    .await;
    // Smaller, and again smaller when it gets the proof from there: no answer at all.
    witness.is(Manner::Claims(size - 1));
    let mut broker = site.start().await;
    broker.says("does not say where it stands").await;
    // What it has cosigned and denies is its own fault.
    witness.is(Manner::Honest);
    witness.meets(&vkey(&site));
    until("its cosignature", async || {
        published(&site, &[&witness]).1.len() == 1
    })
    .await;
    broker.kill9().await;
    let size = published(&site, &[&witness]).0;
    witness.is(Manner::Claims(size));
    let mut broker = site.start().await;
    broker.says("does not believe its own cosignature").await;
    broker.terminate().await;
    // A tree that was moved away is made again, and is the one that it saw.
    witness.is(Manner::Honest);
    fs::remove_file(site.path("data/log/checkpoint")).unwrap();
    fs::remove_dir_all(site.path("data/log/tile")).unwrap();
    let before = witness.asked().len();
    let broker = site.start().await;
    broker.says("the log's checkpoints are taken").await;
    let asked = witness.asked().split_off(before);
    let answers: Vec<_> = asked.iter().map(|asked| asked.2).take(3).collect();
    assert_eq!(
        answers,
        [StatusCode::CONFLICT, StatusCode::CONFLICT, StatusCode::OK]
    );
}
