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

/// A site whose log these witnesses are to cosign.
fn site(witnesses: &[(&Witness, &Outside)]) -> Arc<Site> {
    let mut config = READER.to_owned();
    for (at, (witness, outside)) in witnesses.iter().enumerate() {
        let (url, key) = (&outside.origin, witness.vkey());
        config += &format!(
            "\n[[log.witness]]\nurl = \"{url}/submit\"\nca = \"witness-{at}.pem\"\nkey = \"{key}\"\n"
        );
    }
    let site = Site::with(|setup| setup.config.push_str(&config));
    for (at, (_, outside)) in witnesses.iter().enumerate() {
        outside.write_ca(&site.path(&format!("witness-{at}.pem")));
    }
    site
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
    broker.says("is not taken; tried again").await;
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
    let broker = site.start().await;
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
}

async fn failures(broker: &Broker) -> String {
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    let counter = "log_witness_failures_total{witness=\"bad.example.net\"}";
    let line = metrics.lines().find(|line| line.contains(counter));
    line.unwrap().to_owned()
}

/// It remembers what this host has forgotten, says so, and does not sign.
#[tokio::test]
async fn a_witness_that_has_seen_more_is_heard() {
    let witness = Witness::new("w.example.net");
    let outside = witness.serve().await;
    let site = site(&[(&witness, &outside)]);
    let mut broker = site.start().await;
    witness.meets(&vkey(&site));
    broker.issue(2).await;
    broker.terminate().await;
    copy_folder(&site.path("data"), &site.path("put-by"));
    broker.restart().await;
    let issued = broker.issue(40).await;
    until("its cosignature", async || witness.size() >= issued).await;
    broker.terminate().await;
    fs::remove_dir_all(site.path("data")).unwrap();
    copy_folder(&site.path("put-by"), &site.path("data"));
    broker.restart().await;
    broker
        .says("records that were published are missing here")
        .await;
    assert!(published(&site, &[&witness]).1.is_empty());
    // Once it is as large again, it is another one all the same.
    broker.issue(60).await;
    until("a refusal of the fork", async || {
        let last = witness.asked().last().copied();
        last.is_some_and(|last| last.2 == StatusCode::UNPROCESSABLE_ENTITY)
    })
    .await;
    assert!(published(&site, &[&witness]).1.is_empty());
}
