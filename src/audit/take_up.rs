//! Taking the tree up where a checkpoint left it.

use super::checkpoint::Checkpoint;
use super::device::Segments;
use super::edge::Edge;
use super::publisher::PublishError;
use super::read::{ReadError, records};
use super::shelf::Shelf;
use super::tree::{Hash, Tile, leaf};
use std::io;
use std::sync::Arc;

/// The tree's edge at a checkpoint: from the tiles, or, where they are damaged, from all the records.
pub(super) fn take_up(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    checkpoint: &Checkpoint,
) -> Result<Edge, PublishError> {
    let is_right = |edge: &Edge| edge.frontier.root() == checkpoint.root;
    let edge = Edge::from_tiles(shelf, checkpoint.size).ok();
    if let Some(edge) = edge.filter(is_right)
        && ends_alike(device, shelf, checkpoint.size)?
    {
        return Ok(edge);
    }
    tracing::warn!("the log's tiles are not those of its records: the tree is computed anew");
    // Looked at as a whole before anything is written: if it is the records that were changed, the tiles say which.
    let edge = regrow(device, checkpoint.size, |_, _| Ok(()))?;
    if !is_right(&edge) {
        return Err(PublishError::Forked(checkpoint.size));
    }
    let edge = regrow(device, checkpoint.size, |tile, hashes| {
        shelf.put(tile, hashes)
    })?;
    shelf.settle()?;
    Ok(edge)
}

/// The tree over the first `size` records; `put` is given all of its tiles.
fn regrow(
    device: &Arc<dyn Segments>,
    size: u64,
    put: impl Fn(Tile, &[Hash]) -> io::Result<()>,
) -> Result<Edge, PublishError> {
    let mut edge = Edge::default();
    for entry in records(Arc::clone(device), 0)? {
        if edge.frontier.size() == size {
            break;
        }
        for (tile, hashes) in edge.push(leaf(&entry?.line)) {
            put(tile, &hashes)?;
        }
    }
    for (tile, hashes) in edge.partial() {
        put(tile, hashes)?;
    }
    Ok(edge)
}

/// The root over the first `size` records, which are more than `edge` is of.
pub(super) fn beyond(
    device: &Arc<dyn Segments>,
    edge: &Edge,
    size: u64,
) -> Result<Hash, PublishError> {
    let mut frontier = edge.frontier.clone();
    let mut all = records(Arc::clone(device), frontier.size())?;
    while frontier.size() < size {
        let entry = all.next().ok_or(ReadError::Missing(frontier.size()))?;
        frontier.push(leaf(&entry?.line), |_, _| ());
    }
    Ok(frontier.root())
}

/// Whether the last records that a checkpoint is of are those of its last tile. That is where another log, or an older copy,
/// differs; the rest is [`super::verify()`]'s, since it takes as long as the log is.
fn ends_alike(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    size: u64,
) -> Result<bool, PublishError> {
    let Some(last) = Tile::last_of(size).next() else {
        return Ok(true);
    };
    let begin = last.index.saturating_mul(u64::from(Tile::FULL));
    let hashes = shelf.read(last)?;
    let mut all = records(Arc::clone(device), begin)?;
    for hash in hashes {
        let Some(entry) = all.next() else {
            return Ok(false);
        };
        if leaf(&entry?.line) != hash {
            return Ok(false);
        }
    }
    Ok(true)
}
