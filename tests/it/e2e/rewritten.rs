//! Whoever can write to the log's folder, and to nothing else, has no other past signed by it: what tells on them there is taken
//! away or put back to what it was, and somebody else knows better.

use crate::support::broker::{Site, segments};
use crate::support::disk::copy_folder;
use crate::support::edge::until;
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::keys::{Kek, LogKey};
use cambist::proto::BackupRequest;
use cambist::store::embedded::EmbeddedStore;
use cambist::store::{Key, Store as _};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const COPY: &str = "\n[[log.copy]]\nfile = \"other/checkpoint\"\nrequired = true\n";

fn written(log: &Path) -> Vec<Vec<u8>> {
    let segments = segments(log).into_iter();
    segments.map(|path| fs::read(path).unwrap()).collect()
}

/// Changes what was issued last.
fn rewrite(log: &Path) {
    let last = segments(log).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let (before, after) = text.rsplit_once("\"audience\":\"shop\"").unwrap();
    fs::write(&last, format!("{before}\"audience\":\"shot\"{after}")).unwrap();
}

/// Takes the last record away.
fn cut(log: &Path) {
    let last = segments(log).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&last, format!("{kept}\n")).unwrap();
}

fn take_tree(log: &Path) {
    fs::remove_file(log.join("checkpoint")).unwrap();
    fs::remove_dir_all(log.join("tile")).unwrap();
}

/// The tree as it was once: signed by the log's key, and sound.
fn put_tree_back(log: &Path) {
    take_tree(log);
    let earlier = log.join("../../earlier");
    fs::copy(earlier.join("checkpoint"), log.join("checkpoint")).unwrap();
    copy_folder(&earlier.join("tile"), &log.join("tile"));
}

#[tokio::test]
async fn the_store_knows_what_was_published_last() {
    let site = Site::new();
    let (data, log) = (site.path("data"), site.path("data/log"));
    site.issue_and_stop(2).await;
    copy_folder(&log, &site.path("earlier"));
    site.issue_and_stop(20).await;
    copy_folder(&data, &site.path("put-by"));
    let put_back = || {
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&site.path("put-by"), &data);
    };
    let refused = async |word: &str| {
        let before = (written(&log), fs::read(log.join("checkpoint")).ok());
        site.refuses(&[
            "the log's checkpoint in the store",
            word,
            "--accept-rollback",
        ])
        .await;
        // Nothing but that there is nothing was signed.
        assert_eq!(written(&log), before.0);
        let signed = fs::read_to_string(log.join("checkpoint")).unwrap();
        let is_empty = signed.lines().nth(1) == Some("0");
        assert!(is_empty || Some(signed.into_bytes()) == before.1);
    };
    for tree in [take_tree, put_tree_back] {
        for (tamper, word) in [
            (rewrite as fn(&Path), "are not those"),
            (cut, "the log ends at"),
        ] {
            put_back();
            tree(&log);
            tamper(&log);
            refused(word).await;
            // Not at a second start either.
            refused(word).await;
        }
        // Without what was changed, it is the same log.
        put_back();
        tree(&log);
        assert!(site.start().await.terminate().await.success());
        site.verify_log(&mut Vec::new());
    }
    // Accepted, it is another log, and goes on from there.
    put_back();
    take_tree(&log);
    rewrite(&log);
    let mut accepted = site.accept_rollback().await;
    accepted.issue(1).await;
    assert!(accepted.terminate().await.success());
    site.start().await.terminate().await;
    take_tree(&log);
    rewrite(&log);
    refused("are not those").await;
}

/// What keeps a checkpoint out of the folder does not keep it from the store.
#[tokio::test]
async fn what_could_not_be_published_is_known_at_the_next_start() {
    let site = Site::new();
    let log = site.path("data/log");
    let [checkpoint, away] = [log.join("checkpoint"), site.path("away")];
    let mut broker = site.start().await;
    broker.issue(1).await;
    fs::rename(&checkpoint, &away).unwrap();
    fs::create_dir_all(checkpoint.join("in-the-way")).unwrap();
    broker.issue(3).await;
    assert!(broker.terminate().await.success());
    fs::remove_dir_all(&checkpoint).unwrap();
    fs::rename(&away, &checkpoint).unwrap();
    let whole = segments(&log).pop().unwrap();
    let before = fs::read(&whole).unwrap();
    for (tamper, word) in [
        (rewrite as fn(&Path), "are not those"),
        (cut, "the log ends at"),
    ] {
        tamper(&log);
        site.refuses(&[word]).await;
        fs::write(&whole, &before).unwrap();
    }
    site.issue_and_stop(1).await;
    site.verify_log(&mut Vec::new());
}

/// While a broker runs, the store is told every few seconds, and at its start.
#[tokio::test]
async fn the_store_knows_what_was_published_without_a_stop() {
    let site = Site::new();
    let log = site.path("data/log");
    let mut broker = site.start().await;
    let issued = broker.issue(2).await;
    let backups = Cell::new(0);
    until("it to be kept", async || {
        backups.set(backups.get() + 1);
        let path = site.path(&format!("backup-{}", backups.get()));
        let path = path.to_str().unwrap().to_owned();
        let mut inventory = broker.inventory().await;
        let request = BackupRequest { path: path.clone() };
        inventory.backup(request).await.unwrap();
        kept_size(Path::new(&path)).await >= issued
    })
    .await;
    broker.kill9().await;
    take_tree(&log);
    rewrite(&log);
    site.refuses(&["the log's checkpoint in the store"]).await;
}

/// How many records the checkpoint is of that a store holds.
async fn kept_size(store: &Path) -> u64 {
    let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
    let store = EmbeddedStore::open(store, clock, random).unwrap();
    let key = Key::new("meta/checkpoint").unwrap();
    let Some(kept) = store.read(&key).await.unwrap() else {
        return 0;
    };
    let kept: Value = serde_json::from_slice(kept.value.as_bytes()).unwrap();
    kept["size"].as_u64().unwrap()
}

/// Appends a line that was made of the last one that `like` holds for, in its place.
fn append(log: &Path, like: &str, change: impl FnOnce(&mut Value)) {
    let last = segments(log).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let next = text.lines().count() - 1;
    let line = text.lines().rfind(|line| line.contains(like)).unwrap();
    let mut record: Value = serde_json::from_str(line).unwrap();
    record["seq"] = next.into();
    record["batch"] = next.into();
    change(&mut record);
    fs::write(&last, format!("{text}{record}\n")).unwrap();
}

#[tokio::test]
async fn a_log_that_was_stopped_has_no_more_records_at_the_next_start() {
    let site = Site::new();
    let log = site.path("data/log");
    site.issue_and_stop(2).await;
    let segment = segments(&log).pop().unwrap();
    let before = fs::read(&segment).unwrap();
    append(&log, "\"kind\":\"issue\"", |record| {
        record["sub"] = "spiffe://example.org/innocent".into();
    });
    for _ in 0..2 {
        let added = fs::read(&segment).unwrap();
        site.refuses(&[
            "the log ended at",
            "when the broker stopped",
            "--accept-rollback",
        ])
        .await;
        assert_eq!(fs::read(&segment).unwrap(), added);
    }
    // Without it, it goes on, and may be killed.
    fs::write(&segment, &before).unwrap();
    let mut broker = site.start().await;
    broker.issue(1).await;
    broker.kill9().await;
    let mut broker = site.start().await;
    assert!(broker.terminate().await.success());
    // Accepted, what was added stays, and all that was issued is cut off.
    append(&log, "\"kind\":\"issue\"", |_| {});
    let mut accepted = site.accept_rollback().await;
    assert!(accepted.terminate().await.success());
    site.start().await.terminate().await;
}

/// What is done again in a store that was put back is what the broker had committed, and in the log's order.
#[tokio::test]
async fn nothing_is_done_again_that_the_broker_did_not_commit() {
    let site = Site::new();
    let (data, log) = (site.path("data"), site.path("data/log"));
    let mut broker = site.start().await;
    broker.issue(2).await;
    // Nothing says here where the log ended.
    broker.kill9().await;
    copy_folder(&data, &site.path("put-by"));
    let beyond = |record: &mut Value| {
        let revision = record["store"]["rev"].as_str().unwrap();
        let (incarnation, counter) = revision.split_once('.').unwrap();
        let counter = counter.parse::<u64>().unwrap() + 1;
        record["store"]["rev"] = format!("{incarnation}.{counter}").into();
        record["store"]["effect"] = json!([{ "put": "key/AAAAAAAAAAAAAAAA", "value": "e30=" }]);
    };
    let unmarked = |record: &mut Value| {
        beyond(record);
        record.as_object_mut().unwrap().remove("store_mac");
    };
    // As if the log had the store's next change already, and had it done again; and one more time what it has.
    let again = |_: &mut Value| {};
    let changes: [&dyn Fn(&mut Value); 3] = [&beyond, &unmarked, &again];
    for change in changes {
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&site.path("put-by"), &data);
        append(&log, "\"store_mac\"", change);
        site.refuses(&["that this broker did not write there", "--accept-rollback"])
            .await;
        // Nothing of it came into the store: with the log as it was, it goes on.
        fs::remove_dir_all(&log).unwrap();
        copy_folder(&site.path("put-by/log"), &log);
        let mut broker = site.start().await;
        broker.issue(1).await;
        broker.kill9().await;
    }
}

/// No key but the log's own signs what was put in the records' place.
#[tokio::test]
async fn a_log_that_has_lost_its_key_gets_no_other_one() {
    for copies in [String::new(), COPY.to_owned()] {
        let site = Site::with(|setup| setup.config.push_str(&copies));
        fs::create_dir(site.path("other")).unwrap();
        site.issue_and_stop(3).await;
        let (log, copy) = (site.path("data/log"), site.path("other/checkpoint"));
        let kept = fs::read(&copy).ok();
        rewrite(&log);
        fs::rename(log.join("vkey"), log.join("vkey.x")).unwrap();
        take_tree(&log);
        let key = fs::read(log.join("key")).unwrap();
        fs::remove_file(log.join("key")).unwrap();
        // Nor if it is still there, as one that was set aside.
        for name in [None, Some("key.x")] {
            if let Some(name) = name {
                fs::write(log.join(name), &key).unwrap();
            }
            let before = written(&log);
            site.refuses(&["the key that it signs", "--accept-rollback"])
                .await;
            assert!(!log.join("key").exists() && !log.join("checkpoint").exists());
            assert_eq!(written(&log), before);
            assert_eq!(fs::read(&copy).ok(), kept);
        }
        // Accepted, it is another log, and says so.
        let mut accepted = site.accept_rollback().await;
        assert!(accepted.terminate().await.success());
        site.start().await.terminate().await;
    }
}

const NOT_OWN: &str = "the header is not as this broker wrote it";

fn without_tag(segment: &str) -> String {
    let (header, records) = segment.split_once('\n').unwrap();
    let (said, _) = header.split_once(r#","mac":"#).unwrap();
    format!("{said}}}\n{records}")
}

/// What a header says is no leaf of the tree: the broker goes by its tag, and by none that is not there.
#[tokio::test]
async fn no_header_is_gone_by_that_the_broker_did_not_write() {
    let site = Site::new();
    let log = site.path("data/log");
    site.issue_and_stop(2).await;
    let segment = segments(&log).pop().unwrap();
    let before = fs::read_to_string(&segment).unwrap();
    let far = r#""mark":"9000-01-01T00:00:00Z""#;
    let changed = before.replacen(r#""mark":null"#, far, 1);
    assert_ne!(changed, before);
    for text in [&changed, &without_tag(&changed), &without_tag(&before)] {
        fs::write(&segment, text).unwrap();
        site.refuses(&[NOT_OWN]).await;
    }
    // That all of them have one is in no hand but the broker's.
    let key = fs::read_to_string(log.join("key")).unwrap();
    for (version, said) in [(2, r#","signed_from":1000000"#), (1, "")] {
        let other = key.replacen(r#","signed_from":0"#, said, 1);
        assert_ne!(other, key);
        let other = other.replacen(r#""version":2"#, &format!("\"version\":{version}"), 1);
        fs::write(log.join("key"), other).unwrap();
        site.refuses(&["does not open"]).await;
    }
    fs::write(log.join("key"), key).unwrap();
    fs::write(&segment, before).unwrap();
    site.issue_and_stop(1).await;
}

/// The log would end far behind its records, and no checkpoint be of any that comes.
#[tokio::test]
async fn a_segment_that_was_put_behind_the_last_one_is_refused_by_name() {
    let site = Site::new();
    let log = site.path("data/log");
    let mut broker = site.start().await;
    broker.issue(2).await;
    broker.kill9().await;
    let last = fs::read_to_string(segments(&log).pop().unwrap()).unwrap();
    let end = last.lines().count() - 1;
    for beyond in [0, 1, 1_000_000] {
        let first = end + beyond;
        let name = format!("{first:020}.seg");
        let header = last.lines().next().unwrap();
        let tagged = header.replacen(r#""first":0"#, &format!("\"first\":{first}"), 1) + "\n";
        for stray in [without_tag(&tagged), tagged] {
            fs::write(log.join(&name), stray).unwrap();
            site.refuses(&[&name, NOT_OWN, "move the file away"]).await;
        }
        fs::remove_file(log.join(&name)).unwrap();
    }
    site.issue_and_stop(1).await;
    site.verify_log(&mut Vec::new());
}

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A log as an earlier version began it: no header has a tag, and the key knows of none.
fn begin_earlier(site: &Site) {
    let log = site.path("data/log");
    fs::create_dir_all(&log).unwrap();
    for private in [&site.path("data"), &log] {
        fs::set_permissions(private, Permissions::from_mode(0o700)).unwrap();
    }
    let kek = Kek::from_file(&site.path("seal.key")).unwrap();
    let random = SystemRandomness::shared();
    LogKey::create(&log.join("key"), ID, None, &kek, &*random).unwrap();
    let header = json!({
        "cambist": "log",
        "version": 2,
        "origin": format!("{}/node-1", site.issuer),
        "log": ID,
        "first": 0,
        "created": "2020-01-01T00:00:00Z",
        "drained": null,
        "drained_at": null,
        "mark": null,
        "previous": null,
    });
    fs::write(log.join(format!("{:020}.seg", 0)), format!("{header}\n")).unwrap();
}

/// It is gone on with, and from its first tag on every header has one.
#[tokio::test]
async fn a_log_of_an_earlier_version_is_held_to_its_tags_once_it_has_some() {
    let site = Site::new();
    let log = site.path("data/log");
    begin_earlier(&site);
    let says = |said: &str| {
        let key = fs::read_to_string(log.join("key")).unwrap();
        assert!(key.contains(said), "{key}");
    };
    // Its first segment is older than a day: the next one is begun.
    site.issue_and_stop(1).await;
    says(r#""version":1"#);
    let all = segments(&log);
    assert_eq!(all.len(), 2);
    let before = fs::read_to_string(&all[1]).unwrap();
    // Nobody knows yet.
    site.issue_and_stop(1).await;
    let first: u64 = all[1]
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    says(&format!(r#""signed_from":{first}"#));
    let last = segments(&log).pop().unwrap();
    assert_eq!(last, all[1]);
    let whole = fs::read_to_string(&last).unwrap();
    assert!(whole.starts_with(&before));
    fs::write(&last, without_tag(&whole)).unwrap();
    site.refuses(&[NOT_OWN]).await;
    fs::write(&last, &whole).unwrap();
    site.issue_and_stop(1).await;
    site.verify_log(&mut Vec::new());
}

/// What the log says of time counts no further than the store or the clock bear it out.
#[tokio::test]
async fn no_date_in_the_log_keeps_the_broker_from_issuing() {
    let site = Site::new();
    let log = site.path("data/log");
    let mut broker = site.start().await;
    broker.issue(1).await;
    broker.kill9().await;
    let issue_of_9000 = |record: &mut Value| record["iat"] = 221_845_392_000_i64.into();
    append(&log, "\"kind\":\"issue\"", issue_of_9000);
    let mut broker = site.start().await;
    broker.issue(1).await;
    assert!(broker.terminate().await.success());
    assert!(site.stderr().contains("the time does not count"));
    // Nor is it what an accepted rollback cuts off.
    append(&log, "\"kind\":\"issue\"", issue_of_9000);
    let mut accepted = site.accept_rollback().await;
    accepted.issue(1).await;
    assert!(accepted.terminate().await.success());
}
