//! The published tree, on real files, as a verifier that is not ours sees it.

mod meanwhile;

use crate::support::log::{ORIGIN, RESERVE, open, open_on};
use crate::support::witness::{Manner, Witness};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::audit::tree;
use cambist::audit::{
    Act, ActKind, Checkpoint, Disk, DiskReader, DiskShelf, Finding, Log, NoteKey, PublishError,
    Publisher, Segments, Shelf, read, verify,
};
use cambist::clock::SystemRandomness;
use cambist::keys::{Kek, LogKey, LogKeyError};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tlog_tiles::{Hash, TileHashReader, TileReader};
use zeroize::Zeroizing;

/// Tiles as anybody reads them who was given the folder.
struct Foreign(PathBuf);

impl TileReader for Foreign {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height first, as Go's checksum database does; C2SP's do not. As a server of files would have
        // it: a partial tile, or the full one once it is there.
        let read = |tile: &tlog_tiles::Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let full = path.split(".p/").next().unwrap();
            let own = fs::read(self.0.join(&path));
            let mut bytes = own.unwrap_or_else(|_| fs::read(self.0.join(full)).unwrap());
            bytes.truncate(usize::try_from(tile.width()).unwrap() * 32);
            bytes
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn key(folder: &Path) -> LogKey {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    match LogKey::open(&folder.join("key"), ORIGIN, &kek).unwrap() {
        Some(key) => key,
        None => LogKey::create(
            &folder.join("key"),
            ORIGIN,
            Some(0),
            &kek,
            &*SystemRandomness::shared(),
        )
        .unwrap(),
    }
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
            let proof = publisher.prove(index).unwrap().unwrap();
            assert_eq!(proof.path.iter().map(theirs).collect::<Vec<_>>(), ours);
            let line = &lines[usize::try_from(index).unwrap()];
            let checkpoint = proof.verify(line, publisher.verifier()).unwrap();
            assert_eq!(checkpoint.size, size);
        }
        assert_eq!(publisher.prove(size).unwrap(), None, "not covered yet");
        if let Some((old, was)) = before {
            // Whoever has an earlier checkpoint finds its tiles still.
            let earlier = TileHashReader::new(old, was, &foreign);
            assert_eq!(tlog_tiles::tree_hash(old, &earlier).unwrap(), was);
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
    // Partial forms stay until the tile is full.
    let widths = fs::read_dir(folder.join("tile/0/004.p")).unwrap();
    assert_eq!(widths.count(), 2);
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
    // Another record in the place of the last; or of the first, and no tiles to tell the difference by.
    let segment = folder.join("00000000000000000000.seg");
    let text = fs::read_to_string(&segment).unwrap();
    let (before, after) = text.rsplit_once("key.create").unwrap();
    let first = text.replacen("key.create", "key.delete", 1);
    for (changed, tiles) in [(format!("{before}key.delete{after}"), true), (first, false)] {
        assert_ne!(changed, text);
        fs::write(&segment, changed).unwrap();
        if !tiles {
            fs::rename(folder.join("tile"), folder.join("away")).unwrap();
        }
        assert!(matches!(
            publisher(folder, durable),
            Err(PublishError::Forked(300))
        ));
    }
    fs::write(&segment, text).unwrap();
    fs::rename(folder.join("away"), folder.join("tile")).unwrap();
    assert!(publisher(folder, durable).is_ok());
    // Another log's checkpoint, or one that was edited.
    let note = fs::read_to_string(folder.join("checkpoint")).unwrap();
    for wrong in [
        note.replace("300", "299"),
        note.replace('=', ""),
        String::new(),
    ] {
        fs::write(folder.join("checkpoint"), wrong).unwrap();
        let Err(spoiled @ PublishError::Spoiled(_)) = publisher(folder, durable) else {
            panic!("it is taken")
        };
        let told = spoiled.to_string();
        assert!(told.contains("put the file `checkpoint` back"), "{told}");
    }
    // Tiles without a checkpoint are not begun anew.
    fs::remove_file(folder.join("checkpoint")).unwrap();
    assert!(matches!(
        publisher(folder, durable),
        Err(PublishError::NoCheckpoint)
    ));
    fs::write(folder.join("checkpoint"), &note).unwrap();
    // What is in the way is named.
    fs::rename(folder.join("vkey"), folder.join("away")).unwrap();
    fs::create_dir(folder.join("vkey")).unwrap();
    let Err(PublishError::Io(error)) = publisher(folder, durable) else {
        panic!("a folder is no file")
    };
    assert!(error.to_string().contains("vkey"), "{error}");
    fs::remove_dir(folder.join("vkey")).unwrap();
    fs::remove_file(folder.join("key")).unwrap();
    assert!(matches!(
        publisher(folder, durable),
        Err(PublishError::Spoiled(_))
    ));
}

/// The tiles are what tells which record was changed, also after a start has refused.
#[tokio::test]
async fn a_start_on_changed_records_leaves_the_tiles_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let durable = published(folder, 600).await;
    let segment = folder.join("00000000000000000000.seg");
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replace("key.create", "key.delete")).unwrap();
    let tiles = || {
        ["0/000", "0/001", "0/002.p/88"]
            .map(|name| fs::read(folder.join("tile").join(name)).unwrap())
    };
    let before = tiles();
    let refused = publisher(folder, durable);
    assert!(matches!(refused, Err(PublishError::Forked(600))));
    assert_eq!(tiles(), before);
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

/// It goes under the checkpoint that it is of while that is the last one, and brings none back.
#[tokio::test]
async fn a_cosignature_is_kept_with_its_own_checkpoint_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (log, _) = open(folder).unwrap();
    append(&log, 10).await;
    let publisher = publisher(folder, 0).unwrap();
    publisher.advance(4).unwrap();
    let four = publisher.published().unwrap();
    let witness = Witness::new("w.example.net");
    let key: NoteKey = witness.vkey().parse().unwrap();
    let text = four.checkpoint.to_string();
    let line = String::from_utf8(witness.cosign(text.as_bytes())).unwrap();
    let line = line.trim_end();
    let kept = || fs::read_to_string(folder.join("checkpoint")).unwrap();
    assert!(publisher.cosigned(&four.checkpoint, &key, line).unwrap());
    assert_eq!(kept(), format!("{}{line}\n", four.note));
    assert_eq!(publisher.published().unwrap().note, kept());
    // Once more is not twice, and what is none is not kept.
    assert!(publisher.cosigned(&four.checkpoint, &key, line).unwrap());
    assert_eq!(kept(), format!("{}{line}\n", four.note));
    witness.is(Manner::Lies);
    let lie = String::from_utf8(witness.cosign(text.as_bytes())).unwrap();
    assert!(
        publisher
            .cosigned(&four.checkpoint, &key, lie.trim_end())
            .is_err()
    );
    assert_eq!(kept(), format!("{}{line}\n", four.note));
    // A start finds it, and proofs carry it.
    let again = self::publisher(folder, 10).unwrap();
    let proof = again.prove(3).unwrap().unwrap();
    assert!(proof.note.ends_with(&format!("{line}\n")));
    proof.verify(&lines(folder)[3], again.verifier()).unwrap();
    again.advance(10).unwrap();
    let ten = kept();
    assert!(!again.cosigned(&four.checkpoint, &key, line).unwrap());
    assert_eq!(kept(), ten);
    assert_eq!(again.published().unwrap().checkpoint.size, 10);
    log.close().await;
}

/// A shelf that notes what is done to it, in order.
#[derive(Debug)]
struct Noted {
    shelf: DiskShelf,
    done: Mutex<Vec<&'static str>>,
}

impl Noted {
    fn note(&self, what: &'static str) {
        self.done.lock().unwrap().push(what);
    }
}

impl tree::Tiles for Noted {
    fn read(&self, tile: tree::Tile) -> io::Result<Vec<tree::Hash>> {
        self.shelf.read(tile)
    }
}

impl Shelf for Noted {
    fn put(&self, tile: tree::Tile, hashes: &[tree::Hash]) -> io::Result<()> {
        self.note("put");
        self.shelf.put(tile, hashes)
    }

    fn settle(&self) -> io::Result<()> {
        self.note("settle");
        self.shelf.settle()
    }

    fn holds_tiles(&self) -> io::Result<bool> {
        self.shelf.holds_tiles()
    }

    fn forms(&self, tile: tree::Tile) -> io::Result<Vec<tree::Tile>> {
        self.shelf.forms(tile)
    }

    fn form(&self, tile: tree::Tile) -> io::Result<Option<Vec<u8>>> {
        self.shelf.form(tile)
    }

    fn sweep(&self, tile: tree::Tile, kept: u16) -> io::Result<()> {
        self.shelf.sweep(tile, kept)
    }

    fn prune(&self, tile: tree::Tile) -> io::Result<()> {
        self.note("prune");
        self.shelf.prune(tile)
    }

    fn put_key(&self, key: &str) -> io::Result<()> {
        self.shelf.put_key(key)
    }

    fn checkpoint(&self) -> io::Result<Option<Vec<u8>>> {
        self.shelf.checkpoint()
    }

    fn put_checkpoint(&self, note: &[u8]) -> io::Result<()> {
        self.note("checkpoint");
        self.shelf.put_checkpoint(note)
    }
}

/// No power cut leaves a checkpoint without its tiles.
#[tokio::test]
async fn tiles_are_durable_before_their_checkpoint_and_go_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (log, _) = open(folder).unwrap();
    let durable = append(&log, 300).await;
    let shelf = Arc::new(Noted {
        shelf: DiskShelf::new(folder),
        done: Mutex::default(),
    });
    let segments = Arc::new(DiskReader::new(folder));
    let kept = Arc::clone(&shelf) as Arc<dyn Shelf>;
    let publisher = Publisher::open(segments, kept, key(folder), ORIGIN, durable).unwrap();
    shelf.done.lock().unwrap().clear();
    publisher.advance(durable).unwrap();
    let mut done = shelf.done.lock().unwrap().clone();
    done.dedup();
    assert_eq!(done, ["put", "settle", "checkpoint", "prune"]);
    log.close().await;
}

#[test]
fn the_logs_key_lasts_and_opens_for_its_log_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let random = SystemRandomness::shared();
    let kek = |byte| Kek::new(Zeroizing::new([byte; Kek::LENGTH])).unwrap();
    let open = |log: &str, byte| LogKey::open(&path, log, &kek(byte));
    assert!(open("a", 1).unwrap().is_none());
    let made = LogKey::create(&path, "a", Some(0), &kek(1), &*random).unwrap();
    let stored = fs::read(&path).unwrap();
    assert_eq!(open("a", 1).unwrap().unwrap().public(), made.public());
    assert!(open("a", 2).is_err());
    assert!(matches!(open("b", 1), Err(LogKeyError::OtherLog(of)) if of == "a"));
    assert!(LogKey::create(&path, "b", Some(0), &kek(1), &*random).is_err());
    // Said to be another log's, it does not open for that one either.
    let text = String::from_utf8(stored.clone()).unwrap();
    let moved = text.replace("\"log\":\"a\"", "\"log\":\"b\"");
    fs::write(&path, &moved).unwrap();
    assert!(matches!(open("b", 1), Err(LogKeyError::Sealed(..))));
    for broken in [&stored[..stored.len() / 2], b"", b"{}", b"{\"version\":2}"] {
        fs::write(&path, broken).unwrap();
        assert!(open("a", 1).is_err());
        assert_eq!(fs::read(&path).unwrap(), broken, "left as it is");
    }
    // Sealed: what every key of this kind begins with (RFC 8410 section 7) is not in it.
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sealed = parsed["sealed"]["ciphertext"].as_str().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
    let algorithm = [0x06, 0x03, 0x2b, 0x65, 0x70];
    assert!(!bytes.windows(5).any(|window| window == algorithm));
}
