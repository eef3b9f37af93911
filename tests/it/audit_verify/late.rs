//! What no log must show, by whomever it is signed.

use super::*;
use cambist::audit::Late;

/// Whoever holds the log's key can sign any records, but not ones that show what no log must.
#[tokio::test]
async fn an_issue_after_a_revocation_that_covers_it_is_found() {
    for (action, state, is_certain) in [
        ("key.revoke", "revoked", true),
        ("key.suspend", "suspended", false),
    ] {
        let log = Published::new().await;
        let folder = log.path();
        let revocation = format!(
            r#""kind":"admin","action":"{action}","credential":"key:aaaaaaaaaaaaaaaa","change":{{"state":"{state}"}}"#
        );
        let issue = r#""kind":"issue","sub":"s","lineage":{"c":["key:aaaaaaaaaaaaaaaa"],"l":[]}"#;
        log.tamper(|lines| {
            for (seq, members) in [(20, &*revocation), (30, issue)] {
                let time = "2026-11-22T12:00:00.000000Z";
                lines[seq + 1] =
                    format!(r#"{{"v":1,"seq":{seq},"time":"{time}",{members},"batch":0}}"#);
            }
        });
        fs::remove_dir_all(folder.join("tile")).unwrap();
        fs::remove_file(folder.join("checkpoint")).unwrap();
        publisher(&folder, 300).advance(300).unwrap();
        let (segments, shelf) = (Arc::new(DiskReader::new(&folder)), DiskShelf::new(&folder));
        let late = Late {
            issue: 30,
            revocation: 20,
        };
        let kept = folder.join("kept").to_str().unwrap().to_owned();
        fs::write(&kept, log.key.to_string()).unwrap();
        let args = ["audit", "verify", folder.to_str().unwrap(), "--key", &kept];
        let ran = cambist(&args, &[], b"").await;
        let told = cambist(&[&args[..], &["--json"]].concat(), &[], b"").await;
        match verify(segments, &shelf, &log.key, &[], |_| ()) {
            Err(Finding::Late(found)) => {
                assert!(is_certain && found == late, "{found}");
                assert_eq!((ran.code, told.code), (Some(5), Some(5)), "{ran:?}");
                let cause = told.error()["cause"].as_str().unwrap().to_owned();
                assert!(
                    cause.contains("record 30 ") && cause.contains("record 20,"),
                    "{cause}"
                );
            }
            // It may have been resumed before, and the log ends too soon to say so.
            Ok(sound) => {
                assert_eq!((is_certain, sound.doubt), (false, Some(late)));
                assert_eq!((ran.code, told.code), (Some(0), Some(0)), "{ran:?}");
                assert!(ran.stderr.contains("record 30 "), "{ran:?}");
                let doubt = serde_json::json!({"issue": 30, "revocation": 20});
                assert_eq!(told.json()["doubt"], doubt);
            }
            Err(finding) => panic!("{finding}"),
        }
    }
}
