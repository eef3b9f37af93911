//! What the commands tell of a folder.

use super::{Published, SEGMENT};
use crate::support::command::cambist;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// What is away must not pass for what never was.
#[tokio::test]
async fn a_log_without_its_end_is_searched_and_its_end_is_missed() {
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    let is_told = async |log: &Published, ends: usize| {
        let dir = log.path().to_str().unwrap().to_owned();
        for newest in [&[][..], &["--newest"]] {
            let query = [&["audit", "query", "--dir", &dir, "--json"], newest].concat();
            let ran = cambist(&query, &[], b"").await;
            assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), ends));
            let problem = format!("record {ends} is not there");
            assert!(ran.stderr.contains(&problem), "{ran:?}");
        }
        let show = ["audit", "show", unknown, "--dir", &dir];
        let ran = cambist(&show, &[], b"").await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
    };
    let log = Published::new().await;
    log.tamper(|lines| lines.truncate(1 + 279));
    is_told(&log, 279).await;
    // As far as there is a checkpoint, nobody knows of more.
    let log = Published::new().await;
    log.tamper(|lines| lines.truncate(1 + 280));
    let dir = log.path().to_str().unwrap().to_owned();
    let query = ["audit", "query", "--dir", &dir, "--json"];
    let ran = cambist(&query, &[], b"").await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 280));
    // But its writer may have, and said so.
    let text = fs::read_to_string(log.path().join(SEGMENT)).unwrap();
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let kept =
        json!({"cambist": "acknowledged", "version": 1, "log": header["log"], "records": 281});
    fs::write(log.path().join("acknowledged"), kept.to_string()).unwrap();
    is_told(&log, 280).await;
}

#[tokio::test]
async fn the_root_is_that_of_the_checkpoint() {
    let log = Published::new().await;
    let note = fs::read_to_string(log.path().join("checkpoint")).unwrap();
    let root = note.lines().nth(2).unwrap();
    let dir = log.path().to_str().unwrap().to_owned();
    let verify = ["audit", "verify", &dir];
    let told = cambist(&verify, &[], b"").await;
    let text = format!("up to the checkpoint of 280.\nroot {root}\n");
    assert!(told.stdout.ends_with(&text), "{told:?}");
    let told = cambist(&[&verify[..], &["--json"]].concat(), &[], b"").await;
    assert_eq!(told.json()["root"], root);
}

#[tokio::test]
async fn who_names_the_folder_above_is_told_where_the_log_is() {
    let (log, above) = (Published::new().await, tempfile::tempdir().unwrap());
    let below = above.path().join("log");
    symlink(log.path(), &below).unwrap();
    let dir = above.path().to_str().unwrap();
    let next = format!("look in {}", below.display());
    for args in [&["verify"][..], &["query", "--dir"]] {
        let ran = cambist(&[&["audit"], args, &[dir]].concat(), &[], b"").await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(&next), "{ran:?}");
    }
    // One that was emptied is no other folder for it.
    for entry in fs::read_dir(log.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|is| is == "seg") {
            fs::remove_file(path).unwrap();
        }
    }
    let ran = cambist(&["audit", "verify", below.to_str().unwrap()], &[], b"").await;
    assert!(!matches!(ran.code, Some(0 | 2)), "{ran:?}");
}
