//! `cambist run`: a command with a token at hand.

use super::{assert_refused, create_key};
use crate::support::broker::{Broker, Site, claims};
use crate::support::command::Ran;
use std::path::Path;

/// Runs a shell script with a token for the shop.
async fn run(broker: &Broker, more: &[&str], script: &str) -> Ran {
    let key = broker.argument("key");
    let args = ["run", "--audience", "shop", "--key-file", &key];
    let command = ["--", "/bin/sh", "-c", script];
    broker
        .run_as_anybody(&[&args[..], more, &command].concat())
        .await
}

#[tokio::test]
async fn a_command_finds_a_token_in_its_environment_and_nothing_else_of_ours() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let ran = run(&broker, &[], "env | grep -i ^cambist").await;
    let (name, token) = ran.stdout.trim_end().split_once('=').unwrap();
    assert_eq!(name, "CAMBIST_TOKEN");
    assert_eq!(claims(token)["aud"], "shop", "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    assert!(
        ran.stderr.contains("--file"),
        "that it is not renewed is told: {ran:?}"
    );
    let ran = run(
        &broker,
        &["--variable", "TOKEN"],
        "echo $TOKEN; env | grep -i ^cambist",
    )
    .await;
    assert_eq!(ran.code, Some(1), "grep finds nothing: {ran:?}");
    assert_eq!(claims(ran.stdout.trim_end())["aud"], "shop", "{ran:?}");
}

#[tokio::test]
async fn a_command_reads_its_token_from_a_file_that_is_gone_afterwards() {
    let broker = Site::new().start().await;
    // Leases are not for keys of finite use: one exchange does instead, and spends one use.
    for uses in [&[][..], &["--uses", "1"]] {
        let _ = std::fs::remove_file(broker.argument("key"));
        create_key(&broker, "key", uses).await;
        let file = broker.argument("token");
        let ran = run(
            &broker,
            &["--file", &file],
            "cat $CAMBIST_TOKEN_FILE; exit 9",
        )
        .await;
        assert_eq!(ran.code, Some(9), "{ran:?}");
        assert_eq!(claims(&ran.stdout)["aud"], "shop", "{ran:?}");
        assert!(!Path::new(&file).exists());
    }
    let ran = run(&broker, &["--json"], "echo never").await;
    assert_refused(&ran, "credential_spent");
}

#[tokio::test]
async fn the_exit_code_is_the_commands_own() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
    ] {
        assert_eq!(run(&broker, &[], script).await.code, Some(code), "{script}");
    }
    let key = broker.argument("key");
    let absent = [
        "run",
        "--audience",
        "shop",
        "--key-file",
        &key,
        "--",
        "/nowhere/command",
    ];
    assert_eq!(broker.run_as_anybody(&absent).await.code, Some(127));
    let ran = run(&broker, &["--scope", "admin", "--json"], "echo never").await;
    assert_refused(&ran, "scope_not_allowed");
    let ran = broker
        .run_as_anybody(&["run", "--audience", "shop", "--key-file", &key])
        .await;
    assert_eq!(ran.code, Some(2), "no command: {ran:?}");
}
