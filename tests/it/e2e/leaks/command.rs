//! What administrators do about them.

use super::{URL, leaks, with_the_id_of};
use crate::support::broker::{Broker, api_key, ask, peer, refusal, spec};
use crate::support::command::cambist;
use cambist::limits;
use cambist::proto::ReportLeakRequest;
use serde_json::json;
use std::fs;

#[tokio::test]
async fn an_administrator_hands_a_key_in_by_command() {
    let broker = Broker::start().await;
    let made = broker.create_key(spec(&["shop"], &[])).await;
    let (key, id) = (made.secret, made.key.unwrap().id);
    let server = broker.socket_address();
    let variables = [("CAMBIST_SERVER", &*server)];
    let report = async |more: &[&str], stdin: &str| {
        let args = [&["leak", "report"], more].concat();
        cambist(&args, &variables, stdin.as_bytes()).await
    };
    for (stdin, code) in [
        ("", 2),
        ("hunter2", 2),
        (&*format!("key: {key}"), 2),
        (&*with_the_id_of(&key), 3),
    ] {
        let ran = report(&["-"], stdin).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(!format!("{ran:?}").contains(&key[21..]));
    }
    // Never where other users of the machine see it.
    let ran = report(&[&key], "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    fs::write(broker.path("found.key"), format!("{key}\n")).unwrap();
    let found = broker.argument("found.key");
    // Somebody else than an administrator is told what does as much.
    let ran = broker.run_as_web(&["leak", "report", &found]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("`cambist revoke --key FILE"), "{ran:?}");
    broker.anybody().await.yes(ask(api_key(&key), "shop")).await;
    // Nor in what is kept.
    let ran = report(
        &["-", "--url", &format!("https://a.example/{}", &key[4..])],
        &key,
    )
    .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("The key is revoked"), "{ran:?}");
    assert_eq!(
        broker.anybody().await.no(ask(api_key(&key), "shop")).await,
        "credential_refused"
    );
    let record = broker
        .record(|record| record["action"] == "key.leaked")
        .await;
    assert!(
        record["sub"].as_str().unwrap().starts_with("uid:"),
        "{record}"
    );
    assert_eq!(record["target"], format!("key:{id}"));
    let withheld = json!({ "url": "(withheld: it holds a credential)" });
    assert_eq!(record["change"]["leak"], withheld);
    let ran = report(&[&found, "--json"], "").await;
    let document = ran.json();
    assert_eq!(document["already_revoked"], true, "{ran:?}");
    assert_eq!(document["key"]["id"], id);
    let actions = broker.records();
    let leaked = actions
        .iter()
        .filter(|record| record["action"] == "key.leaked");
    assert_eq!(leaked.count(), 1);
    assert_eq!(leaks(&broker, "already_revoked").await, 1);
    assert_eq!(leaks(&broker, "wrong_secret").await, 1);
}

#[tokio::test]
async fn a_repeat_of_a_report_is_answered_like_the_first_and_only_administrators_report_so() {
    let broker = Broker::start().await;
    let key = broker.api_key().to_owned();
    let request = |idempotency_key: &str| ReportLeakRequest {
        secret: key.clone(),
        url: URL.to_owned(),
        reason: "found in a wiki".to_owned(),
        idempotency_key: idempotency_key.to_owned(),
    };
    let web = broker.channel(Some(&broker.web)).await;
    let mut stranger = cambist::proto::inventory_client::InventoryClient::new(web);
    let refused = stranger.report_leak(request("")).await.unwrap_err();
    assert_eq!(refusal(&refused), "not_authorised");
    broker.web().await.yes(ask(peer(), "shop")).await;
    let mut inventory = broker.inventory().await;
    for url in [
        format!("https://a.example/{key}"),
        "a".repeat(limits::LEAK_PLACE + 1),
    ] {
        let wrong = ReportLeakRequest { url, ..request("") };
        let refused = inventory.report_leak(wrong).await.unwrap_err();
        assert_eq!(refusal(&refused), "invalid_request");
    }
    for _ in 0..2 {
        let answer = inventory
            .report_leak(request("job-7"))
            .await
            .unwrap()
            .into_inner();
        assert!(
            !answer.already_revoked && !answer.revision.is_empty(),
            "{answer:?}"
        );
        assert_eq!(answer.key.unwrap().state, "revoked");
    }
    for other in ["", "job-8"] {
        let answer = inventory
            .report_leak(request(other))
            .await
            .unwrap()
            .into_inner();
        assert!(
            answer.already_revoked && answer.revision.is_empty(),
            "{answer:?}"
        );
    }
    let record = broker
        .record(|record| record["action"] == "key.leaked")
        .await;
    assert_eq!(record["change"]["reason"], "found in a wiki");
    assert_eq!(record["change"]["leak"]["url"], URL);
}
