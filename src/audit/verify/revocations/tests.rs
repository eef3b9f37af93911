mod forged;

use super::*;
use crate::audit::CLOCK_CONFIRMED;
use forged::*;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Reads records that were made a second apart, unless they say when.
fn log<'a>(records: impl IntoIterator<Item = &'a Value>) -> Revocations {
    let mut revocations = Revocations::default();
    append(&mut revocations, 0, records);
    revocations
}

fn append<'a>(
    revocations: &mut Revocations,
    first: u64,
    records: impl IntoIterator<Item = &'a Value>,
) {
    for (seq, record) in (first..).zip(records) {
        let mut record = record.clone();
        record["seq"] = seq.into();
        if record["time"].is_null() {
            record["time"] = json!(at(NOW + i64::try_from(seq).unwrap()));
        }
        revocations.read(record.to_string().as_bytes());
    }
}

/// Records by which a log goes on for so many minutes from a second on.
fn going_on(from: i64, minutes: i64) -> Vec<Value> {
    let refusal = |minute| json!({"kind": "refuse", "time": at(from + 60 * minute)});
    (1..=minutes).map(refusal).collect()
}

/// What is found of records after which the log goes on for long enough.
fn found(records: &[Value]) -> Option<Late> {
    let after = going_on(NOW + i64::try_from(records.len()).unwrap(), 11);
    let read = log(records.iter().chain(&after));
    assert_eq!(read.doubt(), None, "{records:?}");
    read.late()
}

#[test]
fn an_issue_after_a_revocation_that_covers_it_is_found_with_both_records() {
    for (name, revocation, covered, other, can_be_taken_back) in kinds() {
        let late = Some(Late {
            issue: 2,
            revocation: 1,
        });
        let (before, after) = (other.clone(), other.clone());
        let records = [before, revocation.clone(), covered.clone(), after];
        assert_eq!(found(&records), late, "{name}");
        // The log may end before it is certain.
        let read = log(&records);
        match can_be_taken_back {
            true => assert_eq!((read.late(), read.doubt()), (None, late), "{name}"),
            false => assert_eq!((read.late(), read.doubt()), (late, None), "{name}"),
        }
        assert_eq!(read.count(), 1, "{name}");
        // Before it is as it should be, and so are others.
        assert_eq!(
            found(&[covered.clone(), revocation.clone()]),
            None,
            "{name}"
        );
        assert_eq!(found(&[revocation.clone(), other]), None, "{name}");
        // What the writer turned into a refusal is none.
        let mut refused = covered;
        refused["kind"] = "refuse".into();
        assert_eq!(found(&[revocation, refused]), None, "{name}");
    }
}

#[test]
fn what_was_taken_back_may_be_followed() {
    for (name, revocation, covered, _, can_be_taken_back) in kinds() {
        let release = match revocation["action"].as_str().unwrap() {
            MARKER_SET => {
                let mut release = revocation.clone();
                release["action"] = MARKER_REINSTATED.into();
                release["change"]["before"] = json!(at(0));
                release
            }
            "key.suspend" => key(
                "key.resume",
                "aaaaaaaaaaaaaaaa",
                &json!({"state": "active"}),
            ),
            _ => {
                assert!(!can_be_taken_back);
                continue;
            }
        };
        let records = [revocation.clone(), release.clone(), covered.clone()];
        assert_eq!(found(&records), None, "{name}");
        // It is in force as soon as the store has it, and on the record a little later.
        assert_eq!(
            found(&[revocation.clone(), covered.clone(), release.clone()]),
            None,
            "{name}"
        );
        // Set once more.
        let again = [
            revocation.clone(),
            release.clone(),
            revocation.clone(),
            covered.clone(),
        ];
        let late = Some(Late {
            issue: 3,
            revocation: 2,
        });
        assert_eq!(found(&again), late, "{name}");
        // The broker was down in between.
        let mut next_day = release.clone();
        let mut start = json!({"kind": "start", "action": "broker.start"});
        for record in [&mut next_day, &mut start] {
            record["time"] = json!(at(NOW + 86_400));
        }
        let crashed = [revocation.clone(), covered.clone(), start, next_day];
        assert_eq!(found(&crashed), None, "{name}");
        // Taken back long after: the issue was not of that.
        let mut records = vec![revocation, covered];
        records.extend(going_on(NOW + 2, 11));
        records.push(release);
        assert_eq!(
            found(&records),
            Some(Late {
                issue: 1,
                revocation: 0
            }),
            "{name}"
        );
    }
}

#[test]
fn a_log_goes_on_for_so_long_until_it_is_certain() {
    let minutes = LAG.as_mins();
    let late = Some(Late {
        issue: 1,
        revocation: 0,
    });
    let records = [ban(&format!("subject:{WEB}")), plain()];
    for (goes_on, is_certain) in [(minutes - 1, false), (minutes, true)] {
        let after = going_on(NOW + 1, goes_on);
        let read = log(records.iter().chain(&after));
        assert_eq!(
            (read.late() == late, read.doubt() == late),
            (is_certain, !is_certain)
        );
    }
}

#[test]
fn what_has_ended_covers_nothing() {
    let leeway = i64::try_from(limits::VERIFIER_LEEWAY.as_secs()).unwrap();
    let certificate = format!("credential:x509:{DIGEST}");
    // The issue is made a second later.
    for (ends, is_found) in [(NOW + 2, true), (NOW + 1, false), (NOW, false)] {
        let set = marker(MARKER_SET, &certificate, None, Some(ends + leeway));
        assert_eq!(found(&[set, plain()]).is_some(), is_found, "{ends}");
    }
    // By the time of any record, whatever the clock shows now.
    let set = marker(MARKER_SET, &certificate, None, Some(NOW + 5_000));
    let ahead = json!({"kind": "refuse", "time": at(NOW + 10_000)});
    assert_eq!(found(&[set, ahead, plain()]), None);
}

#[test]
fn what_ends_may_have_ended_by_a_clock_that_was_wrong() {
    let confirmed = json!({"kind": "admin", "action": CLOCK_CONFIRMED});
    let set = marker(
        MARKER_SET,
        &format!("credential:x509:{DIGEST}"),
        None,
        Some(NOW + 5_000),
    );
    assert_eq!(found(&[set.clone(), confirmed.clone(), plain()]), None);
    let late = Some(Late {
        issue: 2,
        revocation: 0,
    });
    for endless in [ban(&format!("subject:{WEB}")), compromised("k1")] {
        assert_eq!(found(&[endless, confirmed.clone(), plain()]), late);
    }
}

fn when(second: i64, mut record: Value) -> Value {
    record["time"] = json!(at(second));
    record
}

/// As it comes from the store's outbox.
fn stored(mut record: Value) -> Value {
    record["store"] = json!({"rev": "1"});
    record
}

#[test]
fn a_clock_that_was_ahead_hides_nothing_that_is_revoked_after_it() {
    let (ahead, token) = (NOW + 86_400, "token:AAAAAAAAAAAAAAAAAAAAAA");
    let confirmed = json!({"kind": "admin", "action": CLOCK_CONFIRMED});
    // Not all that comes after is of the log itself, and not always is there anything to confirm.
    let refused = json!({"kind": "refuse"});
    for until in [Some(NOW + 3_900), None] {
        for back in [Some(&confirmed), Some(&refused), None] {
            let mut records = vec![
                when(ahead, json!({"kind": "start", "action": "broker.start"})),
                when(ahead + 1, exchanged(&json!({}))),
            ];
            records.extend(back.map(|record| when(NOW, record.clone())));
            let revocation = records.len().try_into().unwrap();
            let set = stored(marker(MARKER_SET, token, None, until));
            records.extend([when(NOW + 1, set), when(NOW + 2, exchanged(&json!({})))]);
            let issue = revocation + 1;
            let late = Some(Late { issue, revocation });
            assert_eq!(found(&records), late, "{records:?}");
        }
    }
}

/// Also by less than what tells that it was set back.
#[test]
fn once_the_clock_is_confirmed_it_is_the_one_that_counts() {
    let leeway = i64::try_from(limits::VERIFIER_LEEWAY.as_secs()).unwrap();
    let confirmed = json!({"kind": "admin", "action": CLOCK_CONFIRMED});
    let certificate = format!("credential:x509:{DIGEST}");
    let set = marker(MARKER_SET, &certificate, None, Some(NOW + 30 + leeway));
    let records = [
        when(NOW + 60, json!({"kind": "refuse"})),
        when(NOW, confirmed),
        when(NOW + 1, set),
        when(NOW + 2, plain()),
    ];
    let late = Late {
        issue: 3,
        revocation: 2,
    };
    assert_eq!(found(&records), Some(late));
}

/// What the store held when the broker crashed is told by the next start, between what that does itself.
#[test]
fn what_is_told_late_makes_no_log_older() {
    let target = format!("subject:{WEB}");
    let mut records = vec![stored(ban(&target)), plain()];
    for second in 2..30 {
        let created = key("key.create", "aaaaaaaaaaaaaaaa", &json!({"spec": {}}));
        records.push(when(NOW - 3_600, stored(created)));
        records.push(when(NOW + second, json!({"kind": "refuse"})));
    }
    let release = marker(MARKER_REINSTATED, &target, Some(0), None);
    records.push(when(NOW - 3_600, stored(release)));
    assert_eq!(found(&records), None);
    // With nothing that takes it back, it is found when it is time.
    records.pop();
    let late = Late {
        issue: 1,
        revocation: 0,
    };
    assert_eq!(found(&records), Some(late));
}

#[test]
fn what_was_forgotten_covers_nothing() {
    let gap = |detail: &str| json!({"kind": "gap", "detail": detail, "dropped": 0});
    let unreadable = json!({"kind": "recovery", "action": UNREADABLE, "change": {"bytes": 1}});
    for revocation in [compromised("k1"), ban(&format!("subject:{WEB}"))] {
        for forgets in [gap(BEGUN_ANEW), unreadable.clone()] {
            assert_eq!(found(&[revocation.clone(), forgets.clone(), plain()]), None);
            let doubtful = [ban(&format!("subject:{WEB}")), plain(), forgets];
            assert_eq!(found(&doubtful), None);
        }
        // The log failed, and no more than that.
        let records = [revocation, gap("an I/O error"), plain()];
        assert!(found(&records).is_some());
    }
    // What an accepted rollback cuts off comes after that.
    let records = [
        compromised("k1"),
        gap(BEGUN_ANEW),
        rolled_back(NOW),
        plain(),
    ];
    assert_eq!(
        found(&records),
        Some(Late {
            issue: 3,
            revocation: 2
        })
    );
}

/// As records were before they said since when a cut-off counts.
#[test]
fn without_its_times_only_a_ban_covers_a_subject() {
    let mut old = plain();
    old.as_object_mut().unwrap().remove("began");
    for target in [
        format!("subject:{WEB}"),
        "trust_domain:a.example".to_owned(),
    ] {
        assert_eq!(found(&[cut(&target, NOW + 5), old.clone()]), None);
        assert!(found(&[ban(&target), old.clone()]).is_some());
    }
    assert!(found(&[cut("issuer:https://a", NOW), old]).is_some());
}

/// A client that presents a token may have been its actor before, or not: only its own time counts for sure.
#[test]
fn a_client_that_acts_is_held_against_its_own_time() {
    let renewed =
        exchanged(&json!({"began": {"subject": {"at": NOW - 60}, "actor": {"at": NOW - 30}}}));
    let target = format!("subject:{WEB}");
    assert_eq!(found(&[cut(&target, NOW - 40), renewed.clone()]), None);
    assert!(found(&[cut(&target, NOW - 30), renewed]).is_some());
}

#[test]
fn of_two_revocations_of_one_thing_the_first_that_covers_is_named() {
    let target = format!("subject:{WEB}");
    let records = [ban(&target), ban(&target), plain()];
    assert_eq!(
        found(&records),
        Some(Late {
            issue: 2,
            revocation: 0
        })
    );
    let records = [cut(&target, NOW - 700), ban(&target), plain()];
    assert_eq!(
        found(&records),
        Some(Late {
            issue: 2,
            revocation: 1
        })
    );
    let revoked = key(
        "key.revoke",
        "aaaaaaaaaaaaaaaa",
        &json!({"state": "revoked"}),
    );
    let records = [suspended(), revoked, exchanged(&json!({}))];
    assert_eq!(
        found(&records),
        Some(Late {
            issue: 2,
            revocation: 1
        })
    );
}

#[test]
fn what_is_no_revocation_is_passed_over() {
    let estate = json!({
        "kind": "admin", "action": "estate.revoke", "target": "owner:team", "owner": "team", "change": {"keys": 3},
    });
    let created = key("key.create", "aaaaaaaaaaaaaaaa", &json!({"spec": {}}));
    let spent =
        json!({"kind": "spend", "action": "key.spend", "credential": "key:aaaaaaaaaaaaaaaa"});
    let rotated = key(
        "key.rotate",
        "aaaaaaaaaaaaaaaa",
        &json!({"old_state": "active"}),
    );
    let upkeep = json!({"kind": "keys", "action": "signing_key.upkeep", "change": {"keys": [{"kid": "k1", "state": "retired"}]}});
    let odd = json!({"kind": "admin", "action": MARKER_SET, "target": 7, "change": []});
    let shapeless =
        json!({"kind": "admin", "action": MARKER_SET, "target": "subject:x", "change": 7});
    let records = [
        estate,
        created,
        spent,
        rotated,
        upkeep,
        odd,
        shapeless,
        exchanged(&json!({})),
    ];
    assert_eq!(found(&records), None);
    assert_eq!(log(&records).count(), 0);
}

#[test]
fn so_many_are_followed_at_once_and_not_one_more() {
    assert_eq!(Revocations::default().most, limits::REVOCATIONS_VERIFIED);
    let of = |number: usize, until| marker(MARKER_SET, &format!("subject:{number}"), None, until);
    let most = 3;
    let mut read = Revocations::of_at_most(most);
    let records: Vec<_> = (0..most).map(|number| of(number, None)).collect();
    append(&mut read, 0, &records);
    assert_eq!((read.left_out(), read.in_force.len()), (0, most));
    append(&mut read, 3, [&of(most, None)]);
    assert_eq!((read.left_out(), read.in_force.len()), (1, most));
    // What is among them is changed as ever, and what has ended makes room.
    append(&mut read, 4, [&of(0, Some(NOW)), &of(most, None)]);
    assert_eq!((read.left_out(), read.in_force.len()), (1, most));
    // Those that have ended are not kept for long where there is room for more.
    let ended: Vec<_> = (0..3 * FEW).map(|number| of(number, Some(NOW))).collect();
    assert!(log(&ended).in_force.len() <= FEW);
}
