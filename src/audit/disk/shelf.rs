//! Tiles and the checkpoint as files, named as C2SP tlog-tiles has them: `checkpoint` and what is under `tile/` can be served
//! as they are. The rest of the folder must not be.

use super::{note_file, remove};
use crate::audit::shelf::Shelf;
use crate::audit::tree::{Hash, Tile, Tiles};
use crate::regular;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

const CHECKPOINT: &str = "checkpoint";
/// Bytes of a full tile.
const LARGEST: u64 = Tile::FULL as u64 * Hash::LENGTH as u64;

/// The shelf in a log's folder.
#[derive(Clone, Debug)]
pub struct DiskShelf {
    folder: PathBuf,
}

impl DiskShelf {
    /// The file with the verifier key.
    pub const KEY: &str = "vkey";

    /// The shelf in `folder`, which must be there.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Where a tile is. No folder on the way may lead elsewhere: what is there would be read, replaced and removed as tiles.
    fn path(&self, tile: Tile) -> io::Result<PathBuf> {
        let path = self.folder.join(tile.to_string());
        let ways = path.ancestors().skip(1);
        for folder in ways.take_while(|way| *way != self.folder) {
            regular::folder(folder)?;
        }
        Ok(path)
    }

    /// A tile's own file, or that of a wider form: the full one, or the widest partial one.
    fn found(&self, tile: Tile) -> io::Result<PathBuf> {
        let own = self.path(tile)?;
        if own.try_exists()? {
            return Ok(own);
        }
        let full = self.path(tile.full())?;
        if full.try_exists()? {
            return Ok(full);
        }
        let widths = self.partial(tile)?;
        let widest = widths.into_iter().max().ok_or_else(|| missing(tile))?;
        let tile = Tile {
            width: widest,
            ..tile
        };
        self.path(tile)
    }

    /// The widths of a tile's partial forms.
    fn partial(&self, tile: Tile) -> io::Result<Vec<u16>> {
        let listed = match fs::read_dir(self.partial_folder(tile)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut widths = Vec::new();
        for entry in listed {
            // Another name is a file that was never finished.
            let name = entry?.file_name();
            let width = name.to_str().and_then(|name| name.parse::<u16>().ok());
            let is_one = |width: &u16| (1..Tile::FULL).contains(width);
            widths.extend(width.filter(is_one));
        }
        Ok(widths)
    }

    fn partial_folder(&self, tile: Tile) -> io::Result<PathBuf> {
        let partial = self.path(Tile { width: 1, ..tile })?;
        Ok(partial.parent().unwrap_or(&self.folder).to_owned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        note_file::write(&self.folder, &self.folder.join(name), bytes)
    }
}

impl Tiles for DiskShelf {
    fn read(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        let mut bytes = Vec::new();
        regular::open(&self.found(tile)?)?.read_to_end(&mut bytes)?;
        let (hashes, rest) = bytes.as_chunks::<{ Hash::LENGTH }>();
        let whole = rest.is_empty() && hashes.len() <= usize::from(Tile::FULL);
        let wanted = hashes.get(..usize::from(tile.width)).filter(|_| whole);
        let wanted = wanted.ok_or_else(|| missing(tile))?;
        Ok(wanted.iter().copied().map(Hash::new).collect())
    }
}

impl Shelf for DiskShelf {
    fn put(&self, tile: Tile, hashes: &[Hash]) -> io::Result<()> {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.bytes()).collect();
        let path = self.path(tile)?;
        let parent = path.parent().unwrap_or(&self.folder);
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(parent)?;
        let mut draft = NamedTempFile::new_in(parent)?;
        draft.write_all(&bytes)?;
        draft.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        // Hundreds of small files and their names at once, under load.
        Ok(rustix::fs::syncfs(File::open(&self.folder)?)?)
    }

    fn holds_tiles(&self) -> io::Result<bool> {
        self.folder.join("tile").try_exists()
    }

    fn forms(&self, tile: Tile) -> io::Result<Vec<Tile>> {
        let partial = self.partial(tile)?.into_iter();
        let mut forms: Vec<Tile> = partial.map(|width| Tile { width, ..tile }).collect();
        if self.path(tile.full())?.try_exists()? {
            forms.push(tile.full());
        }
        Ok(forms)
    }

    fn form(&self, tile: Tile) -> io::Result<Option<Vec<u8>>> {
        let file = match regular::open(&self.path(tile)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        // No more of it than tells that it is too large.
        file.take(LARGEST.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn sweep(&self, tile: Tile, kept: u16) -> io::Result<()> {
        let widths = self.partial(tile)?.into_iter();
        for width in widths.filter(|width| *width > kept) {
            remove(&self.path(Tile { width, ..tile })?)?;
        }
        Ok(())
    }

    fn prune(&self, tile: Tile) -> io::Result<()> {
        match fs::remove_dir_all(self.partial_folder(tile)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn put_key(&self, key: &str) -> io::Result<()> {
        let line = format!("{key}\n");
        match note_file::read(&self.folder.join(Self::KEY)) {
            Ok(Some(kept)) if kept == line.as_bytes() => Ok(()),
            _ => self.write(Self::KEY, line.as_bytes()),
        }
    }

    fn checkpoint(&self) -> io::Result<Option<Vec<u8>>> {
        note_file::read(&self.folder.join(CHECKPOINT))
    }

    fn put_checkpoint(&self, note: &[u8]) -> io::Result<()> {
        self.write(CHECKPOINT, note)
    }
}

fn missing(tile: Tile) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{tile} is not there, or is not whole"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Files elsewhere that are named as tiles stay as they are, whichever folder on the way is a link.
    #[test]
    fn a_link_in_a_folders_place_is_refused_and_named() {
        let tile = Tile {
            level: 0,
            index: 1_000,
            width: 200,
        };
        for link in ["tile", "tile/0", "tile/0/x001", "tile/0/x001/000.p"] {
            let folder = tempfile::tempdir().unwrap();
            let (log, elsewhere) = (folder.path().join("log"), folder.path().join("elsewhere"));
            let own = elsewhere.join(tile.to_string());
            fs::create_dir_all(own.parent().unwrap()).unwrap();
            fs::write(&own, b"mine").unwrap();
            let path = log.join(link);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(elsewhere.join(link), &path).unwrap();
            let shelf = DiskShelf::new(&log);
            let refused = [
                shelf.put(tile, &[Hash::new([0; Hash::LENGTH])]),
                shelf.sweep(tile, 100),
                shelf.prune(tile),
                shelf.read(tile).map(drop),
                shelf.forms(tile).map(drop),
                shelf.form(tile).map(drop),
            ];
            for refused in refused {
                let told = refused.unwrap_err().to_string();
                assert_eq!(told, format!("{} is not a folder", path.display()));
            }
            assert_eq!(fs::read(&own).unwrap(), b"mine");
        }
    }
}
