//! The power goes at any moment: what was written and not made durable is gone, or there in part, and whatever a stranger
//! may have read of the log by then stays true.

use crate::audit::testing::{
    Effect, Memory, ORIGIN, Opened, Step, context, minted, open, open_with, options, token_id,
};
use crate::audit::tree::{Hash, Tile, Tiles};
use crate::audit::{Checkpoint, Options, Publisher, Segments, Shelf, read, verify};
use crate::clock::SystemRandomness;
use crate::keys::{Kek, LogKey};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use zeroize::Zeroizing;

/// What a file is after the power is gone, if nobody had it made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    Empty,
    Gone,
}

/// A few, or enough to fill a tile.
fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..20, 240_u64..300]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![2 => Just(Fate::Whole), 1 => Just(Fate::Empty), 1 => Just(Fate::Gone)]
}

#[derive(Clone, Debug, Default)]
struct Files {
    written: BTreeMap<String, Vec<u8>>,
    durable: BTreeMap<String, Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    key: Option<String>,
    /// Calls that still happen; after that the power is gone.
    left: Option<usize>,
}

/// Tiles and the checkpoint in memory, until the power goes.
#[derive(Debug, Default)]
struct Fragile(Mutex<Files>);

impl Fragile {
    fn step<T>(&self, act: impl FnOnce(&mut Files) -> T) -> io::Result<T> {
        let mut files = self.0.lock().unwrap();
        match &mut files.left {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(act(&mut files))
    }

    fn goes_after(&self, calls: usize) {
        self.0.lock().unwrap().left = Some(calls);
    }

    /// What is there when it is back. What is not durable meets one of the fates, in turn.
    fn back(&self, fates: &[Fate]) -> Arc<Self> {
        let before = self.0.lock().unwrap().clone();
        let names = before.written.keys().chain(before.durable.keys());
        let mut after = BTreeMap::new();
        for (name, fate) in names.zip(fates.iter().cycle()) {
            let (new, old) = (before.written.get(name), before.durable.get(name));
            let kept = match (new == old, fate) {
                (true, _) => old.cloned(),
                (false, Fate::Whole) => new.cloned(),
                (false, Fate::Empty) => new.map(|_| Vec::new()),
                (false, Fate::Gone) => old.cloned(),
            };
            if let Some(bytes) = kept {
                after.insert(name.clone(), bytes);
            }
        }
        Arc::new(Self(Mutex::new(Files {
            written: after.clone(),
            durable: after,
            left: None,
            ..before
        })))
    }
}

impl Tiles for Fragile {
    fn read(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        let files = self.0.lock().unwrap();
        let name = |width| Tile { width, ..tile }.to_string();
        let found = (tile.width..=Tile::FULL).find_map(|width| files.written.get(&name(width)));
        let (hashes, _) = found.ok_or(io::ErrorKind::NotFound)?.as_chunks();
        let wanted = hashes.get(..usize::from(tile.width));
        Ok(wanted
            .ok_or(io::ErrorKind::NotFound)?
            .iter()
            .copied()
            .map(Hash::new)
            .collect())
    }
}

impl Shelf for Fragile {
    fn put(&self, tile: Tile, hashes: &[Hash]) -> io::Result<()> {
        let bytes = hashes.iter().flat_map(|hash| *hash.bytes()).collect();
        self.step(|files| drop(files.written.insert(tile.to_string(), bytes)))
    }

    fn settle(&self) -> io::Result<()> {
        self.step(|files| files.durable = files.written.clone())
    }

    fn holds_tiles(&self) -> io::Result<bool> {
        self.step(|files| !files.written.is_empty())
    }

    fn forms(&self, tile: Tile) -> io::Result<Vec<Tile>> {
        let forms = (1..=Tile::FULL).map(|width| Tile { width, ..tile });
        let files = self.0.lock().unwrap();
        Ok(forms
            .filter(|form| files.written.contains_key(&form.to_string()))
            .collect())
    }

    fn form(&self, tile: Tile) -> io::Result<Option<Vec<u8>>> {
        let files = self.0.lock().unwrap();
        Ok(files.written.get(&tile.to_string()).cloned())
    }

    fn sweep(&self, tile: Tile, kept: u16) -> io::Result<()> {
        let swept = |width| Tile { width, ..tile }.to_string();
        self.step(|files| {
            for width in kept + 1..Tile::FULL {
                files.written.remove(&swept(width));
            }
        })
    }

    fn prune(&self, tile: Tile) -> io::Result<()> {
        let partial = format!("{}.p/", tile.full());
        self.step(|files| files.written.retain(|name, _| !name.starts_with(&partial)))
    }

    fn put_key(&self, key: &str) -> io::Result<()> {
        self.step(|files| files.key = Some(key.to_owned()))
    }

    fn checkpoint(&self) -> io::Result<Option<Vec<u8>>> {
        self.step(|files| files.checkpoint.clone())
    }

    fn put_checkpoint(&self, note: &[u8]) -> io::Result<()> {
        self.step(|files| files.checkpoint = Some(note.to_vec()))
    }
}

/// A log, its publisher, and what has been seen of both from outside.
struct Site {
    key: tempfile::TempDir,
    device: Arc<Memory>,
    shelf: Arc<Fragile>,
    opened: Opened,
    publisher: Publisher,
    tokens: u64,
    told: Vec<u64>,
    /// Asked for and not answered when the power went: their records may be there or not.
    asked: Vec<u64>,
    checkpoints: Vec<Checkpoint>,
}

impl Site {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: Options) -> Self {
        let key = tempfile::tempdir().unwrap();
        let (device, shelf) = (Memory::new(), Arc::<Fragile>::default());
        let opened = open_with(&device, options).unwrap();
        let publisher = publisher(&key, &device, &shelf, &opened);
        Self {
            key,
            device,
            shelf,
            opened,
            publisher,
            tokens: 0,
            told: Vec::new(),
            asked: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    async fn issue(&mut self) {
        let n = self.tokens;
        self.tokens += 1;
        let issued = self.opened.log.issue(minted(n.into()), &context()).await;
        if issued.is_ok() {
            self.told.push(n);
        }
    }

    /// Publishes; whatever checkpoint is there now may have been read.
    fn publish(&mut self) {
        let _ = self.publisher.advance(self.opened.log.durable());
        let note = self.shelf.0.lock().unwrap().checkpoint.clone().unwrap();
        let text = self.publisher.verifier().open(&note).unwrap();
        self.checkpoints.push(text.parse().unwrap());
    }

    /// Some tokens at once, until the log comes to a sync that ends only when the power is gone; behind so many that do.
    fn issue_into(&mut self, syncs: usize, together: u64) {
        self.device.hold_after(syncs);
        let from = self.tokens;
        self.tokens += together;
        let issue = |n: u64| self.opened.log.issue(minted(n.into()), &context());
        let asked: Vec<_> = (from..self.tokens).map(|n| (n, issue(n))).collect();
        self.device.await_sync();
        for (n, issue) in asked {
            let mut look = std::task::Context::from_waker(Waker::noop());
            match pin!(issue).poll(&mut look) {
                Poll::Ready(Ok(_)) => self.told.push(n),
                Poll::Ready(Err(_)) => {}
                Poll::Pending => self.asked.push(n),
            }
        }
    }

    /// The power goes, and comes back.
    fn cut(self, fates: &[Fate]) -> Self {
        self.cut_with(fates, 0, false)
    }

    /// The same with a part of what the log was writing.
    fn cut_with(self, fates: &[Fate], bytes: usize, names: bool) -> Self {
        let device = self.device.power_cut_with(bytes, names);
        // For the writer that is left over from before, to end.
        self.device.hold(false);
        let shelf = self.shelf.back(fates);
        let opened = open(&device);
        let publisher = publisher(&self.key, &device, &shelf, &opened);
        Self {
            device,
            shelf,
            opened,
            publisher,
            ..self
        }
    }

    /// Every token that was told is there once, and the tree has grown from every checkpoint that anybody may have.
    fn holds(&mut self) {
        self.publish();
        let records = self.device.records();
        for token in &self.told {
            let jti = token_id((*token).into()).to_string();
            let of = records.iter().filter(|record| record["jti"] == jti);
            assert_eq!(of.count(), 1, "token {token}");
        }
        for token in &self.asked {
            let jti = token_id((*token).into()).to_string();
            let of = records.iter().filter(|record| record["jti"] == jti);
            assert!(of.count() <= 1, "token {token}");
        }
        let (segments, key) = (Arc::clone(&self.device), self.publisher.verifier());
        let sound = verify(segments as _, &*self.shelf, key, &self.checkpoints, |_| ()).unwrap();
        assert_eq!(sound.checkpoint.size, self.opened.log.durable());
        let last = self.publisher.published().unwrap().checkpoint.clone();
        for old in &self.checkpoints {
            let root = self.publisher.grown_from(old.size, &last).unwrap();
            assert_eq!(root, old.root);
        }
        let another = Checkpoint {
            root: Hash::of_nothing(),
            ..last.clone()
        };
        for old in (1..=last.size).step_by(61) {
            assert!(self.publisher.grown_from(old, &another).is_err(), "{old}");
        }
        // And whoever asks for the proof of a record gets one.
        let all: Arc<dyn Segments> = Arc::clone(&self.device) as _;
        for entry in read::records(all, 0).unwrap().step_by(61) {
            let entry = entry.unwrap();
            let proof = self.publisher.prove(entry.sequence).unwrap().unwrap();
            proof.verify(&entry.line, key).unwrap();
        }
    }
}

fn publisher(
    key: &tempfile::TempDir,
    device: &Arc<Memory>,
    shelf: &Arc<Fragile>,
    opened: &Opened,
) -> Publisher {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let path = key.path().join("key");
    let random = SystemRandomness::shared();
    let held = LogKey::open(&path, "log", &kek).unwrap();
    let key =
        held.unwrap_or_else(|| LogKey::create(&path, "log", Some(0), &kek, &*random).unwrap());
    let device: Arc<dyn Segments> = Arc::clone(device) as _;
    let durable = opened.log.durable();
    Publisher::open(device, Arc::clone(shelf) as _, key, ORIGIN, durable).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Some tokens, a checkpoint, more tokens, and the power goes within the next one, at any of its calls.
    #[test]
    fn a_power_cut_leaves_every_token_and_every_checkpoint_true(
        rounds in prop::collection::vec((tokens(), 0_usize..14, prop::collection::vec(fate(), 1..7)), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut site = Site::new();
            for (tokens, calls, fates) in rounds {
                site.publish();
                for _ in 0..tokens {
                    site.issue().await;
                }
                site.shelf.goes_after(calls);
                site.publish();
                site = site.cut(&fates);
                // The next checkpoint is of more than the one that was not signed.
                site.issue().await;
                site.holds();
            }
            site.opened.log.close().await;
        });
    }

    /// The power goes within a commit or while a segment follows another, by its size or after a failure, at any sync of
    /// it: of what was not synced some bytes are there or none, and the new segment's name or not.
    #[test]
    fn a_power_cut_within_a_commit_or_a_rotation_leaves_what_was_answered(
        before in 1_u64..5,
        together in 1_u64..6,
        rotates: bool,
        fails in prop::option::of(prop_oneof![Just(Effect::Fails), Just(Effect::Short), Just(Effect::Persists)]),
        at in 0_usize..3,
        bytes in prop_oneof![Just(0_usize), 0_usize..6000],
        names: bool,
        fates in prop::collection::vec(fate(), 1..7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let small = if rotates { 1 } else { u64::MAX };
            let mut site = Site::with(Options { segment_bytes: small, ..options() });
            for _ in 0..before {
                site.issue().await;
                site.publish();
            }
            if let Some(effect) = fails {
                site.device.fail(Step::Sync, effect, io::ErrorKind::Other);
            }
            // That of the new segment's name, that of the batch, and that of the one that follows a failure.
            let syncs = 1 + usize::from(rotates) + usize::from(fails.is_some());
            site.issue_into(at % syncs, together);
            let told = site.told.len();
            site = site.cut_with(&fates, bytes, names);
            site.holds();
            // And it goes on from there.
            site.issue().await;
            site.holds();
            assert_eq!(site.told.len(), told + 1);
            site.opened.log.close().await;
        });
    }
}
