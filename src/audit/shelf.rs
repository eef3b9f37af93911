//! Where tiles and checkpoints are kept.

use super::tree::{Hash, Tile, Tiles};
use std::fmt;
use std::io;

/// A place for a log's tiles and its last checkpoint. What it holds can be made again from the segments.
pub trait Shelf: Tiles + fmt::Debug + Send + Sync {
    /// Writes a tile. It is whole, but durable only after [`Shelf::settle`].
    ///
    /// # Errors
    /// When it may not be written.
    fn put(&self, tile: Tile, hashes: &[Hash]) -> io::Result<()>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// When some of it may not be.
    fn settle(&self) -> io::Result<()>;

    /// Whether any tile is there.
    ///
    /// # Errors
    /// When that cannot be told.
    fn holds_tiles(&self) -> io::Result<bool>;

    /// The forms in which a tile is there, of whatever width, each as a tile of its own.
    ///
    /// # Errors
    /// When that cannot be told.
    fn forms(&self, tile: Tile) -> io::Result<Vec<Tile>>;

    /// What is there of exactly this form of a tile, whole or not; none where it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn form(&self, tile: Tile) -> io::Result<Option<Vec<u8>>>;

    /// Drops the partial forms of a tile that are wider than `kept`, before it is signed for: what an earlier attempt left,
    /// which was never made durable and no checkpoint is of.
    ///
    /// # Errors
    /// When one is still there.
    fn sweep(&self, tile: Tile, kept: u16) -> io::Result<()>;

    /// Drops the partial forms of a full tile, which serves for them.
    ///
    /// # Errors
    /// When one is still there.
    fn prune(&self, tile: Tile) -> io::Result<()>;

    /// Keeps the key that checkpoints are verified with beside them.
    ///
    /// # Errors
    /// When it may not be kept.
    fn put_key(&self, key: &str) -> io::Result<()>;

    /// The last checkpoint, as a signed note.
    ///
    /// # Errors
    /// When it cannot be read.
    fn checkpoint(&self) -> io::Result<Option<Vec<u8>>>;

    /// Keeps a checkpoint, durably, in the place of the last one.
    ///
    /// # Errors
    /// When it may not be kept.
    fn put_checkpoint(&self, note: &[u8]) -> io::Result<()>;
}
