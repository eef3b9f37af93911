//! `cambist scan`: what is found where, and that nothing of a secret is shown.

use crate::support::command::{Ran, cambist};
use cambist::limits;
use cambist::secret::api_key;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const ID: &str = "CambistTestKey01";
const KEY: &str = "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ2Dgl12";

async fn scan(args: &[&str], stdin: &[u8]) -> Ran {
    let ran = cambist(&[&["scan"], args].concat(), &[], stdin).await;
    assert!(!format!("{ran:?}").contains(&KEY[21..]), "{ran:?}");
    ran
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn keys_are_found_in_folders_among_any_bytes_and_links_are_not_followed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("b/c/d")).unwrap();
    fs::write(at("a.txt"), format!("first\nkey = \"{KEY}\"\n")).unwrap();
    let binary = [&[0, 159, 146, 150, b'\n', 0][..], KEY.as_bytes(), &[0xff]].concat();
    fs::write(at("b/c/d/core"), binary).unwrap();
    fs::write(at("b/none"), KEY.replace("Dgl12", "Dgl13")).unwrap();
    fs::write(at(&format!("b/{KEY}.bak")), format!("{KEY}{KEY}")).unwrap();
    fs::write(elsewhere.path().join("x"), KEY).unwrap();
    symlink(elsewhere.path(), at("link")).unwrap();
    symlink(folder.path(), at("b/circle")).unwrap();
    symlink(elsewhere.path().join("x"), at("x")).unwrap();
    // One that waits for a writer who never comes.
    let fifo = std::process::Command::new("mkfifo")
        .arg(at("pipe"))
        .status();
    assert!(fifo.unwrap().success());
    let top = text(folder.path());
    let ran = scan(&[top], b"").await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let expected = [
        format!("{top}/a.txt:2:8: {ID}"),
        format!("{top}/b/c/d/core:2:2: {ID}"),
        format!("{top}/b/cmb_{ID}_….bak:1:1: {ID}"),
        format!("{top}/b/cmb_{ID}_….bak:1:71: {ID}"),
    ];
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
    assert!(ran.stderr.contains("4 files looked through"), "{ran:?}");
    assert!(ran.stderr.contains("4 API keys found"), "{ran:?}");
    let ran = scan(&["--json", top], b"").await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let document = ran.json();
    assert_eq!(
        (&document["version"], &document["found"]),
        (&1.into(), &4.into())
    );
    assert_eq!(document["keys"][0]["offset"], 13);
    assert_eq!(document["keys"][0]["line"], 2);
    assert_eq!(document["files"], 4);
    assert_eq!(ran.error()["code"], "keys_found");
    // What is named is read, also through a link.
    let ran = scan(&[text(&at("x"))], b"").await;
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (Some(5), 1),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_stream_is_read_to_its_end_and_where_nothing_is_found_all_is_well() {
    let mut stream = vec![b'c'; 3 * limits::SCAN_WINDOW];
    let ran = scan(&["-"], &stream).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    let at = 2 * limits::SCAN_WINDOW - 20;
    stream[at..at + KEY.len()].copy_from_slice(KEY.as_bytes());
    let ran = scan(&["-"], &stream).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert_eq!(ran.stdout, format!("-:1:{}: {ID}\n", at + 1));
    let ran = scan(&["--json", "-"], b"nothing").await;
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.json()["bytes"], 7);
    assert_eq!(scan(&[], b"").await.code, Some(2));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (good, absent) = (folder.path().join("good"), folder.path().join("absent"));
    fs::write(&good, "nothing").unwrap();
    // A file that opens and then cannot be read.
    let broken = "/proc/self/mem";
    for missing in [text(&absent), broken] {
        let ran = scan(&[missing, text(&good)], b"").await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(missing), "{ran:?}");
        assert!(
            ran.stderr.contains("1 files looked") || ran.stderr.contains("1 file looked"),
            "{ran:?}"
        );
    }
    // What was found is not less found for it.
    let ran = scan(&["--json", text(&absent), "-"], KEY.as_bytes()).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let document = ran.json();
    assert_eq!(
        (&document["found"], &document["unread"]),
        (&1.into(), &1.into())
    );
    assert_eq!(document["unreadable"][0]["path"], text(&absent));
    assert!(
        ran.error()["cause"]
            .as_str()
            .unwrap()
            .contains("could not be read")
    );
}

#[tokio::test]
async fn a_document_lists_so_many_and_counts_the_rest() {
    let random = cambist::clock::SystemRandomness::shared();
    let key = api_key::generate(&*random).unwrap().0;
    for more in [0, 1] {
        let count = limits::SCAN_LISTED + more;
        let ran = scan(&["--json", "-"], key.expose().repeat(count).as_bytes()).await;
        let document = ran.json();
        assert_eq!(document["found"], count);
        let listed = document["keys"].as_array().unwrap().len();
        assert_eq!(listed, limits::SCAN_LISTED);
    }
}
