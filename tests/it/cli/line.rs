//! The command line itself: what it takes for nothing, and what it must not repeat.

use super::{CREATE, Scene};
use crate::support::admin::SECRET;
use crate::support::command::cambist;

const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";

#[tokio::test]
async fn a_pasted_credential_is_never_repeated() {
    let header = format!("Authorization: Bearer {TOKEN}");
    let flag = format!("--audience={TOKEN}");
    let reason = format!("found {SECRET} in a log");
    for line in [
        &["jwt", "inspect", TOKEN][..],
        &["jwt", "inspect", &header],
        &[
            "jwt",
            "verify",
            TOKEN,
            "--issuer",
            "https://a",
            "--audience",
            "b",
        ],
        &["exchange", &flag],
        &["exchange", "--unknown", &header],
        &["key", "show", SECRET],
        &["key", "revoke", "0000000000000001", "--reason", &reason],
        &["run", TOKEN, "--", "true"],
        &[TOKEN],
    ] {
        for json in [&[][..], &["--json"]] {
            let ran = cambist(&[json, line].concat(), &[], b"").await;
            assert_eq!(ran.code, Some(2), "{ran:?}");
            assert!(
                ran.stderr.contains("must not stand on a command line"),
                "{ran:?}"
            );
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!all.contains("eyJ") && !all.contains(SECRET), "{all}");
        }
    }
    // What stands behind is the other command's.
    let ran = cambist(&["run", "--", "true", TOKEN], &[], b"").await;
    assert!(ran.stderr.contains("no audience is named"), "{ran:?}");
}

#[tokio::test]
async fn an_empty_variable_is_as_good_as_none() {
    let scene = Scene::new();
    let empty = [
        "CAMBIST_CA",
        "CAMBIST_CERT",
        "CAMBIST_CERT_KEY",
        "CAMBIST_CLIENT_CONFIG",
        "CAMBIST_KEY_FILE",
        "CAMBIST_TOKEN_FILE",
        "CAMBIST_AUDIENCE",
        "CAMBIST_ISSUER",
        "CAMBIST_CONFIG",
        "CAMBIST_LOG",
    ]
    .map(|name| (name, ""));
    let server = [("CAMBIST_SERVER", &*scene.server)];
    let variables = [&empty[..], &server].concat();
    let ran = cambist(&["key", "list"], &variables, b"").await;
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let ran = cambist(&["exchange", "--audience", "a"], &variables, b"").await;
    assert!(ran.stderr.contains("no credential is named"), "{ran:?}");
    let ran = cambist(&["exchange"], &variables, b"").await;
    assert!(ran.stderr.contains("no audience is named"), "{ran:?}");
    let ran = cambist(&["key", "list"], &[("CAMBIST_SERVER", "")], b"").await;
    assert!(ran.stderr.contains("no broker is named"), "{ran:?}");
    let ran = cambist(&["serve", "--config", "/nowhere"], &empty, b"").await;
    assert_eq!(ran.code, Some(78), "{ran:?}");
}

#[tokio::test]
async fn what_is_missing_or_meant_is_named_in_json_too() {
    let (create, rest) = CREATE.split_at(2);
    let ran = cambist(&[create, &rest[4..], &["--json"]].concat(), &[], b"").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let message = ran.error()["message"].as_str().unwrap().to_owned();
    for flag in ["--owner", "--purpose"] {
        assert!(message.contains(flag), "{message}");
    }
    assert!(
        !message.contains("Usage") && !message.contains("--audience"),
        "{message}"
    );
    let ran = cambist(&["key", "list", "--ownr", "a", "--json"], &[], b"").await;
    let error = ran.error();
    assert_eq!(error["message"], "unexpected argument '--ownr' found");
    assert!(
        error["help"].as_str().unwrap().contains("--owner"),
        "{ran:?}"
    );
}
