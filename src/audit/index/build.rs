//! Making an index.

use super::{Header, micros, network, networks, pages, term};
use crate::audit::device::Source;
use crate::audit::seen::Seen;
use crate::audit::segment::{Damage, Line, Lines, ends_early};
use crate::audit::tree::Tile;
use std::io::Read as _;

/// What is gathered of a block.
#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u64,
    times: (i64, i64),
}

/// No time: what any time widens.
const NEVER: (i64, i64) = (i64::MAX, i64::MIN);

/// Reads the segment that holds the records from `first` to before `next`, in its first `size` bytes, and answers its index.
pub(in crate::audit) fn build(
    segment: Box<dyn Source>,
    first: u64,
    next: u64,
    size: u64,
) -> Result<Vec<u8>, Damage> {
    let mut lines = Lines::open(segment.take(size), first)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut postings: Vec<(u64, u32)> = Vec::new();
    let mut whole = true;
    let mut line = Vec::new();
    loop {
        let (offset, sequence) = (lines.offset, lines.next);
        match lines.pass(&mut line)? {
            Line::Record(_) => {}
            Line::End if sequence == next => break,
            Line::End => return Err(ends_early(offset)),
            Line::Broken(what) => return Err(Damage::At { offset, what }),
        }
        let block = block_of(first, sequence);
        if rows.is_empty() || sequence.is_multiple_of(u64::from(Tile::FULL)) {
            let times = NEVER;
            rows.push(Row { offset, times });
        }
        let (Ok(seen), Some(row)) = (Seen::read(&line), rows.last_mut()) else {
            whole = false;
            continue;
        };
        row.times = widened(row.times, micros(seen.time));
        let terms = seen.terms().map(|(field, value)| term(field, value));
        whole = whole
            && seen
                .networks()
                .all(|counted| networks::can_be_found(&counted));
        let counted = seen.networks().map(|counted| counted.network());
        let addresses = seen.address().into_iter().chain(counted);
        let networks = addresses.flat_map(networks::of);
        let networks = networks.map(|text| network(&text));
        postings.extend(terms.chain(networks).map(|hash| (hash, block)));
    }
    postings.sort_unstable();
    postings.dedup();
    let times = rows.iter().fold(NEVER, |all, row| {
        widened(widened(all, row.times.0), row.times.1)
    });
    let header = Header {
        blocks: blocks(first, next),
        postings: u64::try_from(postings.len()).unwrap_or(u64::MAX),
        first,
        records: next.saturating_sub(first),
        size,
        times,
        whole,
    };
    let mut index = header.bytes();
    pages::write(&mut index, rows.iter().map(block));
    pages::write(&mut index, postings.into_iter().map(posting));
    Ok(index)
}

fn widened(times: (i64, i64), time: i64) -> (i64, i64) {
    (times.0.min(time), times.1.max(time))
}

/// How many blocks the records from `first` to before `next` make.
pub(super) fn blocks(first: u64, next: u64) -> u32 {
    block_of(first, next.saturating_sub(1)).saturating_add(u32::from(next > first))
}

/// The block of a record of a segment.
fn block_of(first: u64, sequence: u64) -> u32 {
    let tile = |sequence: u64| sequence / u64::from(Tile::FULL);
    u32::try_from(tile(sequence).saturating_sub(tile(first))).unwrap_or(u32::MAX)
}

/// Where a block of a segment would begin if the segment did not begin within it.
pub(super) fn block_begin(first: u64, block: u32) -> u64 {
    let full = u64::from(Tile::FULL);
    (first / full)
        .saturating_add(u64::from(block))
        .saturating_mul(full)
}

fn block(row: &Row) -> [u8; super::BLOCK] {
    let mut bytes = [0; super::BLOCK];
    let numbers = [
        row.offset.to_le_bytes(),
        row.times.0.to_le_bytes(),
        row.times.1.to_le_bytes(),
    ];
    bytes.copy_from_slice(numbers.as_flattened());
    bytes
}

fn posting((hash, block): (u64, u32)) -> [u8; super::POSTING] {
    let mut bytes = [0; super::POSTING];
    let (key, place) = bytes.split_at_mut(8);
    key.copy_from_slice(&hash.to_le_bytes());
    place.copy_from_slice(&block.to_le_bytes());
    bytes
}
