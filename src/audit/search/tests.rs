use super::*;
use crate::audit::testing::{Memory, NOW, context, key_id, minted, open_with, options, token_id};
use crate::audit::{Act, ActKind, Field, Log, Options, Seen};
use crate::id::CredentialId;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Eight records in several segments: an issue, then an act on what the issue's number names, a second apart.
async fn log() -> (Arc<Memory>, Log) {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 1500,
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    for n in 0..4_u64 {
        let issue = opened.log.issue(minted(n.into()), &context());
        issue.await.unwrap();
        opened.clock.advance(1);
        let act = Act {
            target: Some(if n == 2 { "key:b" } else { "key:a" }),
            owner: None,
            ..Act::new(ActKind::Admin, "key.suspend")
        };
        opened.log.event(&act).await.unwrap();
    }
    assert!(device.segments().unwrap().len() > 2, "several segments");
    (device, opened.log)
}

fn term(field: Field, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::default().within(field, values)
}

fn found(device: &Arc<Memory>, filter: Filter, within: Range<u64>, order: Order) -> Vec<u64> {
    let all = search(Arc::clone(device) as _, filter, within, order).unwrap();
    all.map(|entry| entry.unwrap().sequence).collect()
}

#[tokio::test]
async fn records_are_found_by_what_they_say() {
    let (device, log) = log().await;
    let second = |n: i64| Timestamp::from_second(NOW + n).unwrap();
    let token = token_id(2).to_string();
    let credential = CredentialId::ApiKey(key_id()).to_string();
    let network = |text: &str| Filter {
        networks: vec![text.parse().unwrap()],
        ..Filter::default()
    };
    let between = |from, until| Filter {
        from: Some(second(from)),
        until: Some(second(until)),
        ..Filter::default()
    };
    for (filter, expected) in [
        (Filter::default(), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (term(Field::Kind, &["issue"]), vec![0, 2, 4, 6]),
        (term(Field::Token, &[&token]), vec![4]),
        (term(Field::Credential, &[&credential]), vec![0, 2, 4, 6]),
        (term(Field::Rule, &["ceiling.key"]), vec![0, 2, 4, 6]),
        (term(Field::Target, &["key:b"]), vec![5]),
        (term(Field::Target, &["key:a", "key:b"]), vec![1, 3, 5, 7]),
        (term(Field::Action, &["key"]), vec![]),
        (term(Field::Owner, &[]), vec![]),
        (network("192.0.2.0/24"), vec![0, 2, 4, 6]),
        (network("198.51.100.0/24"), vec![]),
        (between(1, 2), vec![1, 2]),
        (
            term(Field::Kind, &["issue"])
                .within(Field::Target, BTreeSet::from(["key:a".to_owned()])),
            vec![],
        ),
    ] {
        let got = found(&device, filter.clone(), 0..8, Order::OldestFirst);
        assert_eq!(got, expected, "{filter:?}");
        let mut newest = found(&device, filter.clone(), 0..8, Order::NewestFirst);
        newest.reverse();
        assert_eq!(newest, expected, "{filter:?}");
    }
    log.close().await;
}

#[tokio::test]
async fn what_is_wanted_twice_is_narrowed() {
    let wanted =
        term(Field::Owner, &["a", "b"]).within(Field::Owner, ["b".into(), "c".into()].into());
    assert_eq!(wanted, term(Field::Owner, &["b"]));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_and_the_rest_is_found() {
    let (device, log) = log().await;
    log.close().await;
    let first = device.segments().unwrap()[1];
    let text = String::from_utf8(device.bytes(first)).unwrap();
    device.set_bytes(
        first,
        text.replacen(r#""time":"#, r#""tome":"#, 1).into_bytes(),
    );
    let all = search(device as _, Filter::default(), 0..8, Order::OldestFirst).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
    assert_eq!(good.len(), 7);
    assert!(matches!(bad[..], [Err(ReadError::Unreadable(at))] if at == first));
}

/// What a search finds, and the first of what is not there in its place.
fn told(device: &Arc<Memory>, within: Range<u64>, order: Order) -> Vec<Result<u64, u64>> {
    let all = search(Arc::clone(device) as _, Filter::default(), within, order).unwrap();
    let all = all.map(|found| match found {
        Ok(entry) => Ok(entry.sequence),
        Err(ReadError::Missing(sequence)) => Err(sequence),
        Err(error) => panic!("{error}"),
    });
    all.collect()
}

#[tokio::test]
async fn what_is_known_to_be_there_and_is_not_is_told_once_and_in_its_place() {
    let (device, log) = log().await;
    log.close().await;
    let firsts = device.segments().unwrap();
    let (second, last) = (firsts[1], firsts[firsts.len() - 1]);
    let rest = |from: u64| (from..8).map(Ok);
    let up_to = |end: u64| (0..end).map(Ok).chain([Err(end)]).collect();
    let cases: [(&[u64], Option<usize>, Vec<_>); 4] = [
        (&[last], None, up_to(last)),
        (&[last], Some(device.bytes(last).len() - 20), up_to(7)),
        (
            &[0],
            None,
            [Err(0)].into_iter().chain(rest(second)).collect(),
        ),
        (&firsts, None, up_to(0)),
    ];
    for (taken, down_to, mut expected) in cases {
        let was: Vec<_> = taken.iter().map(|at| (*at, device.bytes(*at))).collect();
        for at in taken {
            device.take_away(*at, down_to);
        }
        assert_eq!(told(&device, 0..8, Order::OldestFirst), expected);
        expected.reverse();
        assert_eq!(told(&device, 0..8, Order::NewestFirst), expected);
        // What is not looked for is not missed.
        if taken == [last] {
            let found = told(&device, last - 1..last, Order::OldestFirst);
            assert_eq!(found, [Ok(last - 1)]);
        }
        for (at, bytes) in was {
            device.set_bytes(at, bytes);
        }
    }
    // However far the end is.
    let most = u64::MAX - 1;
    assert_eq!(told(&device, 0..most, Order::OldestFirst), up_to(8));
    let newest = told(&device, 0..most, Order::NewestFirst);
    assert!(newest.into_iter().rev().eq(up_to(8)));
}

#[tokio::test]
async fn a_long_segment_without_an_index_is_looked_through_a_part_at_a_time() {
    let device = Memory::new();
    let opened = open_with(&device, options()).unwrap();
    let records = UNINDEXED * 2 + 3;
    for _ in 0..records.div_ceil(1000) {
        let acts = (0..1000).map(|_| opened.log.event(&Act::new(ActKind::Admin, "key.suspend")));
        for act in acts.collect::<Vec<_>>() {
            act.await.unwrap();
        }
    }
    assert_eq!(device.segments().unwrap().len(), 1);
    for (within, order) in [
        (0..records, Order::OldestFirst),
        (0..records, Order::NewestFirst),
        (1..records - 1, Order::OldestFirst),
        (1..records - 1, Order::NewestFirst),
        (1..UNINDEXED + 1, Order::NewestFirst),
        (1..UNINDEXED + 2, Order::OldestFirst),
    ] {
        let mut expected: Vec<u64> = within.clone().collect();
        if order == Order::NewestFirst {
            expected.reverse();
        }
        let mut all = search(Arc::clone(&device) as _, Filter::default(), within, order).unwrap();
        assert_eq!(all.next().unwrap().unwrap().sequence, expected[0]);
        assert!(all.found.len() < UNINDEXED.try_into().unwrap());
        let rest: Vec<u64> = all.map(|entry| entry.unwrap().sequence).collect();
        assert_eq!(rest, expected[1..]);
    }
    // Its end is nowhere told.
    let all = found(&device, Filter::default(), 0..u64::MAX, Order::OldestFirst);
    assert_eq!(all.len() as u64, records.div_ceil(1000) * 1000);

    // What cannot be read is told once, from whichever side.
    opened.log.close().await;
    let mut bytes = device.bytes(0);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(b'x');
    device.set_bytes(0, bytes);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let all = search(
            Arc::clone(&device) as _,
            Filter::default(),
            0..records,
            order,
        )
        .unwrap();
        let bad: Vec<_> = all.filter(is_broken).collect();
        assert_eq!(bad.len(), 1, "{order:?}: {bad:?}");
    }
    // Without its header, no part of it can be read.
    let mut bytes = device.bytes(0);
    bytes[0] = b'x';
    device.set_bytes(0, bytes);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let all = search(
            Arc::clone(&device) as _,
            Filter::default(),
            0..records,
            order,
        )
        .unwrap();
        let all: Vec<_> = all.collect();
        assert!(matches!(all[..], [Err(_)]), "{order:?}: {all:?}");
    }
}

proptest! {
    /// Wherever a search begins and ends, and whichever way it goes, it finds what looking at every record finds.
    #[test]
    fn a_range_is_found_whole(start in 0_u64..10, length in 0_u64..10, newest in any::<bool>(), issues in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (device, log) = log().await;
            let (filter, step) = match issues {
                true => (term(Field::Kind, &["issue"]), 2),
                false => (Filter::default(), 1),
            };
            // No further than there are any: what is known to be there, and is not, is told.
            let within = start.min(8)..start.saturating_add(length).min(8);
            let mut expected: Vec<u64> =
                (0..8).filter(|n| within.contains(n) && n % step == 0).collect();
            let order = match newest {
                true => {
                    expected.reverse();
                    Order::NewestFirst
                }
                false => Order::OldestFirst,
            };
            assert_eq!(found(&device, filter, within, order), expected);
            log.close().await;
        });
    }

    #[test]
    fn time_is_half_open(from in 0_i64..5, until in 0_i64..5) {
        let at = |n| Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(n)).unwrap();
        let line = format!(r#"{{"v":1,"seq":0,"kind":"gap","time":"{}"}}"#, at(2));
        let filter = Filter { from: Some(at(from)), until: Some(at(until)), ..Filter::default() };
        let seen = Seen::read(line.as_bytes()).unwrap();
        prop_assert_eq!(filter.matches(&seen), from <= 2 && 2 < until);
    }
}
