use super::*;
use crate::audit::archive::{Archive, Archivist, Form};
use crate::audit::seen::Seen;
use crate::audit::testing::{Memory, NOW, context, minted, open_with, options, token_id};
use crate::audit::{Act, ActKind, Context, Device, Log, Options, Order, Refused, read, search};
use crate::authn::Peer;
use crate::refusal::{Code, Refusal};
use ipnet::IpNet;
use proptest::prelude::*;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

const RECORDS: u64 = 3000;

/// A log of a dozen blocks in a few segments: in order of time, but for some.
fn plain() -> &'static Arc<Memory> {
    static LOG: OnceLock<Arc<Memory>> = OnceLock::new();
    LOG.get_or_init(|| {
        let make = async {
            let device = Memory::new();
            let small = Options {
                segment_bytes: 250_000,
                ..options()
            };
            let opened = open_with(&device, small).unwrap();
            for n in 0..RECORDS {
                opened.clock.step(if n % 400 == 0 { -5 } else { 1 });
                if n % 3 == 0 {
                    let issue = opened.log.issue(minted(n.into()), &from(address(n)));
                    issue.await.unwrap();
                } else if is_summary(n) {
                    for stranger in [stranger(n), stranger(n + 1)] {
                        refuse(&opened.log, stranger);
                    }
                    opened.log.tick();
                } else {
                    let target = format!("key:{}", n / 500);
                    let act = Act {
                        target: Some(&target),
                        ..Act::new(ActKind::Admin, "key.suspend")
                    };
                    opened.log.event(&act).await.unwrap();
                }
            }
            opened.log.close().await;
            device
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        std::thread::spawn(|| runtime.unwrap().block_on(make))
            .join()
            .unwrap()
    })
}

/// Where the `n`th request came from: each from a host of its own, some hundreds of them in a network.
fn address(n: u64) -> IpAddr {
    let (site, host) = ((n / 500) as u8, n as u8);
    match n % 2 {
        0 => [10, 1, site, host].into(),
        _ => [0x2001, 0xdb8, site.into(), 0, 0, 0, 0, host.into()].into(),
    }
}

/// Whether the `n`th record counts what was refused to strangers.
fn is_summary(n: u64) -> bool {
    n % 30 == 1
}

/// Somebody who is known by no other record than a summary.
fn stranger(n: u64) -> IpAddr {
    let (site, part, host) = ((n / 300) as u8, (n / 30) as u16, n as u8);
    match n % 2 {
        0 => [10, 2, site, host].into(),
        _ => [0x2001, 0xdb9, site.into(), part, 0, 0, 0, host.into()].into(),
    }
}

fn refuse(log: &Log, address: IpAddr) {
    let no = Refusal::new(Code::CredentialMalformed, "checksum");
    log.refuse(&Refused::new(&no), &from(address));
}

fn from(address: IpAddr) -> Context {
    let peer = Arc::new(Peer {
        address: Some(address),
        ..Peer::default()
    });
    Context { peer, ..context() }
}

/// The log as it is at some time: some segments indexed, some compressed as well.
fn kept(steps: usize, unindexed: usize) -> Arc<Memory> {
    let device = plain().power_cut();
    let mut archivist = Archivist::new(Arc::clone(&device) as Arc<dyn Archive>);
    for _ in 0..steps {
        archivist.step(u64::MAX).unwrap();
    }
    for first in device.segments().unwrap().into_iter().take(unindexed) {
        device.distrust(first);
    }
    device
}

#[test]
fn a_header_that_names_other_blocks_than_its_records_make_is_not_believed() {
    let good = Header {
        blocks: 2,
        postings: 0,
        first: 0,
        records: 257,
        size: 1,
        times: (0, 0),
        whole: true,
    };
    let read = |header: Header| Header::read(&mut &*header.bytes(), 0, 257).unwrap();
    assert_eq!(read(good), Some(good));
    for blocks in [0, 1, 3, u32::MAX] {
        assert_eq!(read(Header { blocks, ..good }), None, "{blocks}");
    }
}

/// What looking at every record finds.
fn scan(device: &Arc<Memory>, filter: &Filter, within: Range<u64>) -> Vec<u64> {
    let all = read::records(Arc::clone(device) as Arc<dyn Device>, 0).unwrap();
    let all = all.map(Result::unwrap).filter(|entry| {
        within.contains(&entry.sequence) && filter.matches(&Seen::read(&entry.line).unwrap())
    });
    all.map(|entry| entry.sequence).collect()
}

fn found(device: &Arc<Memory>, filter: &Filter, within: Range<u64>, order: Order) -> Vec<u64> {
    let all = search(Arc::clone(device) as _, filter.clone(), within, order).unwrap();
    all.map(|entry| entry.unwrap().sequence).collect()
}

fn terms() -> impl Strategy<Value = Filter> {
    let issue = (0..RECORDS + 200).prop_map(|n| (Field::Token, token_id(n.into()).to_string()));
    let target = (0..8).prop_map(|n| (Field::Target, format!("key:{n}")));
    let kind = prop::sample::select(vec!["issue", "admin", "refusals", "gap"])
        .prop_map(|k| (Field::Kind, k.to_owned()));
    let term = prop_oneof![issue, target, kind];
    let times = (
        any::<bool>(),
        -10..RECORDS as i64 + 10,
        any::<bool>(),
        0_i64..2000,
    );
    let network = (0..RECORDS, 0_u8..33, any::<bool>()).prop_map(|(n, length, is_stranger)| {
        let address = if is_stranger { stranger(n) } else { address(n) };
        let length = length * if address.is_ipv4() { 1 } else { 4 };
        IpNet::new(address, length).unwrap().trunc()
    });
    let networks = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(network, 1..3),
    ];
    let all = (prop::collection::vec(term, 0..3), networks, times);
    all.prop_map(|(terms, networks, (late, from, early, length))| {
        let time = |second| Timestamp::from_second(NOW + second).unwrap();
        let mut filter = Filter {
            from: late.then(|| time(from)),
            until: early.then(|| time(from + length)),
            networks,
            ..Filter::default()
        };
        for (field, value) in terms {
            filter.terms.entry(field).or_default().insert(value);
        }
        filter
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is indexed and compressed by now, a search finds what a look at every record finds.
    #[test]
    fn an_index_changes_nothing_that_is_found(
        filter in terms(),
        steps in 0_usize..20,
        unindexed in 0_usize..4,
        start in 0..RECORDS,
        length in 0..RECORDS + 10,
    ) {
        let device = kept(steps, unindexed);
        let within = start..(start + length).min(RECORDS);
        let mut expected = scan(plain(), &filter, within.clone());
        prop_assert_eq!(&found(&device, &filter, within.clone(), Order::OldestFirst), &expected);
        expected.reverse();
        prop_assert_eq!(&found(&device, &filter, within, Order::NewestFirst), &expected);
    }

    /// A damaged index hides nothing.
    #[test]
    fn a_changed_index_is_not_believed(
        filter in terms(), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>(),
    ) {
        let device = kept(20, 0);
        let mut bytes = device.form_bytes(0, Form::Index).unwrap();
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << bit,
        }
        device.set_form(0, Form::Index, bytes);
        let expected = scan(plain(), &filter, 0..RECORDS);
        prop_assert_eq!(found(&device, &filter, 0..RECORDS, Order::OldestFirst), expected);
    }
}

/// The very byte that a record would be found by.
#[test]
fn a_changed_posting_hides_nothing() {
    let value = token_id(0).to_string();
    let wanted = Filter::default().within(Field::Token, [value.clone()].into());
    let posting = term(Field::Token, &value).to_le_bytes();
    for at in 0..POSTING {
        let device = kept(20, 0);
        let mut bytes = device.form_bytes(0, Form::Index).unwrap();
        let found_at = bytes.windows(8).position(|bytes| bytes == posting).unwrap();
        bytes[found_at + at] ^= 1;
        device.set_form(0, Form::Index, bytes);
        assert_eq!(found(&device, &wanted, 0..RECORDS, Order::OldestFirst), [0]);
        assert_eq!(device.form_bytes(0, Form::Index), None, "it is distrusted");
    }
}

/// It is what makes a search fast: of the blocks of the whole log, only the one with the token is read.
#[test]
fn only_blocks_that_may_hold_it_are_read() {
    let device = kept(20, 0);
    let firsts = device.segments().unwrap();
    let token = |n: u64| {
        let value = token_id(n.into()).to_string();
        Filter::default().within(Field::Token, [value].into())
    };
    let sealed = || firsts.iter().zip(firsts.iter().skip(1));
    let hit: Vec<Block> = sealed()
        .flat_map(|(first, next)| blocks(&*device, *first, *next, &token(999)).unwrap())
        .collect();
    assert!(
        matches!(&hit[..], [block] if block.next <= 999 && 999 < block.end && block.end - block.next <= 256),
        "{hit:?}"
    );
    let second = |n: i64| Timestamp::from_second(NOW + n).unwrap();
    let hour = Filter {
        from: Some(second(800)),
        until: Some(second(900)),
        ..Filter::default()
    };
    let within = sealed().flat_map(|(first, next)| blocks(&*device, *first, *next, &hour).unwrap());
    let within = within.count();
    assert!((1..=3).contains(&within), "{within} blocks");
    for (network, most) in [
        ("10.1.2.0/24", 4),
        ("10.1.2.9/32", 4),
        ("2001:db8:3::/48", 4),
        ("10.1.7.0/24", 0),
        ("10.2.3.0/24", 3),
        ("10.2.3.9/32", 3),
        ("2001:db9:3::/48", 3),
        ("2001:db9:3:9::/64", 3),
        ("2001:db9:3:9::1/128", 3),
        ("2001:db9:13::/64", 0),
    ] {
        let from = Filter {
            networks: vec![network.parse().unwrap()],
            ..Filter::default()
        };
        let within =
            sealed().flat_map(|(first, next)| blocks(&*device, *first, *next, &from).unwrap());
        let within = within.count();
        assert!(
            (most.min(1)..=most).contains(&within),
            "{within} blocks for {network}"
        );
    }
}

#[test]
fn an_index_of_another_segment_or_version_is_made_anew() {
    let device = kept(20, 0);
    let firsts = device.segments().unwrap();
    let own = device.form_bytes(0, Form::Index).unwrap();
    assert!(is_sound(&*device, 0, firsts[1]));
    assert!(!is_sound(&*device, 0, firsts[1] + 1), "of fewer records");
    let others = device.form_bytes(firsts[1], Form::Index).unwrap();
    let of_version = |version: u32| {
        let mut bytes = own.clone();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
        bytes
    };
    assert!(of_version(VERSION) == own);
    // The last one ruled out summaries by the networks that they count.
    let (newer, older) = (of_version(VERSION + 1), of_version(2));
    let cut = own[..HEADER - 1].to_vec();
    for strange in [others, newer, older, cut, Vec::new()] {
        device.set_form(0, Form::Index, strange.clone());
        assert!(!is_sound(&*device, 0, firsts[1]));
        let all = found(&device, &Filter::default(), 0..RECORDS, Order::OldestFirst);
        assert_eq!(all.len() as u64, RECORDS);
        device.set_form(0, Form::Index, strange);
        let mut archivist = Archivist::new(Arc::clone(&device) as Arc<dyn Archive>);
        archivist.step(u64::MAX).unwrap();
        assert!(device.form_bytes(0, Form::Index).unwrap() == own);
    }
}

#[test]
fn a_record_that_cannot_be_read_is_told_with_an_index_too() {
    let device = plain().power_cut();
    let first = device.segments().unwrap()[1];
    let text = String::from_utf8(device.bytes(first)).unwrap();
    device.set_bytes(
        first,
        text.replacen(r#""time":"#, r#""tome":"#, 1).into_bytes(),
    );
    let mut archivist = Archivist::new(Arc::clone(&device) as Arc<dyn Archive>);
    while archivist.step(u64::MAX).unwrap().is_some() {}
    let nothing = Filter::default().within(Field::Owner, BTreeSet::new());
    let all = search(device as _, nothing, 0..RECORDS, Order::NewestFirst).unwrap();
    let all: Vec<_> = all.collect();
    assert!(
        matches!(&all[..], [Err(read::ReadError::Unreadable(at))] if *at == first),
        "{all:?}"
    );
}

/// A segment with a summary, and some that follow it.
async fn summary() -> Arc<Memory> {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 1,
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    for stranger in ["198.51.100.9", "2001:db8:7:3::9"] {
        refuse(&opened.log, stranger.parse().unwrap());
    }
    opened.log.tick();
    for _ in 0..3 {
        let act = Act::new(ActKind::Admin, "key.create");
        opened.log.event(&act).await.unwrap();
    }
    opened.log.close().await;
    device
}

/// Makes the indexes. Gives the end of the first segment.
fn index(device: &Arc<Memory>) -> u64 {
    let mut archivist = Archivist::new(Arc::clone(device) as Arc<dyn Archive>);
    while archivist.step(u64::MAX).unwrap().is_some() {}
    let next = device.segments().unwrap()[1];
    assert!(is_sound(&**device, 0, next));
    next
}

#[tokio::test]
async fn a_summary_is_found_by_the_networks_that_it_counts() {
    let device = summary().await;
    let wanted = [
        // What it counts, wider ones, and parts of it.
        ("198.51.100.0/24", true),
        ("198.51.100.0/23", true),
        ("198.0.0.0/8", true),
        ("0.0.0.0/0", true),
        ("198.51.100.9/32", true),
        ("198.51.100.200/32", true),
        ("198.51.100.128/25", true),
        ("2001:db8:7::/48", true),
        ("2001:db8::/32", true),
        ("::/0", true),
        ("2001:db8:7:3::/64", true),
        ("2001:db8:7:ffff::/64", true),
        ("2001:db8:7:8000::/49", true),
        ("2001:db8:7:ffff::1/128", true),
        // Neighbours of it.
        ("198.51.101.0/24", false),
        ("198.51.101.9/32", false),
        ("198.51.102.0/23", false),
        ("199.0.0.0/8", false),
        ("2001:db8:8::/48", false),
        ("2001:db8:6:3::/64", false),
        ("2001:db8:6:3::9/128", false),
        ("2001:db9::/32", false),
    ];
    let of = |network: &str| Filter {
        networks: vec![network.parse().unwrap()],
        ..Filter::default()
    };
    let assert_found = |form: &str| {
        for (network, is_found) in wanted {
            let found = found(&device, &of(network), 0..4, Order::OldestFirst);
            let expected: &[u64] = if is_found { &[0] } else { &[] };
            assert_eq!(found, expected, "{network}, {form}");
        }
    };
    assert_found("without an index");
    let next = index(&device);
    assert_found("with an index");
    let both = Filter {
        networks: ["192.0.2.0/24", "2001:db8:7:9::/64"]
            .map(|one| one.parse().unwrap())
            .to_vec(),
        ..Filter::default()
    };
    assert_eq!(found(&device, &both, 0..4, Order::OldestFirst), [0]);
    for (network, is_found) in wanted {
        let blocks = blocks(&*device, 0, next, &of(network)).unwrap();
        // It is looked up in the /16 that holds it.
        let is_between = network.ends_with("/23");
        assert_eq!(!blocks.is_empty(), is_found || is_between, "{network}");
    }
}

/// No broker counts by such a network: if one ever does, nothing is missed.
#[tokio::test]
async fn a_summary_of_networks_of_other_lengths_is_found_as_well() {
    for (network, asked) in [
        ("198.51.100.0/20", "198.51.99.7/32"),
        ("198.51.100.0/30", "198.51.100.2/32"),
    ] {
        let device = summary().await;
        let text = String::from_utf8(device.bytes(0)).unwrap();
        assert!(text.contains("198.51.100.0/24"));
        let text = text.replacen("198.51.100.0/24", network, 1);
        device.set_bytes(0, text.into_bytes());
        index(&device);
        let filter = Filter {
            networks: vec![asked.parse().unwrap()],
            ..Filter::default()
        };
        assert_eq!(found(&device, &filter, 0..4, Order::OldestFirst), [0]);
    }
}

/// A hit is looked for where it should be: in few pages, whatever there is.
#[test]
fn postings_are_found_wherever_they_are() {
    for count in [0_u64, 1, 2, 340, 341, 342, 5000] {
        let keys: Vec<u64> = (0..count)
            .map(|n| term(Field::Token, &n.to_string()))
            .collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        let mut bytes = Vec::new();
        let entries = sorted.iter().map(|key| {
            let mut entry = [7; POSTING];
            entry[..8].copy_from_slice(&key.to_le_bytes());
            entry
        });
        pages::write(&mut bytes, entries);
        let pages = Pages::<POSTING>::new(0, count);
        assert_eq!(pages.end(), bytes.len() as u64);
        let mut input = io::Cursor::new(bytes);
        let mut reader = pages.reader(&mut input);
        for key in keys.into_iter().chain([0, 1, u64::MAX / 2, u64::MAX]) {
            let expected = sorted.partition_point(|other| *other < key);
            assert_eq!(reader.lower_bound(key).unwrap(), expected as u64);
        }
    }
}
