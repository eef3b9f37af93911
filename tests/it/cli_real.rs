//! The command line against the real broker, over its Unix socket and over TLS.

use crate::support::broker::{Broker, Site};
use crate::support::command::Ran;

mod audit;
mod exchange;
mod keys;
mod restore;
mod revocation;
mod run;

/// A key for the shop in a file, made with `more` said of it. Returns its id.
async fn create_key(broker: &Broker, file: &str, more: &[&str]) -> String {
    let out = broker.argument(file);
    let args = [
        "key",
        "create",
        "--owner",
        "team-shop",
        "--purpose",
        "Tests",
        "--audience",
        "shop",
        "--scope",
        "orders:read",
        "--scope",
        "orders:write",
        "--expires",
        "1d",
        "--json",
        "--out",
        &out,
    ];
    let ran = broker.run_as_admin(&[&args[..], more].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.json()["key"]["id"].as_str().unwrap().to_owned()
}

/// Exchanges the key in a file, with JSON for an answer.
async fn exchange(broker: &Broker, file: &str, more: &[&str]) -> Ran {
    let key = broker.argument(file);
    let args = [
        "exchange",
        "--json",
        "--audience",
        "shop",
        "--key-file",
        &key,
    ];
    broker.run_as_anybody(&[&args[..], more].concat()).await
}

/// A refusal: exit code 3, nothing on standard output, and this code.
#[track_caller]
fn assert_refused(ran: &Ran, code: &str) {
    let told = ran.error();
    assert_eq!(
        (ran.code, told["code"].as_str()),
        (Some(3), Some(code)),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "");
    assert_ne!(told["help"].as_str().unwrap_or_default(), "", "{ran:?}");
}

#[tokio::test]
async fn audiences_are_registered_and_asked_for() {
    let broker = Site::new().start().await;
    let put = [
        "audience",
        "put",
        "mail",
        "--owner",
        "team-mail",
        "--scope",
        "send",
        "--max-lifetime",
        "2m",
        "--json",
    ];
    let ran = broker.run_as_admin(&put).await;
    assert_eq!(
        ran.json()["audience"]["max_lifetime_seconds"],
        120,
        "{ran:?}"
    );
    assert_refused(&broker.run_as_admin(&put).await, "conflict");
    let ran = broker
        .run_as_admin(&[&put[..], &["--replace"]].concat())
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = broker.run_as_admin(&["audience", "list", "--json"]).await;
    let names: Vec<_> = ran.json()["audiences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["name"].clone())
        .collect();
    assert_eq!(names, ["billing", "ledger", "mail", "shop", "vault"]);

    create_key(&broker, "key", &["--audience", "mail", "--scope", "send"]).await;
    let ran = exchange(&broker, "key", &["--audience", "mail"]).await;
    assert_eq!(ran.code, Some(2), "one token is for one audience: {ran:?}");
    let key = broker.argument("key");
    let mail = [
        "exchange",
        "--json",
        "--audience",
        "mail",
        "--key-file",
        &key,
    ];
    assert_eq!(broker.run_as_anybody(&mail).await.json()["expires_in"], 120);

    // What configuration says is changed there.
    assert_refused(
        &broker
            .run_as_admin(&["audience", "delete", "shop", "--json"])
            .await,
        "conflict",
    );
    // As one does who did not hear the first answer.
    let delete = ["audience", "delete", "mail", "--idempotency-key", "gone"];
    for _ in 0..2 {
        let ran = broker.run_as_admin(&delete).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_refused(
        &broker
            .run_as_admin(&["audience", "show", "mail", "--json"])
            .await,
        "not_found",
    );
    assert_refused(&broker.run_as_anybody(&mail).await, "audience_unknown");
}

#[tokio::test]
async fn policies_are_checked_alike_with_and_without_a_broker() {
    let broker = Site::new().start().await;
    let (good, bad) = (broker.argument("good.cedar"), broker.argument("bad.cedar"));
    std::fs::write(
        &good,
        r#"@id("freeze") forbid(principal is ApiKey, action, resource == Audience::"shop");"#,
    )
    .unwrap();
    std::fs::write(
        &bad,
        "permit(principal, action, resource)\nwhen { principal.nothing == 1 };",
    )
    .unwrap();
    for more in [&["--json"][..], &[]] {
        let check = [&["policy", "check", &good, &bad], more].concat();
        let there = broker.run_as_admin(&check).await;
        let here = crate::support::command::cambist(&check, &[], b"").await;
        assert_eq!((here.code, &here.stdout), (Some(3), &there.stdout));
        assert_eq!((here.code, &here.stderr), (there.code, &there.stderr));
    }
    let ran = broker
        .run_as_admin(&["policy", "check", &good, &bad, "--json"])
        .await;
    let files = &ran.json()["files"];
    assert_eq!(
        (&files[0]["valid"], &files[0]["policies"]),
        (&true.into(), &1.into())
    );
    assert_eq!(
        (&files[1]["valid"], &files[1]["diagnostics"][0]["line"]),
        (&false.into(), &2.into())
    );

    create_key(&broker, "key", &[]).await;
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
    assert_refused(
        &broker
            .run_as_admin(&["policy", "put", "freeze", &bad, "--json"])
            .await,
        "invalid_request",
    );
    assert_eq!(
        broker
            .run_as_admin(&["policy", "put", "freeze", &good])
            .await
            .code,
        Some(0)
    );
    assert_refused(&exchange(&broker, "key", &[]).await, "policy_denied");
    let ran = broker.run_as_admin(&["policy", "list", "--json"]).await;
    let from: Vec<_> = ran.json()["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            (
                d["name"].as_str().unwrap().to_owned(),
                d["from_configuration"].as_bool().unwrap(),
            )
        })
        .collect();
    assert!(
        from.contains(&("freeze".to_owned(), false))
            && from.iter().any(|(_, configured)| *configured),
        "{from:?}"
    );
    let delete = ["policy", "delete", "freeze", "--idempotency-key", "gone"];
    for _ in 0..2 {
        let ran = broker.run_as_admin(&delete).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
}

#[tokio::test]
async fn an_explanation_says_what_an_exchange_would() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "key", &[]).await;
    let explain = async |args: &[&str]| {
        let ran = broker
            .run_as_admin(&[&["policy", "explain", "--json"], args].concat())
            .await;
        let told = ran.json();
        let code = if told["allowed"] == true {
            Some(0)
        } else {
            Some(3)
        };
        assert_eq!(ran.code, code, "{ran:?}");
        told
    };
    for asked in [
        &[][..],
        &["--scope", "orders:read"],
        &["--scope", "orders:delete"],
        &["--bound"],
        &["--lifetime", "1m"],
    ] {
        let told = explain(&[&["--key-id", &id, "--audience", "shop"], asked].concat()).await;
        let ran = exchange(&broker, "key", asked).await;
        if told["allowed"] == true {
            let got = ran.json();
            assert_eq!(got["scopes"], told["scopes"], "{asked:?}");
            assert_eq!(got["expires_in"], told["lifetime_seconds"], "{asked:?}");
            assert_eq!(got["bound"], told["bound"], "{asked:?}");
        } else {
            assert_refused(&ran, told["code"].as_str().unwrap());
        }
    }
    let web = [
        "--spiffe-id",
        "spiffe://example.org/web",
        "--audience",
        "shop",
        "--scope",
        "orders:write",
    ];
    let told = explain(&web).await;
    assert_eq!(
        (&told["allowed"], &told["bound"]),
        (&true.into(), &true.into())
    );
    assert_eq!(told["rules"], serde_json::json!(["workloads-of-ours"]));
    let stranger = [
        "--spiffe-id",
        "spiffe://example.com/web",
        "--audience",
        "shop",
        "--scope",
        "orders:write",
    ];
    assert_eq!(explain(&stranger).await["code"], "policy_denied");

    // Only for those who may ask.
    let ran = broker
        .run_as_web(&[&["policy", "explain", "--json"], &web[..]].concat())
        .await;
    assert_refused(&ran, "not_authorised");
}

#[tokio::test]
async fn a_long_document_of_configuration_is_in_nobodys_way() {
    let mut long = String::new();
    let broker = Broker::with(|setup| {
        let line = format!("// {}\n", "a".repeat(1021));
        setup.policies.push_str(&line.repeat(5 * 1024));
        long.clone_from(&setup.policies);
    })
    .await;
    let good = broker.argument("good.cedar");
    let permit = "permit (principal is ApiKey, action, resource);";
    std::fs::write(&good, permit).unwrap();
    for more in [&[][..], &["--replace"]] {
        let put = ["policy", "put", "a", &good];
        let ran = broker.run_as_admin(&[&put[..], more].concat()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let ran = broker.run_as_admin(&["policy", "list", "--json"]).await;
    let listed = ran.json()["documents"].as_array().unwrap().clone();
    let texts: Vec<_> = listed.iter().map(|document| &document["text"]).collect();
    assert_eq!(texts, [permit, &long]);
    let ran = broker.run_as_admin(&["policy", "delete", "a"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
