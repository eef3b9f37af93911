//! Real commands with a scripted broker.

use super::delivery::WRITE_AGAIN;
use super::*;
use crate::client::tokens::tests::scripted::{Rig, outage, refusal};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

fn environment() -> Delivery {
    Delivery::Environment("CAMBIST_TOKEN".parse().unwrap())
}

fn file(path: &Path) -> Delivery {
    Delivery::File {
        path: path.to_owned(),
        variable: "CAMBIST_TOKEN_FILE".parse().unwrap(),
    }
}

/// Runs with no signals and the first token.
async fn run(command: Command, delivery: Delivery) -> Result<u8, RunError> {
    let rig = Rig::new();
    supervise(command, delivery, rig.tokens(), tokio_stream::pending()).await
}

fn out(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("out")).unwrap()
}

#[tokio::test]
async fn the_exit_code_is_passed_on() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -TERM $$", 143),
        ("kill -9 $$", 137),
    ] {
        assert_eq!(
            run(sh(script), environment()).await.unwrap(),
            code,
            "{script}"
        );
    }
}

#[tokio::test]
async fn a_command_that_does_not_start_has_the_shells_codes() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    for (program, code) in [(dir.path().join("absent"), 127), (plain, 126)] {
        let token = dir.path().join("token");
        let error = run(Command::new(program), file(&token)).await.unwrap_err();
        assert_eq!(error.exit_code(), Some(code), "{error}");
        assert!(!token.exists());
    }
}

#[tokio::test]
async fn the_environment_holds_the_token_and_none_of_our_settings() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = sh("env > out");
    command
        .current_dir(dir.path())
        .env("CAMBIST_KEY_FILE", "/run/secrets/key")
        .env("CAMBIST_CERTIFICATE_KEY", "k")
        .env("OTHER", "kept");
    assert_eq!(run(command, environment()).await.unwrap(), 0);
    let seen = out(&dir);
    assert!(seen.contains("CAMBIST_TOKEN=token-0\n"), "{seen}");
    assert!(seen.contains("OTHER=kept\n"), "{seen}");
    assert_eq!(seen.matches("CAMBIST_").count(), 1, "{seen}");
}

#[tokio::test]
async fn the_file_is_whole_private_renewed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "what was there before").unwrap();
    let rig = Rig::new();
    let lease = rig.broker.offer_lease();
    lease.deliver(900, None);
    let script = r#"
        ls -l "$CAMBIST_TOKEN_FILE" > out
        : > started
        while :; do
            seen=$(cat "$CAMBIST_TOKEN_FILE")
            case $seen in
                token-0) ;;
                token-1) echo renewed >> out; exit 0 ;;
                *) echo "torn: $seen" >> out; exit 9 ;;
            esac
        done
    "#;
    let mut command = sh(script);
    command.current_dir(dir.path());
    let running = tokio::spawn(supervise(
        command,
        file(&path),
        rig.tokens(),
        tokio_stream::pending(),
    ));
    appears(&dir.path().join("started")).await;
    lease.deliver(900, None);
    assert_eq!(running.await.unwrap().unwrap(), 0, "{}", out(&dir));
    assert!(out(&dir).starts_with("-rw-------"), "{}", out(&dir));
    assert!(out(&dir).ends_with("renewed\n"), "{}", out(&dir));
    let mut left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["out", "started"]);
}

#[tokio::test]
async fn signals_reach_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut command = sh("trap 'exit 42' TERM; : > started; while :; do sleep 0.01; done");
    command.current_dir(dir.path());
    let tokens = Rig::new().tokens();
    let signals = UnboundedReceiverStream::new(receiver);
    let path = dir.path().join("token");
    let running = tokio::spawn(supervise(command, file(&path), tokens, signals));
    appears(&dir.path().join("started")).await;
    sender.send(Signal::TERM).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), 42);
    assert!(!path.exists());
}

#[tokio::test]
async fn without_a_token_nothing_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    rig.broker.fail_with(Some(refusal("policy_denied")));
    let mut command = sh(": > started");
    command.current_dir(dir.path());
    let ended = supervise(
        command,
        environment(),
        rig.tokens(),
        tokio_stream::pending(),
    )
    .await;
    assert!(matches!(ended, Err(RunError::Token(_))), "{ended:?}");
    assert!(!dir.path().join("started").exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for path in [folder.clone(), dir.path().join("absent/token")] {
        let ended = run(sh("exit 0"), file(&path)).await;
        assert!(matches!(ended, Err(RunError::Write { .. })), "{ended:?}");
    }
    // No temporary file is left behind either.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_cannot_be_written_leaves_the_old_token_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("token");
    let rig = Rig::new();
    let lease = rig.broker.offer_lease();
    lease.deliver(900, None);
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    let file = TokenFile::create(path.clone(), &first).await.unwrap();
    // The folder's name leads elsewhere, so a write goes wrong whoever runs this test.
    let moved = dir.path().join("moved");
    std::fs::rename(&inner, &moved).unwrap();
    lease.deliver(900, None);
    let mut renewing = pin!(file.renew(&tokens, first));
    // Time stands still while a write is under way: it is over, and a pause has begun.
    let second = Duration::from_secs(1);
    assert!(timeout(second, &mut renewing).await.is_err());
    let held = |folder: &Path| std::fs::read_to_string(folder.join("token")).unwrap();
    assert_eq!(held(&moved), "token-0");
    assert_eq!(std::fs::read_dir(&moved).unwrap().count(), 1);
    let mode = std::fs::metadata(moved.join("token")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    std::fs::rename(&moved, &inner).unwrap();
    let pause = WRITE_AGAIN - 2 * second;
    assert!(timeout(pause, &mut renewing).await.is_err());
    assert_eq!(held(&inner), "token-0", "there was a write, and a pause");
    assert!(timeout(2 * second, &mut renewing).await.is_err());
    assert_eq!(held(&inner), "token-1");
}

#[tokio::test]
async fn a_write_that_outlasts_the_command_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let token = Rig::new().tokens().token().await.unwrap();
    let file = TokenFile::create(path.clone(), &token).await.unwrap();
    let writing = Arc::clone(&file.0);
    assert!(path.exists());
    drop(file);
    writing.replace(token.value()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_signal_before_there_is_a_token_ends_us_and_nothing_is_run() {
    let dir = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let rig = Rig::new();
        rig.broker.fail_with(Some(outage()));
        let mut command = sh(": > started");
        command.current_dir(dir.path());
        let signals = tokio_stream::once(signal).chain(tokio_stream::pending());
        let ended = supervise(command, environment(), rig.tokens(), signals).await;
        assert_eq!(ended.unwrap_err().exit_code(), Some(code));
    }
    assert!(!dir.path().join("started").exists());
}

#[tokio::test]
async fn every_signal_that_would_end_us_is_taken() {
    let mut taken = signals().unwrap();
    for signal in [
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::INT,
    ] {
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
        assert_eq!(taken.next().await, Some(signal));
    }
}

async fn appears(path: &Path) {
    let appearing = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), appearing)
        .await
        .expect("the command did not start");
}
