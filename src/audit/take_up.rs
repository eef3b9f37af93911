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
    let edge = regrow(device, shelf, checkpoint.size, |_, _| Ok(()))?;
    if !is_right(&edge) {
        return Err(PublishError::Forked(checkpoint.size));
    }
    let edge = regrow(device, shelf, checkpoint.size, |tile, hashes| {
        shelf.put(tile, hashes)
    })?;
    shelf.settle()?;
    Ok(edge)
}

/// The first record there is: those before it were removed.
pub(super) fn begin(device: &Arc<dyn Segments>) -> io::Result<u64> {
    Ok(device.segments()?.first().copied().unwrap_or(0))
}

/// The tree over the first `size` records; `put` is given all of its tiles.
fn regrow(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    size: u64,
    put: impl Fn(Tile, &[Hash]) -> io::Result<()>,
) -> Result<Edge, PublishError> {
    let mut edge = Edge::default();
    let begins = begin(device)?.min(size);
    let mut all = records(Arc::clone(device), begins)?;
    while edge.frontier.size() < size {
        let at = edge.frontier.size();
        let mut leaves = Vec::new();
        if at < begins {
            // What was removed has left its hashes.
            let tile = Tile::of_leaf(at, size);
            let here = begins.saturating_sub(at).min(u64::from(tile.width));
            let here = usize::try_from(here).unwrap_or(usize::MAX);
            leaves.extend(shelf.read(tile)?.into_iter().take(here));
        } else {
            let Some(entry) = all.next() else { break };
            leaves.push(leaf(&entry?.line));
        }
        for (tile, hashes) in leaves.into_iter().flat_map(|leaf| edge.push(leaf)) {
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
    let tile = last.index.saturating_mul(u64::from(Tile::FULL));
    let begin = tile.max(begin(device)?);
    let gone = usize::try_from(begin.saturating_sub(tile)).unwrap_or(usize::MAX);
    let hashes = shelf.read(last)?;
    let mut all = records(Arc::clone(device), begin)?;
    for hash in hashes.into_iter().skip(gone) {
        let Some(entry) = all.next() else {
            return Ok(false);
        };
        if leaf(&entry?.line) != hash {
            return Ok(false);
        }
    }
    Ok(true)
}
