//! The log over HTTPS, as strangers see it: read by a Python client, believed or not by it and by crates that are not ours.

use super::foreign::{Foreign, Said};
use crate::support::broker::{Broker, Setup, Svid, ask, claims, peer};
use crate::support::disk::copy_folder;
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use std::path::PathBuf;
use tlog_tiles::{Hash, TileHashReader, TileReader, prove_record, prove_tree};

const READER: &str = "[[log.reader]]\nspiffe_id = \"spiffe://example.org/siem\"\n";

/// What was fetched of a log.
struct Mirror {
    folder: PathBuf,
    vkey: String,
    size: u64,
}

impl TileReader for Mirror {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height first, as Go's checksum database does; C2SP's do not.
        let read = |tile: &tlog_tiles::Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            fs::read(self.folder.join(path)).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

impl Mirror {
    async fn fetch(broker: &Broker, reader: &Svid, name: &str) -> Self {
        let folder = broker.path(name);
        let base = format!("{}/log", broker.issuer);
        let files = [&broker.ca, &reader.certificate, &reader.key, &folder];
        let files = files.map(|path| path.to_str().unwrap());
        let [ca, certificate, key, target] = files;
        let arguments = ["fetch", &base, ca, certificate, key, target];
        let said = Foreign::Python.log(&arguments).await.yes();
        Self {
            folder,
            vkey: said["vkey"].as_str().unwrap().to_owned(),
            size: said["size"].as_u64().unwrap(),
        }
    }

    /// A copy to do things to.
    fn copy(&self, name: &str) -> Self {
        let to = self.folder.with_file_name(name);
        copy_folder(&self.folder, &to);
        Self {
            folder: to,
            vkey: self.vkey.clone(),
            size: self.size,
        }
    }

    async fn python(&self, earlier: Option<&Self>) -> Said {
        let folder = self.folder.to_str().unwrap();
        let earlier = earlier.map(|earlier| earlier.folder.join("checkpoint"));
        let mut arguments = vec!["verify", folder, &self.vkey];
        arguments.extend(earlier.as_ref().map(|path| path.to_str().unwrap()));
        Foreign::Python.log(&arguments).await
    }

    fn checkpoint(&self) -> Result<(u64, Hash), String> {
        let note = fs::read(self.folder.join("checkpoint")).unwrap();
        let note = Note::from_bytes(&note).map_err(|error| error.to_string())?;
        let verifier = StandardVerifier::new(&self.vkey).unwrap();
        let known = VerifierList::new(vec![Box::new(verifier)]);
        note.verify(&known).map_err(|error| error.to_string())?;
        let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        Ok((read.size(), *read.hash()))
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for index in 0..self.size.div_ceil(256) {
            let width = (self.size - index * 256).min(256);
            let part = if width == 256 {
                String::new()
            } else {
                format!(".p/{width}")
            };
            let path = format!("tile/entries/{index:03}{part}");
            let bytes = fs::read(self.folder.join(path)).unwrap();
            let mut rest = bytes.as_slice();
            while let Some((length, after)) = rest.split_first_chunk() {
                let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
                found.push(entry.to_vec());
                rest = after;
            }
        }
        found
    }

    /// What the crates say of it: every record is in the tree, and the tree has grown from the earlier one.
    fn crates(&self, earlier: Option<&Self>) -> Result<(), String> {
        let told = |error: tlog_tiles::Error| format!("{error:?}");
        let (size, root) = self.checkpoint()?;
        let reader = TileHashReader::new(size, root, self);
        let entries = self.entries();
        let counted = u64::try_from(entries.len()).unwrap();
        if counted != size {
            return Err(format!("{counted} entries of {size}"));
        }
        for (index, entry) in (0..).zip(&entries) {
            let proof = prove_record(size, index, &reader).map_err(told)?;
            let hash = tlog_tiles::record_hash(entry);
            tlog_tiles::check_record(&proof, size, root, index, hash).map_err(told)?;
        }
        if let Some(earlier) = earlier {
            let (old, was) = earlier.checkpoint()?;
            let proof = prove_tree(size, old, &reader).map_err(told)?;
            tlog_tiles::check_tree(&proof, size, root, old, was).map_err(told)?;
        }
        Ok(())
    }

    async fn is_refused(&self, earlier: Option<&Self>, name: &str) {
        assert_eq!(self.python(earlier).await.refused(), name);
        let said = self.crates(earlier);
        assert!(said.is_err(), "{name}");
    }
}

/// Issues tokens, and waits until a checkpoint covers them. Answers the last one's id and index.
async fn issue(broker: &Broker, count: usize) -> (String, u64) {
    let caller = broker.web().await;
    let mut last = None;
    for _ in 0..count {
        last = Some(caller.yes(ask(peer(), "shop")).await);
    }
    let last = last.unwrap();
    let index = last.receipt.unwrap().index;
    broker.published(index + 1).await;
    let id = claims(&last.access_token)["jti"]
        .as_str()
        .unwrap()
        .to_owned();
    (id, index)
}

fn with_reader(setup: &mut Setup) {
    setup.config.push_str(READER);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_believe_the_log_and_nothing_that_was_done_to_it() {
    let mut broker = Broker::with(with_reader).await;
    let siem = broker.svid("spiffe://example.org/siem");
    issue(&broker, 20).await;
    let early = Mirror::fetch(&broker, &siem, "early").await;
    let (id, index) = issue(&broker, 280).await;
    let log = Mirror::fetch(&broker, &siem, "log").await;
    assert!(log.size > 256 && early.size < log.size);
    // As it is, all of it is believed, the issued token's record included.
    early.python(None).await.yes();
    let read = log.python(Some(&early)).await.yes();
    assert_eq!(log.crates(Some(&early)), Ok(()));
    let record = &read["records"][usize::try_from(index).unwrap()];
    assert!(record.to_string().contains(&id), "{record}");
    let entry = &log.entries()[usize::try_from(index).unwrap()];
    assert_eq!(serde_json::from_slice::<Value>(entry).unwrap(), *record);

    let edit = |name: &str, file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let copy = log.copy(name);
        let path = copy.folder.join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        copy
    };
    let entries = "tile/entries/000";
    let first = |bytes: &[u8]| 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let flipped = edit("flipped", entries, &|bytes| bytes[40] ^= 1);
    flipped.is_refused(None, "entries").await;
    let dropped = edit("dropped", entries, &|bytes| {
        bytes.drain(..first(bytes));
    });
    dropped.is_refused(None, "entries").await;
    let swapped = edit("swapped", entries, &|bytes| {
        let one = first(bytes);
        let two = first(&bytes[one..]);
        bytes[..one + two].rotate_left(one);
    });
    swapped.is_refused(None, "entries").await;
    let leaf = edit("leaf", "tile/0/000", &|bytes| bytes[100] ^= 1);
    leaf.is_refused(None, "root").await;
    let above = edit("above", "tile/1/000.p/1", &|bytes| bytes[0] ^= 1);
    above.is_refused(None, "tile").await;
    let grown = edit("grown", "checkpoint", &|bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let (was, more) = (format!("\n{}\n", log.size), format!("\n{}\n", log.size - 1));
        *bytes = text.replacen(&was, &more, 1).into_bytes();
    });
    grown.is_refused(None, "note").await;
    early.is_refused(Some(&log), "rolled back").await;

    // The real thing, forked: the same key goes on from an old copy of its folder.
    assert!(broker.terminate().await.success());
    copy_folder(&broker.path("data"), &broker.path("put-by"));
    broker.restart().await;
    issue(&broker, 5).await;
    let one = Mirror::fetch(&broker, &siem, "one").await;
    assert_eq!(one.crates(Some(&log)), Ok(()));
    broker.terminate().await;
    fs::remove_dir_all(broker.path("data")).unwrap();
    fs::rename(broker.path("put-by"), broker.path("data")).unwrap();
    broker.restart().await;
    issue(&broker, 9).await;
    let other = Mirror::fetch(&broker, &siem, "other").await;
    assert_eq!(other.vkey, one.vkey);
    assert!(other.size > one.size);
    other.python(Some(&log)).await.yes();
    assert_eq!(other.crates(Some(&log)), Ok(()));
    other.is_refused(Some(&one), "forked").await;
}
