//! `cambist key`: above all, where its secrets go.

use super::{FIRST, Scene};
use crate::support::admin::{SECRET, refuse};
use crate::support::terminal::Terminal;
use cambist::refusal::Code;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

#[tokio::test]
async fn a_new_keys_secret_stands_alone_on_standard_output() {
    let scene = Scene::new();
    let ran = scene.create(&[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, format!("{SECRET}\n"));
    assert!(
        ran.stderr.contains("team-shop") && ran.stderr.contains("(in 29d)"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains(SECRET));
    assert!(
        !ran.stderr.contains('\u{1b}'),
        "no colours without a terminal: {ran:?}"
    );
}

#[tokio::test]
async fn a_new_key_is_one_document_with_json() {
    let scene = Scene::new();
    let ran = scene
        .create(&[
            "--json",
            "--uses",
            "3",
            "--network",
            "10.0.0.0/8",
            "--label",
            "env=prod",
        ])
        .await;
    let document = ran.json();
    assert_eq!(document["version"], 1);
    assert_eq!(document["secret"], SECRET);
    assert_eq!(document["key"]["id"], FIRST);
    assert_eq!(document["key"]["uses"], 3);
    assert_eq!(document["key"]["labels"]["env"], "prod");
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn a_secret_file_is_new_and_nobody_elses() {
    let scene = Scene::new();
    let out = scene.path("key");
    let ran = scene.create(&["--out", &out]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains(SECRET));
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        format!("{SECRET}\n")
    );
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = scene.create(&["--out", &out]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert_eq!(
        scene.admin.with(|state| state.keys.len()),
        1,
        "no key without a place for it"
    );

    let denied = refuse(tonic::Code::PermissionDenied, Code::NotAuthorised);
    scene.admin.with(|state| state.next_write = Some(denied));
    let other = scene.path("other");
    let ran = scene.create(&["--out", &other]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(!Path::new(&other).exists());
}

/// Runs `key create` with its standard output elsewhere. Returns its exit code and standard error.
async fn create_to(scene: &Scene, stdout: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
    command
        .args(super::CREATE)
        .args(["--json", "--server", &scene.server])
        .env_clear()
        .stdout(stdout)
        .stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn a_secret_that_arrives_nowhere_is_a_fault_that_names_its_key() {
    let scene = Scene::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (left, reader_less) = std::io::pipe().unwrap();
    drop(left);
    for (stdout, id) in [
        (full.into(), FIRST),
        (reader_less.into(), "0000000000000002"),
    ] {
        let (code, stderr) = create_to(&scene, stdout).await;
        assert_eq!(code, Some(1), "{stderr}");
        let next = format!("cambist key rotate {id} --overlap 0s");
        assert!(stderr.contains(&next), "{stderr}");
        assert!(!stderr.contains(SECRET), "{stderr}");
    }
}

#[tokio::test]
async fn no_file_waits_for_a_key_that_did_not_come() {
    let scene = Scene::new();
    scene.admin.with(|state| state.keyless = true);
    let out = scene.path("key");
    let ran = scene.create(&["--out", &out]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!Path::new(&out).exists());
}

#[tokio::test]
async fn a_table_is_not_broken_by_a_narrow_terminal() {
    let scene = Scene::new();
    scene.create(&[]).await;
    let terminal = Terminal::of_columns(30);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
    command
        .args(["key", "list", "--server", &scene.server])
        .env_clear()
        .stdout(terminal.inside.try_clone().unwrap())
        .stderr(terminal.inside);
    assert!(command.status().await.unwrap().success());
    drop(command);
    // Read until the terminal is gone with its last user: an error, on Linux.
    let mut shown = Vec::new();
    let _ = (&terminal.outside).read_to_end(&mut shown);
    let shown = String::from_utf8(shown).unwrap();
    let row = shown.lines().find(|line| line.starts_with(FIRST));
    assert!(
        row.is_some_and(|row| row.ends_with("Deploy the shop")),
        "{shown}"
    );
}

#[tokio::test]
async fn a_repeated_create_never_shows_the_secret_again() {
    let scene = Scene::new();
    let repeat = ["--idempotency-key", "deploy-17", "--json"];
    assert_eq!(scene.create(&repeat).await.code, Some(0));
    let ran = scene.create(&repeat).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert_eq!(ran.error()["code"], "already_delivered");
}

#[tokio::test]
async fn an_unknown_outcome_says_how_to_find_out() {
    let scene = Scene::new();
    let gone = tonic::Status::unavailable("gone");
    scene.admin.with(|state| state.next_write = Some(gone));
    let ran = scene.create(&["--json"]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let name = scene.admin.with(|state| state.idempotency_keys[0].clone());
    let help = ran.error()["help"].as_str().unwrap().to_owned();
    assert!(
        help.contains(&format!("--idempotency-key {name}")),
        "{help}"
    );
}

#[tokio::test]
async fn lists_are_shown_whole_whatever_the_pages() {
    let scene = Scene::new();
    let ran = scene.run(&["key", "list"]).await;
    assert_eq!(ran.stdout, "There are no keys.\n");
    for _ in 0..5 {
        scene.create(&[]).await;
    }
    let ran = scene.run(&["key", "list"]).await;
    for number in 1..=5 {
        assert!(ran.stdout.contains(&format!("{number:016}")), "{ran:?}");
    }
    let ran = scene.run(&["--json", "key", "list"]).await;
    assert_eq!(ran.json()["keys"].as_array().unwrap().len(), 5);
    let ran = scene.run(&["signing-key", "list", "--json"]).await;
    assert_eq!(ran.json()["signing_keys"][1]["kid"], "kid-2");

    scene.admin.with(|state| state.endless = true);
    let ran = scene.run(&["key", "list"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[tokio::test]
async fn a_key_is_stopped_even_while_it_changes() {
    let scene = Scene::new();
    scene.create(&[]).await;
    for (verb, state) in [
        ("suspend", "suspended"),
        ("resume", "active"),
        ("revoke", "revoked"),
    ] {
        scene.admin.with(|state| state.race = true);
        let ran = scene
            .run(&["key", verb, FIRST, "--reason", "leaked", "--json"])
            .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.json()["key"]["state"], state);
    }
    let ran = scene
        .run(&["key", "revoke", FIRST, "--reason", "leaked", "--json"])
        .await;
    assert_eq!(ran.json()["revision"], "r-17");
    // A revision that the caller insists on is never replaced by another.
    let ran = scene
        .run(&[
            "key",
            "revoke",
            FIRST,
            "--reason",
            "x",
            "--revision",
            "1",
            "--json",
        ])
        .await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(3), Some("conflict"))
    );
}

#[tokio::test]
async fn a_rotated_key_delivers_its_successors_secret() {
    let scene = Scene::new();
    scene.create(&[]).await;
    let ran = scene
        .run(&["key", "rotate", FIRST, "--overlap", "1h"])
        .await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{SECRET}\n")));
}

#[tokio::test]
async fn a_whole_key_given_as_id_is_not_repeated() {
    let scene = Scene::new();
    let ran = scene.run(&["key", "show", SECRET]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!format!("{ran:?}").contains(SECRET));
}

#[tokio::test]
async fn names_that_begin_with_a_hyphen_are_names() {
    // One in sixty-four of what the command makes up, and of a signing key's id, does.
    let scene = Scene::new();
    let ran = scene.create(&["--idempotency-key", "-once"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rotate = [
        "signing-key",
        "rotate",
        "--compromised",
        "-kid",
        "--reason",
        "tests",
    ];
    let ran = scene.run(&rotate).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
