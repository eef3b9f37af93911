//! A log whose first records were removed: it verifies, its proofs stay good, and one that was cut by somebody else does not.

use crate::support::command::cambist;
use crate::support::log::{ORIGIN, RESERVE, headers};
use cambist::audit::read::ReadError;
use cambist::audit::{
    Act, ActKind, Archive, Archivist, Disk, DiskReader, DiskShelf, Done, Finding, Holds, Log,
    Options, PruneError, Pruner, PublishError, Publisher, Segments as _, Sound, read, verify,
    verify_from,
};
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::keys::{Kek, LogKey};
use cambist::revocation::HotSet;
use jiff::Timestamp;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use zeroize::Zeroizing;

const RECORDS: usize = 1200;

struct Site {
    folder: TempDir,
    disk: Arc<Disk>,
    log: Log,
    publisher: Arc<Publisher>,
}

fn publisher(folder: &Path, durable: u64) -> Publisher {
    opened(folder, durable).unwrap()
}

fn opened(folder: &Path, durable: u64) -> Result<Publisher, PublishError> {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let random = SystemRandomness::shared();
    let path = folder.join("key");
    let key = LogKey::open(&path, ORIGIN, &kek).unwrap();
    let key =
        key.unwrap_or_else(|| LogKey::create(&path, ORIGIN, Some(0), &kek, &*random).unwrap());
    let segments = Arc::new(DiskReader::new(folder));
    let shelf = Arc::new(DiskShelf::new(folder));
    Publisher::open(segments, shelf, key, ORIGIN, durable)
}

/// Changes a byte of a tile's second hash.
fn damage(tile: &Path) {
    let mut bytes = fs::read(tile).unwrap();
    bytes[40] ^= 1;
    fs::write(tile, bytes).unwrap();
}

impl Site {
    /// A published log of several segments.
    async fn written(segment_bytes: u64) -> Self {
        Self::written_by(100, segment_bytes).await
    }

    /// Written by so many at a time: each segment ends with what one commit carries.
    async fn written_by(callers: usize, segment_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(folder.path(), RESERVE).unwrap());
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let (log, _) = Log::open(
            Arc::clone(&disk) as _,
            ORIGIN,
            Arc::<HotSet>::default(),
            SystemClock::shared(),
            SystemRandomness::shared(),
            headers(),
            options,
        )
        .unwrap();
        for _ in 0..RECORDS / callers {
            let acts = (0..callers).map(|_| log.event(&Act::new(ActKind::Admin, "key.create")));
            for act in acts.collect::<Vec<_>>() {
                act.await.unwrap();
            }
        }
        let publisher = Arc::new(publisher(folder.path(), log.durable()));
        for (size, name) in [(10, "early"), (700, "earlier"), (log.durable(), "last")] {
            publisher.advance(size).unwrap();
            let note = publisher.published().unwrap().note.clone();
            fs::write(folder.path().join(name), note).unwrap();
        }
        Self {
            folder,
            disk,
            log,
            publisher,
        }
    }

    /// The same, all but the last of them compressed.
    async fn new() -> Self {
        let site = Self::written(10_000).await;
        site.pack();
        site
    }

    fn pack(&self) {
        assert!(self.pack_again() > 3);
    }

    /// Answers how many there were.
    fn pack_again(&self) -> usize {
        let mut archivist = Archivist::new(Arc::clone(&self.disk) as Arc<dyn Archive>);
        let mut packed = 0;
        while let Some(done) = archivist.step(self.publisher.size()).unwrap() {
            packed += usize::from(matches!(done, Done::Packed(_)));
        }
        packed
    }

    /// What the verifier says, with checkpoints from before the removal.
    fn verified(&self) -> Result<Sound, Finding> {
        let (folder, key) = (self.folder.path(), self.publisher.verifier());
        let earlier: Vec<_> = ["earlier", "early"]
            .iter()
            .map(|name| {
                let note = fs::read(folder.join(name)).unwrap();
                key.open(&note).unwrap().parse().unwrap()
            })
            .collect();
        let segments = Arc::new(DiskReader::new(folder));
        verify(segments, &DiskShelf::new(folder), key, &earlier, |_| ())
    }

    /// What the verifier finds, for which the command ends with 5.
    async fn finding(&self) -> Finding {
        let folder = self.folder.path();
        let ended = cambist(&["audit", "verify", folder.to_str().unwrap()], &[], b"").await;
        assert_eq!(ended.code, Some(5), "{}", ended.stderr);
        self.verified().unwrap_err()
    }

    /// Removes all but the last segment as a broker does. Answers the first record that remains.
    async fn prune(&self) -> u64 {
        self.prune_with(&mut self.pruner()).await
    }

    fn pruner(&self) -> Pruner {
        Pruner::new(
            Arc::clone(&self.disk) as _,
            self.log.clone(),
            Arc::clone(&self.publisher),
            Holds::default(),
            Duration::ZERO,
        )
    }

    async fn prune_with(&self, pruner: &mut Pruner) -> u64 {
        assert_eq!(pruner.step(Timestamp::MAX).await.unwrap(), None);
        self.publisher.advance(self.log.durable()).unwrap();
        pruner.step(Timestamp::MAX).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_log_that_says_that_it_begins_later_verifies_and_proves_what_is_gone() {
    let site = Site::new().await;
    let folder = site.folder.path();
    let all = read::records(Arc::new(DiskReader::new(folder)), 0).unwrap();
    let lines: Vec<_> = all.map(|entry| entry.unwrap().line).collect();
    let begins = site.prune().await;
    assert_eq!(site.disk.segments().unwrap()[0], begins);
    let sound = site.verified().unwrap();
    assert_eq!((sound.begins, sound.records), (begins, RECORDS as u64 + 1));
    let shown = cambist(&["audit", "verify", folder.to_str().unwrap()], &[], b"").await;
    let text = shown.stdout;
    assert!(
        text.contains(&format!("Those before record {begins} were removed")),
        "{text}"
    );
    for index in [0, 255, begins - 1, begins, RECORDS as u64] {
        let proof = site.publisher.prove(index).unwrap().unwrap();
        if let Some(line) = lines.get(usize::try_from(index).unwrap()) {
            proof.verify(line, site.publisher.verifier()).unwrap();
        }
    }
    // And it goes on, also where a tile has to be made again.
    fs::remove_dir_all(folder.join("tile/1/000.p")).unwrap();
    let again = publisher(folder, site.log.durable());
    site.log
        .event(&Act::new(ActKind::Admin, "key.create"))
        .await
        .unwrap();
    again.advance(site.log.durable()).unwrap();
    assert_eq!(site.verified().unwrap().begins, begins);
    // The records that are left would make another tree.
    fs::remove_file(folder.join("checkpoint")).unwrap();
    // Nothing but those tiles has the hashes of what is gone: nobody is told to move them away.
    let Err(unsigned @ PublishError::Unsigned(_)) = opened(folder, site.log.durable()) else {
        panic!("it is taken")
    };
    assert!(!unsigned.to_string().contains("move"), "{unsigned}");
    fs::remove_dir_all(folder.join("tile")).unwrap();
    assert!(matches!(
        opened(folder, site.log.durable()),
        Err(PublishError::Treeless(at)) if at == begins
    ));
    assert!(!folder.join("checkpoint").exists());
    site.log.close().await;
}

#[tokio::test]
async fn a_log_that_was_cut_is_found() {
    let site = Site::new().await;
    let folder = site.folder.path();
    let first = |n: usize| site.disk.segments().unwrap()[n];
    let gone = folder.join(format!("{:020}.seg.zst", 0));
    let kept = fs::read(&gone).unwrap();
    fs::remove_file(&gone).unwrap();
    let begins = first(0);
    assert!(begins > 0);
    assert!(matches!(site.verified(), Err(Finding::Cut { begins: at }) if at == begins));
    let ended = cambist(&["audit", "verify", folder.to_str().unwrap()], &[], b"").await;
    assert_eq!(ended.code, Some(5));
    // A start finds it as well, by what it looks up.
    let is_cut = || {
        let told = site.publisher.begins_as_told();
        let begins = site.disk.segments().unwrap()[0];
        matches!(told, Err(PublishError::Cut(at)) if at == begins)
    };
    assert!(is_cut());
    fs::write(&gone, kept).unwrap();
    // Said, but not under a checkpoint: that takes no key.
    let change = format!(r#"{{"first":{begins}}}"#);
    let act = Act {
        change: Some(&change),
        ..Act::new(ActKind::Retention, "log.prune")
    };
    site.log.event(&act).await.unwrap();
    fs::remove_file(&gone).unwrap();
    assert!(matches!(site.verified(), Err(Finding::Cut { .. })));
    assert!(is_cut());
    site.publisher.advance(site.log.durable()).unwrap();
    assert_eq!(site.verified().unwrap().begins, begins);
    assert!(site.publisher.begins_as_told().is_ok());
    // More is gone than was said.
    fs::remove_file(folder.join(format!("{begins:020}.seg.zst"))).unwrap();
    assert!(matches!(site.verified(), Err(Finding::Cut { begins: at }) if at == first(0)));
    assert!(is_cut());
    site.log.close().await;
}

/// The record that says it may be one that is not read again; it is looked for there.
#[tokio::test]
async fn a_removal_is_said_before_or_after_the_record_from_which_a_log_is_read() {
    let site = Site::new().await;
    let folder = site.folder.path();
    let begins = site.prune().await;
    // Enough for another segment.
    for count in [100, 1] {
        let acts = (0..count).map(|_| site.log.event(&Act::new(ActKind::Admin, "key.create")));
        for act in acts.collect::<Vec<_>>() {
            act.await.unwrap();
        }
    }
    let said = site.publisher.published().unwrap().note.clone();
    site.publisher.advance(site.log.durable()).unwrap();
    let key = site.publisher.verifier();
    let looked = |note: &[u8]| {
        let from = key.open(note).unwrap().parse().unwrap();
        let segments = Arc::new(DiskReader::new(folder));
        verify_from(segments, &DiskShelf::new(folder), key, &from, &[], |_| ())
    };
    let last = fs::read(folder.join("last")).unwrap();
    for (note, from) in [(&*last, RECORDS), (said.as_bytes(), RECORDS + 1)] {
        let sound = looked(note).unwrap();
        assert_eq!((sound.begins, sound.read_from), (begins, from as u64));
    }
    // No more than that was said.
    fs::remove_file(folder.join(format!("{begins:020}.seg"))).unwrap();
    let begins = site.disk.segments().unwrap()[0];
    for note in [&*last, said.as_bytes()] {
        let found = looked(note);
        assert!(
            matches!(found, Err(Finding::Cut { begins: at }) if at == begins),
            "{found:?}"
        );
    }
    site.log.close().await;
}

#[tokio::test]
async fn the_hashes_of_what_is_gone_are_needed_and_checked() {
    let site = Site::new().await;
    let folder = site.folder.path();
    site.prune().await;
    let tile = folder.join("tile/0/001");
    damage(&tile);
    assert!(matches!(site.verified(), Err(Finding::Forked(_))));
    fs::remove_file(&tile).unwrap();
    assert!(matches!(site.verified(), Err(Finding::Gone(256))));
    site.log.close().await;
}

#[tokio::test]
async fn a_compressed_segment_that_is_no_longer_one_is_a_finding() {
    let site = Site::new().await;
    let file = site.folder.path().join(format!("{:020}.seg.zst", 0));
    let good = fs::read(&file).unwrap();
    let mut table = good.clone();
    *table.last_mut().unwrap() ^= 1;
    for bad in [Vec::new(), good[..good.len() / 2].to_vec(), table] {
        fs::write(&file, bad).unwrap();
        let found = site.finding().await;
        assert!(matches!(found, Finding::Unreadable { .. }), "{found:?}");
    }
    site.log.close().await;
}

/// Searches believe an index that is sound in itself; whoever puts another log's there hides records from them.
#[tokio::test]
async fn an_index_that_hides_records_is_a_finding() {
    let name = format!("{:020}.idx", 0);
    // One by one, so that its segments hold as many records as those of another.
    let [site, other] = [(); 2].map(async |()| {
        let site = Site::written_by(1, 10_000).await;
        site.pack();
        site
    });
    let (site, other) = (site.await, other.await);
    let records = |site: &Site| site.disk.segments().unwrap()[1];
    assert_eq!(records(&other), records(&site));
    let file = site.folder.path().join(&name);
    fs::copy(other.folder.path().join(&name), &file).unwrap();
    let found = site.finding().await;
    assert!(matches!(found, Finding::Index(0)), "{found:?}");
    // Without one, nothing is passed over.
    fs::remove_file(&file).unwrap();
    site.verified().unwrap();
    site.log.close().await;
    other.log.close().await;
}

/// What the newest segment held is lost, and that is for the checkpoint to say; the log is not unreadable.
#[tokio::test]
async fn a_log_of_which_only_compressed_segments_are_left_is_opened() {
    let site = Site::new().await;
    site.log.close().await;
    let Site { folder, disk, .. } = site;
    let firsts = disk.segments().unwrap();
    drop(disk);
    let lost = firsts.last().copied().unwrap();
    fs::remove_file(folder.path().join(format!("{lost:020}.seg"))).unwrap();
    let disk = Arc::new(Disk::open(folder.path(), RESERVE).unwrap());
    let (log, _) = Log::open(
        Arc::clone(&disk) as _,
        ORIGIN,
        Arc::<HotSet>::default(),
        SystemClock::shared(),
        SystemRandomness::shared(),
        headers(),
        Options::default(),
    )
    .unwrap();
    assert_eq!(log.durable(), lost);
    let act = Act::new(ActKind::Admin, "key.create");
    assert_eq!(log.event(&act).await.unwrap().index, lost);
    let all = read::records(disk as _, 0).unwrap();
    assert_eq!(all.map(Result::unwrap).count() as u64, lost + 1);
    log.close().await;
}

/// What is removed is left in the tiles alone: they are looked at while they can still be mended.
#[tokio::test]
async fn what_is_wrong_in_the_tiles_is_mended_before_the_records_go() {
    let site = Site::written(60_000).await;
    site.pack_again();
    // Nobody asks for one of these when it is told how old the segment is.
    damage(&site.folder.path().join("tile/0/000"));
    let begins = site.prune().await;
    assert!(begins > 256);
    assert_eq!(site.verified().unwrap().begins, begins);
    site.log.close().await;
}

#[tokio::test]
async fn a_segment_with_another_record_than_was_logged_stays() {
    let site = Site::new().await;
    let firsts = site.disk.segments().unwrap();
    let (at, until) = (firsts[1], firsts[2]);
    let plain_form = site.folder.path().join(format!("{at:020}.seg"));
    let mut plain = Vec::new();
    site.disk.read(at).unwrap().read_to_end(&mut plain).unwrap();
    let text = String::from_utf8(plain.clone()).unwrap();
    // The last record: the one that tells the age of the segment before it is another.
    let place = text.rfind("key.create").unwrap();
    let changed = text[..place].to_owned() + "key.revoke" + &text[place + 10..];
    let put = |bytes: &[u8]| {
        fs::write(&plain_form, bytes).unwrap();
        site.pack_again();
    };
    put(changed.as_bytes());
    let mut pruner = site.pruner();
    // The one before it goes.
    assert_eq!(site.prune_with(&mut pruner).await, at);
    for _ in 0..2 {
        let refused = pruner.step(Timestamp::MAX).await.unwrap_err();
        assert!(
            matches!(refused, PruneError::Read(ReadError::Changed(record)) if record == until - 1),
            "{refused}"
        );
    }
    assert_eq!(site.disk.segments().unwrap()[0], at);
    // It was put back.
    put(&plain);
    site.prune_with(&mut pruner).await;
    assert!(site.disk.segments().unwrap()[0] > at);
    site.log.close().await;
}

/// However a look falls among it.
#[tokio::test]
async fn what_the_broker_itself_compresses_and_removes_is_not_lost() {
    let site = Site::written(10_000).await;
    let mut closed = site.disk.closed(headers());
    closed.look().unwrap();
    let over = Arc::<AtomicBool>::default();
    let is_over = Arc::clone(&over);
    let looking = std::thread::spawn(move || {
        while !is_over.load(Ordering::Acquire) {
            closed.look().unwrap();
        }
        closed
    });
    site.pack();
    let begins = site.prune().await;
    over.store(true, Ordering::Release);
    let mut closed = looking.join().unwrap();
    closed.look().unwrap();
    assert_eq!(site.disk.segments().unwrap()[0], begins);
}
