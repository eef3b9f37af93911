//! The log on the command line: from the broker, and from its files.

use super::{create_key, exchange};
use crate::support::broker::{Broker, Site, api_key, ask};
use crate::support::command::{Ran, cambist};
use crate::support::edge::within;
use crate::support::terminal::Terminal;
use jiff::Timestamp;
use serde_json::Value;
use std::process::Stdio;
use std::slice;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// A broker with something on the record. Gives the key's id and its token's.
async fn broker() -> (Broker, String, String) {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "key", &[]).await;
    let ran = exchange(&broker, "key", &[]).await;
    let jti = ran.json()["token_id"].as_str().unwrap().to_owned();
    let ran = exchange(&broker, "key", &["--scope", "orders:burn"]).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let reason = "a \u{9b}2J terminal, a \"quote\"";
    let suspend = ["key", "suspend", &id, "--reason", reason];
    assert_eq!(broker.run_as_admin(&suspend).await.code, Some(0));
    (broker, id, jti)
}

fn lines(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_query_is_a_table_or_lines_and_the_same_from_the_files() {
    let (broker, id, jti) = broker().await;
    let folder = broker.argument("data/log");
    let query = async |more: &[&str]| {
        let online = broker
            .run_as_admin(&[&["audit", "query"], more].concat())
            .await;
        let offline = [&["audit", "query", "--dir", &folder], more].concat();
        let offline = cambist(&offline, &[], b"").await;
        assert_eq!(online.stdout, offline.stdout, "{more:?}");
        online
    };
    let all = lines(&query(&["--json", "--limit", "6"]).await);
    assert_eq!(all, broker.records()[..6]);
    let issues = query(&["--json", "--kind", "issue", "--credential", &id]).await;
    let issues = lines(&issues);
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0]["jti"], jti);
    let newest = [
        "--json", "--newest", "--limit", "1", "--since", "1h", "--kind", "admin",
    ];
    let newest = lines(&query(&newest).await);
    assert_eq!(newest[0]["action"], "key.suspend");
    let none = query(&["--code", "credential_spent"]).await;
    assert_eq!(none.stdout, "There are no such records.\n");
    let table = query(&[
        "--owner",
        "team-shop",
        "--kind",
        "issue",
        "--kind",
        "refuse",
    ])
    .await;
    let rows: Vec<_> = table.stdout.lines().collect();
    assert_eq!(rows.len(), 3, "{table:?}");
    assert!(rows[0].starts_with("SEQ") && rows[1].ends_with(&jti));
    assert!(rows[2].contains("scope_not_allowed"), "{table:?}");
    let csv = query(&["--csv", "--token", &jti]).await;
    let rows: Vec<_> = csv.stdout.lines().collect();
    assert_eq!(rows.len(), 2);
    let columns = |row: &str| row.split(',').count();
    assert_eq!(columns(rows[0]), columns(rows[1]));
    // What is in a record is no word to a terminal.
    for args in [&["--json"][..], &["--csv"], &[]] {
        let ran = query(&[args, &["--action", "key.suspend"]].concat()).await;
        let is_evil = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stdout.contains(is_evil), "{ran:?}");
    }
    // Who is nobody in particular is counted by network.
    let garbage = ask(api_key("garbage"), "shop");
    broker.anybody().await.no(garbage).await;
    let summary = broker.record(|record| record["kind"] == "refusals").await;
    // The broker tells what is durable, the files what is written.
    broker.published(summary["seq"].as_u64().unwrap() + 1).await;
    let of =
        async |network: &str| query(&["--json", "--kind", "refusals", "--network", network]).await;
    for network in ["127.0.0.0/24", "127.0.0.1"] {
        assert_eq!(lines(&of(network).await), slice::from_ref(&summary));
    }
    for network in ["127.0.1.0/24", "127.0.1.1"] {
        assert_eq!(of(network).await.stdout, "");
    }
    let ran = broker
        .run_as_admin(&["audit", "query", "--csv", "--json"])
        .await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // Neither a folder that is not there nor the one above the log's has an answer.
    let above = broker.path("data").display().to_string();
    for (dir, says) in [("/nowhere", "is no folder"), (&above, "look in")] {
        for args in [&["query"][..], &["show", &jti]] {
            let ran = cambist(&[&["audit"], args, &["--dir", dir]].concat(), &[], b"").await;
            assert_eq!(ran.code, Some(2), "{ran:?}");
            assert!(ran.stderr.contains(says), "{ran:?}");
        }
    }
    let ran = broker.run_as_anybody(&["audit", "query", "--json"]).await;
    super::assert_refused(&ran, "not_authorised");
}

type IsWanted<'a> = &'a dyn Fn(&Value) -> bool;

/// Each flag, by what the records say themselves.
#[tokio::test]
async fn a_flag_finds_what_it_says_and_nothing_else() {
    let (broker, id, jti) = broker().await;
    let all = broker.records();
    let issue = all.iter().find(|record| record["jti"] == *jti).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (who, rule) = (text(&issue["sub"]), text(&issue["rules"][0]));
    let (when, target) = (text(&issue["time"]), format!("key:{id}"));
    let time = |record: &Value| {
        record["time"]
            .as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
    };
    let issued = time(issue);
    let lists = |list: &Value, wanted: &str| {
        let list = list.as_array().into_iter().flatten();
        list.into_iter().any(|value| value == wanted)
    };
    let flags: [(&str, &str, IsWanted<'_>); 8] = [
        ("--principal", &who, &|record| record["sub"] == *who),
        ("--audience", "shop", &|record| {
            record["ask"]["audience"] == "shop" || record["grant"]["audience"] == "shop"
        }),
        ("--rule", &rule, &|record| lists(&record["rules"], &rule)),
        ("--target", &target, &|record| record["target"] == *target),
        ("--action", "key.create", &|record| {
            record["action"] == "key.create"
        }),
        ("--network", "127.0.0.0/8", &|record| {
            let address = record["peer"]["address"].as_str();
            address.is_some_and(|address| address.starts_with("127."))
        }),
        ("--from", &when, &|record| time(record) >= issued),
        ("--until", &when, &|record| time(record) < issued),
    ];
    let last = &all.last().unwrap()["seq"];
    for (flag, value, is_wanted) in flags {
        let ran = broker
            .run_as_admin(&["audit", "query", "--json", flag, value])
            .await;
        let mut found = lines(&ran);
        // A checkpoint may have come since.
        found.retain(|record| record["seq"].as_u64() <= last.as_u64());
        let wanted: Vec<_> = all.iter().filter(|record| is_wanted(record)).collect();
        assert!(!wanted.is_empty() && wanted.len() < all.len(), "{flag}");
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{flag}");
    }
}

/// Ends a broker, and copies its log with a word changed in it.
async fn damaged(broker: &mut Broker, word: &str, into: &str) -> String {
    assert!(broker.terminate().await.success());
    let copy = broker.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for segment in crate::support::broker::segments(&broker.path("data/log")) {
        let text = std::fs::read_to_string(&segment).unwrap();
        let text = text.replacen(word, into, 1);
        std::fs::write(copy.join(segment.file_name().unwrap()), text).unwrap();
    }
    copy.to_str().unwrap().to_owned()
}

/// What cannot be read is told, and the rest is shown.
#[tokio::test]
async fn a_damaged_log_is_searched_as_far_as_it_can_be_read() {
    let (mut broker, _, jti) = broker().await;
    let copy = damaged(&mut broker, "\"kind\":\"refuse\"", "\"kind\":\"refuse").await;
    let args = ["audit", "query", "--dir", &copy, "--json"];
    let ran = cambist(&args, &[], b"").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(&jti), "{ran:?}");
    assert!(ran.stderr.contains("cannot be read"), "{ran:?}");
}

/// What is missing from a story may be that the token was revoked: no script takes it for the whole.
#[tokio::test]
async fn a_story_of_which_something_cannot_be_read_is_told_and_is_no_success() {
    let (mut broker, _, jti) = broker().await;
    let word = "\"action\":\"key.suspend\"";
    let copy = damaged(&mut broker, word, "\"action\";\"key.suspend\"").await;
    for more in [&["--json"][..], &[]] {
        let args = [&["audit", "show", &jti, "--dir", &copy], more].concat();
        let ran = cambist(&args, &[], b"").await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains(&jti), "{ran:?}");
        assert!(!ran.stdout.contains("key.suspend"), "{ran:?}");
        assert!(ran.stderr.contains("cannot be read"), "{ran:?}");
    }
    let folder = broker.argument("data/log");
    let whole = ["audit", "show", &jti, "--dir", &folder, "--json"];
    let whole = cambist(&whole, &[], b"").await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.stdout.contains("key.suspend"), "{whole:?}");
}

/// Somebody who follows sees what comes, also from a broker that was started again meanwhile.
#[tokio::test]
async fn a_tail_outlives_the_broker() {
    let mut broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let mut tail = Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args([
            "audit",
            "tail",
            "--json",
            "--kind",
            "issue",
            "--from-sequence",
            "0",
        ])
        .env_clear()
        .env("CAMBIST_SERVER", broker.socket_address())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(tail.stdout.take().unwrap()).lines();
    for restart in [false, true] {
        if restart {
            broker.restart().await;
        }
        let jti = exchange(&broker, "key", &[]).await.json()["token_id"].take();
        let line = within("a line", printed.next_line())
            .await
            .unwrap()
            .unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(record["jti"], jti);
    }
}

/// Colours are for people: on a terminal, and nowhere else.
#[tokio::test]
async fn a_tail_is_coloured_on_a_terminal() {
    let (broker, _, jti) = broker().await;
    let args = ["audit", "tail", "--kind", "issue", "--from-sequence", "0"];
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        command.args(args).env_clear().kill_on_drop(true);
        command
            .env("CAMBIST_SERVER", broker.socket_address())
            .env("TERM", "xterm");
        command
    };
    let Terminal { outside, inside } = Terminal::of_columns(80);
    let on_terminal = command().stdout(Stdio::from(inside)).spawn().unwrap();
    let outside = tokio::fs::File::from_std(outside);
    let mut shown = BufReader::new(outside).lines();
    let shown = within("a line", shown.next_line()).await.unwrap().unwrap();
    drop(on_terminal);
    assert!(shown.contains("\u{1b}[32missue"), "{shown:?}");
    let mut piped = command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(piped.stdout.take().unwrap()).lines();
    let line = within("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(!line.contains('\u{1b}'), "{line:?}");
    for said in [
        "issue",
        "shop",
        "orders:read orders:write",
        "keys-of-teams",
        &jti,
    ] {
        assert!(line.contains(said) && shown.contains(said), "{line:?}");
    }
}

#[tokio::test]
async fn a_story_is_told_and_a_record_is_proven_offline() {
    let (broker, id, jti) = broker().await;
    let folder = broker.argument("data/log");
    let online = broker
        .run_as_admin(&["audit", "show", &jti, "--json"])
        .await;
    let offline = ["audit", "show", &jti, "--dir", &folder, "--json"];
    let offline = cambist(&offline, &[], b"").await;
    assert_eq!(online.stdout, offline.stdout, "{online:?}");
    let told = online.json();
    let relations: Vec<_> = told["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["relation"])
        .collect();
    assert_eq!(relations, ["token", "change"]);
    assert_eq!(told["records"][1]["record"]["action"], "key.suspend");
    let ran = broker.run_as_admin(&["audit", "show", &jti]).await;
    assert!(ran.stdout.starts_with("token"), "{ran:?}");
    for said in [
        &jti,
        &id,
        "team-shop",
        "orders:read orders:write",
        "key.suspend",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    for args in [
        &["audit", "show", "AAAAAAAAAAAAAAAAAAAAAA", "--json"][..],
        &["audit", "prove", "99999", "--json"],
    ] {
        let ran = broker.run_as_admin(args).await;
        super::assert_refused(&ran, "not_found");
        assert!(ran.stderr.contains("cambist audit query"), "{ran:?}");
    }

    let (proof, record) = (broker.argument("proof"), broker.argument("record"));
    let prove = [
        "audit",
        "prove",
        &jti,
        "--out",
        &proof,
        "--record-out",
        &record,
    ];
    let ran = broker.run_as_admin(&prove).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let index = told["records"][0]["sequence"].to_string();
    let ran = broker.run_as_admin(&["audit", "prove", &index]).await;
    assert!(
        ran.stdout.starts_with("c2sp.org/tlog-proof@v1\nindex "),
        "{ran:?}"
    );
    let key = broker.path("data/log").join(cambist::audit::DiskShelf::KEY);
    let check = async || {
        let key = key.to_str().unwrap();
        let args = [
            "audit",
            "check-proof",
            &proof,
            "--record",
            &record,
            "--key",
            key,
            "--json",
        ];
        cambist(&args, &[], b"").await
    };
    let ran = check().await;
    assert_eq!(
        (ran.code, ran.json()["sequence"].to_string()),
        (Some(0), index)
    );
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, format!("{text}\n")).unwrap();
    assert_eq!(check().await.code, Some(0), "an editor's last newline");
    std::fs::write(&record, text.replace("team-shop", "team-shoq")).unwrap();
    let ran = check().await;
    assert_eq!(
        (ran.code, ran.error()["code"].as_str()),
        (Some(5), Some("unverified"))
    );
}
