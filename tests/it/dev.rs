//! `cambist dev --check`: the story that a newcomer is told, by the real binary.

use crate::support::broker::free_port;
use std::fs;
use std::process::{Command, Output, Stdio};

fn dev(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(["dev", "--check"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Ids only ever grow: scripts of others may wait for them.
const STEPS: [&str; 13] = [
    "folder",
    "serve",
    "create-key",
    "exchange-key",
    "verify-key-token",
    "exchange-certificate",
    "verify-certificate-token",
    "exchange-token",
    "refuse-audience",
    "record",
    "verify-log",
    "revoke",
    "stop",
];

#[test]
fn every_step_is_told_on_one_line_and_does_what_it_should() {
    let output = dev(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let steps: Vec<_> = text
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>())
        .collect();
    let expected: Vec<_> = STEPS.iter().map(|id| vec!["ok", id]).collect();
    assert_eq!(steps, expected);
    let says = |id: &str, said: &str| {
        let start = format!("ok {id} ");
        let line = text.lines().find(|line| line.starts_with(&start));
        assert!(line.unwrap().contains(said), "{text}");
    };
    says("verify-log", " records under a signed checkpoint");
    says("verify-log", " is not the one that was logged");
    says("revoke", " ms after that was asked for");
}

#[test]
fn a_folder_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("d");
    let dir = dir.to_str().unwrap();
    let port = format!("127.0.0.1:{}", free_port());
    for verb in ["made", "took up", "took up"] {
        let output = dev(&["--dir", dir, "--listen", &port]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(text.starts_with(&format!("ok folder {verb}")), "{text}");
    }
    let names = ["cambist.toml", "store.db", "log", "tls"];
    assert!(
        names
            .iter()
            .all(|name| folder.path().join("d").join(name).exists())
    );
}

#[test]
fn a_step_that_fails_is_told_and_ends_the_story_with_a_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = dev(&["--listen", &address]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("FAIL serve "), "{text}");
    assert!(last.contains(&address), "{text}");
}

/// What was done in a folder is not undone by running the story in it again.
#[test]
fn a_refusal_in_a_folder_that_was_there_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("d");
    let port = format!("127.0.0.1:{}", free_port());
    let run = || dev(&["--dir", dir.to_str().unwrap(), "--listen", &port]);
    assert!(run().status.success());
    let nobody = "@id(\"nobody\")\nforbid (principal, action, resource);\n";
    fs::write(dir.join("policies/dev.cedar"), nobody).unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let config = dir.join("cambist.toml");
    let serve = format!("`cambist serve --config {}`", config.display());
    assert!(
        said.contains("give another --dir") && said.contains(&serve),
        "{said}"
    );
}

#[test]
fn json_is_one_document_with_every_step() {
    let address = format!("127.0.0.1:{}", free_port());
    let output = dev(&["--json", "--listen", &address]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["ok"], true);
    let ids: Vec<_> = document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, STEPS);
}
