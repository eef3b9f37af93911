//! A long log through the real writer, on a real disk: what does not grow with it, and what it costs. Signing is left out.
//!
//! A million records; ten with `CAMBIST_LONG` set. Figures are printed, with `--nocapture`; what is asserted is what was
//! found, and how much was read for it, not how long that took.

use crate::audit::device::{CreateError, Source};
use crate::audit::segment::Headers;
use crate::audit::testing::{NOW, ORIGIN, context, minted_of, token_id};
use crate::audit::{
    Archive, Archivist, Context, Device, Disk, DiskShelf, Done, Field, Filter, Leaves, Log,
    Options, Order, Publisher, Segment, Segments, Space, search, story,
};
use crate::authn::{Peer, Verified};
use crate::clock::testing::TestClock;
use crate::clock::{Clock as _, SystemClock, SystemRandomness};
use crate::id::{CredentialId, KeyPublicId};
use crate::keys::{Kek, LogKey};
use crate::policy::{Grant, Rule};
use crate::revocation::HotSet;
use jiff::Timestamp;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Records in a second of the log's own time: an hour is 72,000.
const RATE: u64 = 20;
const HOUR: u64 = 3600 * RATE;
/// Callers at the same time.
const CALLERS: u64 = 256;
/// Credentials that are used in turn.
const CREDENTIALS: u64 = 1000;
/// Records between two looks of publisher and archivist.
const ROUND: u64 = 100_000;
/// One request in so many is from a network that nobody expects.
const STRANGE: u64 = 100_000;
/// What a decision was made with, of the size that real ones have.
const INPUT: &str = r#"{"principal":{"type":"key","id":"deploy-frontend","owner":"shop","labels":{"env":"production","region":"eu-central-1"}},"audience":{"name":"https://api.example.org","owner":"platform","bound":true,"lifetime":900},"context":{"scopes":["read"],"network":"192.0.2.0/24","face":"grpc","schema":3,"policies":"5f1c9ab2"}}"#;

/// A disk that counts what is read of it.
#[derive(Debug)]
struct Counting(Arc<Disk>, Arc<AtomicU64>);

struct Counted(Box<dyn Source>, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Counting {
    fn counted(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        Box::new(Counted(source, Arc::clone(&self.1)))
    }

    fn taken(&self) -> u64 {
        self.1.swap(0, Ordering::Relaxed)
    }
}

impl Segments for Counting {
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.0.segments()
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.0.read(first).map(|source| self.counted(source))
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.0.index(first).map(|source| self.counted(source))
    }

    fn distrust(&self, first: u64) {
        self.0.distrust(first);
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.acknowledged()
    }

    fn leaves(&self) -> Option<&Leaves> {
        self.0.leaves()
    }
}

impl Device for Counting {
    fn repair(&self, first: u64, unsure: u64, size: u64) -> io::Result<()> {
        self.0.repair(first, unsure, size)
    }

    fn open(&self, first: u64) -> io::Result<Box<dyn Segment>> {
        self.0.open(first)
    }

    fn create(
        &self,
        first: u64,
        head: &[u8],
        space: Space,
    ) -> Result<Box<dyn Segment>, CreateError> {
        self.0.create(first, head, space)
    }

    fn keep_reserve(&self) -> io::Result<()> {
        self.0.keep_reserve()
    }

    fn is_low(&self, floor: u64) -> io::Result<bool> {
        self.0.is_low(floor)
    }

    fn keep_acknowledged(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.keep_acknowledged(bytes)
    }

    fn forget_acknowledged(&self) -> io::Result<()> {
        self.0.forget_acknowledged()
    }
}

fn now() -> Duration {
    static CLOCK: OnceLock<Arc<SystemClock>> = OnceLock::new();
    CLOCK.get_or_init(SystemClock::shared).monotonic()
}

/// Everything that is open while the log runs.
struct Running {
    disk: Arc<Counting>,
    log: Log,
    publisher: Arc<Publisher>,
    clock: Arc<TestClock>,
    /// How long opening took, log and publisher.
    took: Duration,
}

fn open(folder: &Path, at: u64) -> Running {
    let disk = Disk::open(folder, 1 << 20).unwrap();
    let disk = Arc::new(Counting(Arc::new(disk), Arc::default()));
    let clock = TestClock::at(NOW + i64::try_from(at / RATE).unwrap());
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let path = folder.join("key");
    let key = match LogKey::open(&path, ORIGIN, &kek).unwrap() {
        Some(key) => key,
        None => LogKey::create(&path, ORIGIN, Some(0), &kek, &*SystemRandomness::shared()).unwrap(),
    };
    let begun = now();
    let (log, recovered) = Log::open(
        Arc::clone(&disk) as _,
        ORIGIN,
        Arc::<HotSet>::default(),
        Arc::clone(&clock) as _,
        SystemRandomness::shared(),
        Headers::testing(),
        Options::default(),
    )
    .unwrap();
    let shelf = Arc::new(DiskShelf::new(folder));
    let publisher = Publisher::open(Arc::clone(&disk) as _, shelf, key, ORIGIN, recovered.next);
    let took = now() - begun;
    Running {
        disk,
        log,
        publisher: Arc::new(publisher.unwrap()),
        clock,
        took,
    }
}

fn credential(n: u64) -> KeyPublicId {
    KeyPublicId::parse(&format!("key{:013}", n % CREDENTIALS)).unwrap()
}

/// The number of a token: spread as random ones are, which do not compress.
fn token(n: u64) -> u128 {
    u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn context_from(n: u64) -> Context {
    let host = |octet: u64| u8::try_from(octet % 250).unwrap();
    let address = match n % STRANGE {
        7 => [198, 51, 100, host(n / STRANGE)],
        _ => [10, 20, host(n / 250), host(n)],
    };
    let peer = Arc::new(Peer {
        address: Some(address.into()),
        ..Peer::default()
    });
    Context { peer, ..context() }
}

/// Appends records up to `end`; answers the time it took.
async fn append(running: &Running, from: u64, end: u64) -> Duration {
    let begun = now();
    let mut at = from;
    while at < end {
        let until = (at + CALLERS).min(end);
        let issues: Vec<_> = (at..until)
            .map(|n| {
                if n % RATE == 0 {
                    running.clock.advance(1);
                }
                let subject = format!("https://broker.example.org/key/{}", n % CREDENTIALS);
                let verified = Verified::of_key_for_test(credential(n), &subject, None);
                let rules = vec![Rule("ceiling.key".into()), Rule("deploy-production".into())];
                let minted = minted_of(Grant::of_rules_for_test(verified, rules, INPUT), token(n));
                running.log.issue(minted, &context_from(n))
            })
            .collect();
        for issue in issues {
            issue.await.unwrap();
        }
        at = until;
    }
    now() - begun
}

/// Bytes in the folder's files of one kind.
fn size(folder: &Path, end: &str) -> u64 {
    let all = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let those = all.filter(|entry| entry.file_name().to_str().unwrap().ends_with(end));
    those.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// A folder below the target's own.
fn scratch() -> TempDir {
    let target: PathBuf = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .join("tmp");
    std::fs::create_dir_all(&target).unwrap();
    TempDir::new_in(target).unwrap()
}

fn find(running: &Running, filter: &Filter, end: u64, order: Order) -> (Vec<u64>, Duration, u64) {
    running.disk.taken();
    let begun = now();
    let segments = Arc::clone(&running.disk) as Arc<dyn Segments>;
    let found = search(segments, filter.clone(), 0..end, order).unwrap();
    let found = found.map(|entry| entry.unwrap().sequence).collect();
    (found, (now() - begun), running.disk.taken())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_starts_appends_and_is_searched_as_a_short_one() {
    let stages: &[u64] = match std::env::var_os("CAMBIST_LONG") {
        Some(_) => &[1_000_000, 3_000_000, 10_000_000],
        None => &[1_000_000],
    };
    let scratch = scratch();
    let folder = scratch.path();
    let mut running = open(folder, 0);
    let (mut at, mut live) = (0, 0);
    let mut keeping: Option<JoinHandle<u64>> = None;
    for stage in stages {
        let mut costs = Vec::new();
        while at < *stage {
            let end = at + ROUND;
            costs.push(append(&running, at, end).await.as_secs_f64() * 1e6 / ROUND as f64);
            at = end;
            // Meanwhile the log goes on.
            let next = tokio::task::spawn_blocking(look_after(&running));
            if let Some(kept) = keeping.replace(next) {
                live += kept.await.unwrap();
            }
        }
        live += keeping.take().unwrap().await.unwrap();
        live += look_after(&running)();
        let last = size(folder, ".seg");
        let packed = size(folder, ".seg.zst");
        let index = size(folder, ".idx");
        let live = live + last;
        assert!(packed * 3 < live - last, "{packed} of {live} bytes");
        let (first, later) = (costs.first().unwrap(), costs.last().unwrap());
        println!("\n{at} records: append {first:.1} µs a record at first, {later:.1} µs at last");
        println!(
            "  bytes a record: {} live, {:.1} compressed, {:.1} of index",
            live / at,
            packed as f64 * live as f64 / ((live - last) as f64 * at as f64),
            index as f64 * live as f64 / ((live - last) as f64 * at as f64),
        );
        running.log.close().await;
        drop(running);
        running = open(folder, at);
        let read = running.disk.taken();
        println!(
            "  start {:?}, for which {read} bytes are read",
            running.took
        );
        // The last segment, and the records of the last tile.
        assert!(read < last + (1 << 20), "{read} of {last} bytes");
        assert_found(&running, at, last);
    }
    running.log.close().await;
}

/// Publishes, compresses and indexes all that there is, and answers how many bytes of segments are gone for it.
fn look_after(running: &Running) -> impl FnOnce() -> u64 + Send + use<> {
    let disk = Arc::clone(&running.disk);
    let (publisher, log) = (Arc::clone(&running.publisher), running.log.clone());
    move || {
        publisher.advance(log.durable()).unwrap();
        let published = publisher.published().unwrap().checkpoint.size;
        let mut archivist = Archivist::new(Arc::clone(&disk.0) as Arc<dyn Archive>);
        let mut gone = 0;
        loop {
            match archivist.step(published).unwrap() {
                None => return gone,
                Some(Done::Indexed(_)) => {}
                Some(Done::Packed(first)) => {
                    gone += disk.read(first).unwrap().seek(SeekFrom::End(0)).unwrap();
                }
            }
        }
    }
}

fn assert_found(running: &Running, records: u64, last: u64) {
    let wanted = records / 3;
    let name = token_id(token(wanted)).to_string();
    let token = Filter::default().within(Field::Token, [name.clone()].into());
    let (found, took, read) = find(running, &token, records, Order::NewestFirst);
    assert_eq!(found, [wanted]);
    println!("  one token {took:?}, for which {read} bytes are read");
    // The live segment, with what it takes to find the begin of each of its parts, the block that the token is in, and of
    // each index what says that it is not there: some 13 kB for 60,000 records.
    assert!(
        read < last + last / 4 + (1 << 20) + records / 3,
        "{read} bytes are read for one token"
    );
    let strange = Filter {
        networks: vec!["198.51.100.0/24".parse().unwrap()],
        ..Filter::default()
    };
    let (found, took, read) = find(running, &strange, records, Order::NewestFirst);
    assert_eq!(found.len() as u64, records / STRANGE);
    println!(
        "  one network {took:?}: {} records, for which {read} bytes are read",
        found.len()
    );
    let begun = now();
    let segments = Arc::clone(&running.disk) as Arc<dyn Segments>;
    let told = story(segments, Filter::default(), records, &name).unwrap();
    println!(
        "  its whole story {:?}, for which {} bytes are read",
        now() - begun,
        running.disk.taken()
    );
    let told: Vec<_> = told
        .records
        .iter()
        .map(|(_, entry)| entry.sequence)
        .collect();
    assert_eq!(told, [wanted]);
    let second = |n: u64| Timestamp::from_second(NOW + i64::try_from(n / RATE).unwrap()).unwrap();
    let mut hour = Filter {
        from: Some(second(wanted)),
        until: Some(second(wanted + HOUR)),
        ..Filter::default()
    };
    let (found, took, read) = find(running, &hour, records, Order::OldestFirst);
    let all = found.len() as u64;
    assert!(
        (HOUR - RATE..=HOUR + RATE).contains(&all),
        "{all} records in an hour"
    );
    println!("  one hour {took:?}: {all} records, for which {read} bytes are read");
    let name = CredentialId::ApiKey(credential(7)).to_string();
    hour = hour.within(Field::Credential, [name].into());
    let (found, took, _) = find(running, &hour, records, Order::OldestFirst);
    assert!(found.len() as u64 >= HOUR / CREDENTIALS - 1);
    assert!(found.iter().all(|n| n % CREDENTIALS == 7));
    println!(
        "  one credential in that hour {took:?}: {} records",
        found.len()
    );
}
