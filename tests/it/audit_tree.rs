//! The published tree, on real files, as a verifier that is not ours sees it.

use crate::support::log::{ORIGIN, open};
use cambist::audit::tree::{self, Tile, Tiles as _};
use cambist::audit::{
    Act, ActKind, Checkpoint, DiskReader, DiskShelf, Log, PublishError, Publisher, Segments, read,
};
use cambist::clock::SystemRandomness;
use cambist::keys::{Kek, LogKey};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tlog_tiles::{Hash, TileHashReader, TileReader};
use zeroize::Zeroizing;

/// Tiles as anybody reads them who was given the folder.
struct Foreign(PathBuf);

impl TileReader for Foreign {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let shelf = DiskShelf::new(&self.0);
        let read = |tile: &tlog_tiles::Tile| {
            // Its paths name the height first, as Go's checksum database does; C2SP's do not.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let ours: Tile = path.parse().unwrap();
            let hashes = shelf.read(ours).unwrap();
            hashes.iter().flat_map(|hash| *hash.bytes()).collect()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn key(folder: &Path) -> LogKey {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    LogKey::open_or_create(
        &folder.join("key"),
        ORIGIN,
        &kek,
        &*SystemRandomness::shared(),
    )
    .unwrap()
}

fn publisher(folder: &Path, durable: u64) -> Result<Publisher, PublishError> {
    // The writer has the folder's lock.
    let device = Arc::new(DiskReader::new(folder));
    let shelf = Arc::new(DiskShelf::new(folder));
    Publisher::open(device, shelf, key(folder), ORIGIN, durable)
}

async fn append(log: &Log, records: u64) -> u64 {
    let act = Act::new(ActKind::Admin, "key.create");
    let mut last = None;
    for _ in 0..records {
        last = Some(log.event(&act));
    }
    last.unwrap().await.unwrap().index + 1
}

fn lines(folder: &Path) -> Vec<Vec<u8>> {
    let device: Arc<dyn Segments> = Arc::new(DiskReader::new(folder));
    let all = read::records(device, 0).unwrap();
    all.map(|entry| entry.unwrap().line).collect()
}

/// What the folder's checkpoint says, by another's reading of notes and checkpoints.
fn checkpoint(folder: &Path, vkey: &str) -> (u64, Hash) {
    let note = fs::read(folder.join("checkpoint")).unwrap();
    let note = Note::from_bytes(&note).unwrap();
    let verifier = StandardVerifier::new(vkey).unwrap();
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (verified, _) = note.verify(&known).unwrap();
    assert_eq!(verified.len(), 1);
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(read.origin(), ORIGIN);
    (read.size(), *read.hash())
}

fn theirs(hash: &tree::Hash) -> Hash {
    Hash(*hash.bytes())
}

#[tokio::test]
async fn a_foreign_verifier_takes_every_checkpoint_tile_and_proof() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (log, recovered) = open(folder).unwrap();
    assert_eq!(recovered.next, 0);
    let mut publisher = publisher(folder, 0).unwrap();
    let mut before: Option<(u64, Hash)> = None;
    for (round, records) in [1, 1, 5, 248, 1, 300, 700, 2].into_iter().enumerate() {
        let durable = append(&log, records).await;
        publisher.advance(durable).unwrap();
        let (size, root) = checkpoint(folder, &publisher.verifier().to_string());
        assert_eq!(size, durable);
        let foreign = Foreign(folder.to_owned());
        let reader = TileHashReader::new(size, root, &foreign);
        assert_eq!(tlog_tiles::tree_hash(size, &reader).unwrap(), root);
        let lines = lines(folder);
        let shelf = DiskShelf::new(folder);
        for index in [0, size / 3, size - 1] {
            let record = tlog_tiles::record_hash(&lines[usize::try_from(index).unwrap()]);
            let ours: Vec<_> = tree::inclusion(&shelf, index, size)
                .unwrap()
                .iter()
                .map(theirs)
                .collect();
            assert_eq!(
                tlog_tiles::prove_record(size, index, &reader).unwrap(),
                ours
            );
            tlog_tiles::check_record(&ours, size, root, index, record).unwrap();
        }
        if let Some((old, was)) = before {
            let ours: Vec<_> = tree::consistency(&shelf, old, size)
                .unwrap()
                .iter()
                .map(theirs)
                .collect();
            tlog_tiles::check_tree(&ours, size, root, old, was).unwrap();
        }
        before = Some((size, root));
        if round % 2 == 0 {
            publisher = self::publisher(folder, durable).unwrap();
        }
    }
    // What is left in the folder is what the last checkpoint needs, and nothing narrower.
    let partial = folder.join("tile/0/004.p");
    let widths: Vec<_> = fs::read_dir(partial).unwrap().collect();
    assert_eq!(widths.len(), 1);
    assert!(!folder.join("tile/0/000.p").exists());
    // A tile that was changed convinces nobody.
    let tile = folder.join("tile/0/001");
    let mut bytes = fs::read(&tile).unwrap();
    // The hash of record 301, which is in the proof of record 300.
    bytes[(301 - 256) * 32] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let (size, root) = before.unwrap();
    let foreign = Foreign(folder.to_owned());
    let reader = TileHashReader::new(size, root, &foreign);
    let proof = tlog_tiles::prove_record(size, 300, &reader).unwrap();
    let record = tlog_tiles::record_hash(&lines(folder)[300]);
    assert!(tlog_tiles::check_record(&proof, size, root, 300, record).is_err());
    let ours = tree::inclusion(&DiskShelf::new(folder), 300, size).unwrap();
    let leaf = tree::leaf(&lines(folder)[300]);
    let root = tree::Hash::new(root.0);
    assert!(tree::verify_inclusion(leaf, 300, size, &ours, &root).is_err());
    log.close().await;
}

/// A log of `records`, published and closed.
async fn published(folder: &Path, records: u64) -> u64 {
    let (log, _) = open(folder).unwrap();
    let durable = append(&log, records).await;
    publisher(folder, 0).unwrap().advance(durable).unwrap();
    log.close().await;
    durable
}

#[tokio::test]
async fn tiles_that_are_lost_or_damaged_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let durable = published(folder, 600).await;
    let note = fs::read(folder.join("checkpoint")).unwrap();
    let partial = folder.join("tile/0/002.p/88");
    let good = fs::read(&partial).unwrap();
    let mut bent = good.clone();
    bent[5] ^= 1;
    for damaged in [
        Some(bent),
        Some(good[..100].to_vec()),
        Some(Vec::new()),
        None,
    ] {
        match damaged {
            Some(bytes) => fs::write(&partial, bytes).unwrap(),
            None => fs::remove_dir_all(folder.join("tile")).unwrap(),
        }
        let again = publisher(folder, durable).unwrap();
        assert_eq!(fs::read(&partial).unwrap(), good);
        again.advance(durable).unwrap();
        assert_eq!(fs::read(folder.join("checkpoint")).unwrap(), note);
    }
}

#[tokio::test]
async fn a_log_that_is_not_the_checkpoints_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let durable = published(folder, 300).await;
    assert!(matches!(
        publisher(folder, durable - 1),
        Err(PublishError::Behind {
            log: 299,
            checkpoint: 300
        })
    ));
    // Another record in the place of one, and no tiles to tell the difference by.
    let segment = folder.join("00000000000000000000.seg");
    let text = fs::read_to_string(&segment).unwrap();
    let changed = text.replacen("key.create", "key.delete", 1);
    assert_ne!(changed, text);
    fs::write(&segment, changed).unwrap();
    fs::remove_dir_all(folder.join("tile")).unwrap();
    assert!(matches!(
        publisher(folder, durable),
        Err(PublishError::Forked(300))
    ));
    fs::write(&segment, text).unwrap();
    assert!(publisher(folder, durable).is_ok());
    // Another log's checkpoint, or one that was edited.
    let note = fs::read_to_string(folder.join("checkpoint")).unwrap();
    for wrong in [
        note.replace("300", "299"),
        note.replace('=', ""),
        String::new(),
    ] {
        fs::write(folder.join("checkpoint"), wrong).unwrap();
        assert!(matches!(
            publisher(folder, durable),
            Err(PublishError::Foreign(_))
        ));
    }
    fs::write(folder.join("checkpoint"), &note).unwrap();
    fs::remove_file(folder.join("key")).unwrap();
    assert!(matches!(
        publisher(folder, durable),
        Err(PublishError::Foreign(_))
    ));
}

#[tokio::test]
async fn a_checkpoint_is_only_of_what_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (log, _) = open(folder).unwrap();
    append(&log, 10).await;
    let publisher = publisher(folder, 0).unwrap();
    publisher.advance(4).unwrap();
    let size = || publisher.published().unwrap().checkpoint.size;
    assert_eq!(size(), 4);
    publisher.advance(3).unwrap();
    assert_eq!(size(), 4, "it never goes back");
    publisher.advance(10).unwrap();
    let said: Checkpoint = publisher
        .verifier()
        .open(publisher.published().unwrap().note.as_bytes())
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(said.size, 10);
    log.close().await;
}

#[test]
fn the_logs_key_lasts_and_opens_for_its_log_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let random = SystemRandomness::shared();
    let kek = |byte| Kek::new(Zeroizing::new([byte; Kek::LENGTH])).unwrap();
    let open = |origin: &str, byte| LogKey::open_or_create(&path, origin, &kek(byte), &*random);
    let made = open(ORIGIN, 1).unwrap();
    let stored = fs::read(&path).unwrap();
    assert_eq!(open(ORIGIN, 1).unwrap().public(), made.public());
    assert!(open(ORIGIN, 2).is_err() && open("https://other.example.org/n", 1).is_err());
    for broken in [&stored[..stored.len() / 2], b"", b"{}", b"{\"version\":2}"] {
        fs::write(&path, broken).unwrap();
        assert!(open(ORIGIN, 1).is_err());
        assert_eq!(fs::read(&path).unwrap(), broken, "left as it is");
    }
    // Sealed: the seed is nowhere in the file.
    assert!(!String::from_utf8(stored).unwrap().contains("\"d\""));
}
