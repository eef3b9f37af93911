//! What the log's writer knew to be missing, and left in the folder.

use super::*;
use cambist::audit::{Lack, OpenError};

/// The log's id, as its header has it.
fn id(log: &Published) -> String {
    let text = fs::read_to_string(log.path().join(SEGMENT)).unwrap();
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    header["log"].as_str().unwrap().to_owned()
}

fn keep(log: &Published, id: &str, records: u64) {
    let kept = format!(
        "{{\"cambist\":\"acknowledged\",\"version\":1,\"log\":\"{id}\",\"records\":{records}}}\n"
    );
    fs::write(log.path().join("acknowledged"), kept).unwrap();
}

/// Of all, and of what came after a checkpoint from before.
fn lack(log: &Published) -> Option<Lack> {
    let [all, rest] = [log.verify(), log.verify_rest()].map(|found| match found {
        Ok(_) => None,
        Err(Finding::Lacks(lack)) => Some(lack),
        Err(finding) => panic!("{finding}"),
    });
    assert_eq!(all, rest);
    all
}

#[tokio::test]
async fn acknowledged_records_that_no_checkpoint_is_of_are_missed_as_by_a_start() {
    let log = Published::new().await;
    let id = id(&log);
    let behind = |log| {
        let acknowledged = 300;
        Some(Lack::Behind { log, acknowledged })
    };
    keep(&log, &id, 300);
    assert_eq!(lack(&log), None);
    log.tamper(|lines| drop(lines.pop()));
    assert_eq!(lack(&log), behind(299));
    let other = id.chars().rev().collect::<String>();
    for records in [1, 300] {
        keep(&log, &other, records);
        assert_eq!(lack(&log), Some(Lack::Other));
    }
    let path = log.path().join("acknowledged");
    fs::write(&path, "{}").unwrap();
    assert_eq!(lack(&log), Some(Lack::Unreadable));
    // A start says the same.
    assert!(matches!(
        open(&log.path()),
        Err(OpenError::Lacks(Lack::Unreadable))
    ));
    keep(&log, &id, 300);
    let Err(OpenError::Lacks(told)) = open(&log.path()) else {
        panic!("it starts")
    };
    assert_eq!(Some(told), lack(&log));
    // What a checkpoint is of, it says itself.
    log.tamper(|lines| lines.truncate(271));
    assert!(matches!(
        log.verify(),
        Err(Finding::Missing {
            records: 270,
            checkpoint: 280
        })
    ));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(log.verify(), Err(Finding::Io(_))));
}

#[tokio::test]
async fn the_command_tells_what_is_missing() {
    let log = Published::new().await;
    let folder = log.path();
    keep(&log, &id(&log), 302);
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (dir, kept, earlier) = (at(""), at("kept"), at("earlier"));
    fs::write(&kept, log.key.to_string()).unwrap();
    for more in [&[][..], &["--from", &earlier]] {
        let args = ["audit", "verify", &dir, "--key", &kept, "--json"];
        let ran = cambist(&[&args[..], more].concat(), &[], b"").await;
        assert_eq!((ran.code, &*ran.stdout), (Some(5), ""), "{ran:?}");
        let cause = "the log ends at 300 records, and 302 had been acknowledged";
        assert_eq!(ran.error()["cause"], cause);
        // To read them all would tell no more.
        assert!(ran.error()["help"].is_null(), "{ran:?}");
    }
}
