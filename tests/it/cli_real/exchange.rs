//! `cambist exchange` in all its forms, and `cambist jwt verify` of what it brings.

use super::{assert_refused, create_key, exchange};
use crate::support::broker::{Broker, Site, claims};
use crate::support::command::{Ran, cambist};
use std::fs;

#[tokio::test]
async fn a_key_becomes_a_token_in_every_form() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "key", &[]).await;
    let key = broker.argument("key");
    let asked = async |more: &[&str]| {
        let args = ["exchange", "--audience", "shop", "--key-file", &key];
        let ran = broker.run_as_anybody(&[&args[..], more].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        ran
    };
    let raw = asked(&[]).await.stdout;
    let said = claims(raw.trim_end());
    assert_eq!(
        (&said["aud"], &said["iss"]),
        (&"shop".into(), &broker.issuer.as_str().into())
    );
    assert_eq!(said["scope"], "orders:read orders:write");

    let header = asked(&["--format", "header"]).await.stdout;
    let token = header
        .trim_end()
        .strip_prefix("Authorization: Bearer ")
        .unwrap();
    assert_eq!(claims(token)["aud"], "shop");

    for json in [&["--json"][..], &["--format", "json"]] {
        let narrow = [json, &["--scope", "orders:read", "--lifetime", "90s"]].concat();
        let told = asked(&narrow).await.json();
        assert_eq!(
            (&told["version"], &told["expires_in"]),
            (&1.into(), &90.into())
        );
        assert_eq!(told["scopes"], serde_json::json!(["orders:read"]));
        assert_eq!(told["credential_id"], format!("key:{id}"));
        let said = claims(told["access_token"].as_str().unwrap());
        assert_eq!(
            (&said["jti"], &said["scope"]),
            (&told["token_id"], &"orders:read".into())
        );
        let receipt = &told["receipt"];
        assert_eq!(receipt["origin"], format!("{}/node-1", broker.issuer));
        let index = receipt["index"].to_string();
        let prove = ["audit", "prove", &index, "--json"];
        let proven = broker.run_as_admin(&prove).await.json();
        let record = proven["record"].as_str().unwrap();
        assert!(record.contains(said["jti"].as_str().unwrap()), "{record}");
    }

    let told = asked(&["--format", "exec-credential"]).await.json();
    assert_eq!(told["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(
        claims(told["status"]["token"].as_str().unwrap())["aud"],
        "shop"
    );
    let info = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential",
        "spec":{"interactive":false,"cluster":{"config":{"audience":"shop"}}}}"#;
    let variables = [
        ("CAMBIST_SERVER", &*broker.socket_address()),
        ("CAMBIST_KEY_FILE", &key),
        ("KUBERNETES_EXEC_INFO", info),
    ];
    let ran = cambist(
        &["exchange", "--format", "exec-credential"],
        &variables,
        b"",
    )
    .await;
    assert_eq!(
        ran.json()["apiVersion"],
        "client.authentication.k8s.io/v1beta1",
        "{ran:?}"
    );
}

#[tokio::test]
async fn the_credential_comes_from_a_file_standard_input_or_the_connection() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let secret = fs::read(broker.argument("key")).unwrap();
    let variables = [("CAMBIST_SERVER", &*broker.socket_address())];
    let from_stdin = ["exchange", "--audience", "shop", "--key-file", "-"];
    let ran = cambist(&from_stdin, &variables, &secret).await;
    assert_eq!(claims(ran.stdout.trim_end())["aud"], "shop", "{ran:?}");

    // A certificate that comes along binds the token to its key.
    let with_key = [
        "exchange",
        "--json",
        "--audience",
        "shop",
        "--bound",
        "--key-file",
    ];
    let key = broker.argument("key");
    let with_key = [&with_key[..], &[&key]].concat();
    let told = broker.run_as_web(&with_key).await.json();
    assert_eq!(told["bound"], true);
    assert!(claims(told["access_token"].as_str().unwrap())["cnf"]["x5t#S256"].is_string());
    assert_refused(&broker.run_as_anybody(&with_key).await, "binding_required");

    let alone = [
        "exchange",
        "--json",
        "--audience",
        "shop",
        "--scope",
        "orders:read",
    ];
    let told = broker.run_as_web(&alone).await.json();
    let first = told["access_token"].as_str().unwrap();
    assert_eq!(claims(first)["sub"], "spiffe://example.org/web");
    let ran = broker.run_as_anybody(&alone).await;
    let told = (ran.code, ran.error()["code"].as_str().map(str::to_owned));
    assert_eq!(told, (Some(2), Some("usage".to_owned())), "{ran:?}");

    // The token again, by the one that it is bound to, and by nobody else.
    fs::write(broker.argument("token"), first).unwrap();
    let token = broker.argument("token");
    let again = [&alone[..], &["--token-file", &token]].concat();
    let ran = broker.run_as_web(&again).await;
    let second = ran.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&second)["sub"], "spiffe://example.org/web");
    assert_ne!(claims(&second)["jti"], claims(first)["jti"]);
    assert_refused(
        &broker.run_as_anybody(&again).await,
        "presenter_not_allowed",
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_is_told_apart() {
    let broker = Site::new().start().await;
    fs::write(broker.argument("garbage"), "garbage\n").unwrap();
    assert_refused(
        &exchange(&broker, "garbage", &[]).await,
        "credential_malformed",
    );
    let ran = exchange(&broker, "absent", &[]).await;
    assert_eq!(
        (ran.code, &ran.error()["code"]),
        (Some(2), &"usage".into()),
        "{ran:?}"
    );
    create_key(&broker, "key", &[]).await;
    assert_refused(
        &exchange(&broker, "key", &["--scope", "admin"]).await,
        "scope_not_allowed",
    );
    let others = crate::support::pki::Authority::new("others");
    fs::write(broker.argument("ca.pem"), others.pem()).unwrap();
    let ran = exchange(&broker, "key", &[]).await;
    assert_eq!(
        (ran.code, &ran.error()["code"]),
        (Some(4), &"certificate".into()),
        "{ran:?}"
    );
}

/// The key set as anybody can fetch it.
async fn published(broker: &Broker) -> String {
    let mut client = broker.http("http/1.1").await;
    let answer = client.get("/.well-known/openid-configuration").await;
    let (_, _, metadata) = answer.unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let keys = metadata["jwks_uri"].as_str().unwrap();
    let path = keys.strip_prefix(&broker.issuer).unwrap();
    let (status, _, keys) = client.get(path).await.unwrap();
    assert_eq!(status, http::StatusCode::OK);
    keys
}

async fn verify(broker: &Broker, token: &str, more: &[&str]) -> Ran {
    let args = ["jwt", "verify", "--json", "--issuer", &broker.issuer];
    let audience = ["--audience", "shop"];
    let audience = if more.contains(&"--audience") {
        &[][..]
    } else {
        &audience
    };
    cambist(&[&args[..], audience, more].concat(), &[], token.as_bytes()).await
}

#[tokio::test]
async fn a_token_verifies_by_the_published_keys_alone() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let token = exchange(&broker, "key", &[]).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let jwks = broker.argument("jwks.json");
    fs::write(&jwks, published(&broker).await).unwrap();
    let ca = broker.argument("ca.pem");
    let (fetched, held) = (["--ca", &ca], ["--jwks", &jwks]);
    for keys in [&fetched[..], &held] {
        let ran = verify(&broker, &token, keys).await;
        assert_eq!(
            (ran.code, &ran.json()["verified"]),
            (Some(0), &true.into()),
            "{ran:?}"
        );
        assert_eq!(ran.json()["claims"], claims(&token));
        assert_eq!(ran.json()["header"]["typ"], "at+jwt");
        assert_eq!(ran.json()["binding"], "bearer");

        let (head, signature) = token.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{head}.{flipped}{}", &signature[1..]);
        for (token, more) in [
            (forged.as_str(), &[][..]),
            (&token, &["--audience", "mail"]),
            ("no token", &[]),
        ] {
            let ran = verify(&broker, token, &[keys, more].concat()).await;
            assert_eq!(
                (ran.code, &ran.error()["code"]),
                (Some(5), &"unverified".into()),
                "{ran:?}"
            );
            assert_eq!(ran.stdout, "");
            assert_ne!(ran.error()["cause"], "");
        }
    }
    // That a bound token's presenter holds its key is not known from the token.
    let ask = [
        "exchange",
        "--json",
        "--audience",
        "shop",
        "--scope",
        "orders:write",
    ];
    let bound = broker.run_as_web(&ask).await.json();
    let ran = verify(&broker, bound["access_token"].as_str().unwrap(), &held).await;
    let told = ran.json();
    assert_eq!(
        (&told["binding"], &told["presenter_checked"]),
        (&"certificate".into(), &false.into())
    );
    let ran = verify(&broker, &token, &[]).await;
    assert_eq!(ran.code, Some(2), "no keys: {ran:?}");
    let others = broker.argument("others.pem");
    fs::write(&others, crate::support::pki::Authority::new("others").pem()).unwrap();
    let ran = verify(&broker, &token, &["--ca", &others]).await;
    assert_eq!(
        (ran.code, &ran.error()["code"]),
        (Some(4), &"keys_unavailable".into()),
        "{ran:?}"
    );

    // By the right keys, and said to be another issuer's.
    let other = Site::new().start().await;
    assert_eq!(verify(&other, &token, &held).await.code, Some(5));
    // By another broker's keys.
    fs::write(&jwks, published(&other).await).unwrap();
    assert_eq!(verify(&broker, &token, &held).await.code, Some(5));
    fs::write(&jwks, "{}").unwrap();
    assert_eq!(verify(&broker, &token, &held).await.code, Some(2));
    let people = [
        "jwt",
        "verify",
        "--issuer",
        &broker.issuer,
        "--audience",
        "shop",
        "--ca",
        &ca,
    ];
    let ran = cambist(&people, &[], token.as_bytes()).await;
    assert!(
        ran.stdout.contains("\"aud\": \"shop\"") && ran.stdout.contains("expires: "),
        "{ran:?}"
    );
}
