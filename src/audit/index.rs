//! What is found where in a sealed segment: a file that is made from the segment and can be made again.
//!
//! It says nothing that is believed of a record: a search that skips what the index rules out reads the rest, and asks each
//! record itself. A block is the run of records of one tile. The format, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 76 | magic, version, blocks, postings, first record, records, segment's size, first and last time, whole?, CRC-32 |
//! | pages | per block: where it begins, its first and last time (microseconds) |
//! | pages | postings, sorted: 64 bits of the SHA-256 of field and value, or of a network, and the block that it is in |
//!
//! A page holds up to 4092 bytes of whole entries, then their CRC-32, so that a look-up reads a page or two and believes no
//! damaged one. Where any record of the segment cannot be read as one, the index says so, and rules nothing out.
//!
//! An address is posted under networks of a few lengths, and so is the first address of each network that a summary of
//! refusals counts. A search by network looks up the narrowest of those lengths that holds what is asked for, and where that
//! may be a part of what a summary counts, a /64 of a /48, also the first such part. An index rules nothing out where a
//! network is not of the lengths that summaries count by, and could be missed.

mod build;
mod networks;
mod pages;

pub(super) use build::build;

use super::device::Segments;
use super::filter::Filter;
use super::seen::Field;
use super::segment::Damage;
use jiff::Timestamp;
use pages::Pages;
use std::collections::BTreeSet;
use std::io::{self, Read};

const MAGIC: [u8; 8] = *b"cmblogix";
/// 2: networks as well. 3: those of summaries of refusals, too. 4: local users. What is of another version is made again.
const VERSION: u32 = 4;
const HEADER: usize = 76;
/// A block's entry: where it begins, its first and last time.
const BLOCK: usize = 24;
/// A posting: hash and block.
const POSTING: usize = 12;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    blocks: u32,
    postings: u64,
    first: u64,
    records: u64,
    size: u64,
    /// First and last time.
    times: (i64, i64),
    /// Whether all records were read.
    whole: bool,
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        for number in [self.postings, self.first, self.records, self.size] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.times.0.to_le_bytes());
        bytes.extend(self.times.1.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 0, u8::from(self.whole)]);
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// The header of the index of the segment that holds the records from `first` to before `next`; none if it is another's.
    fn read(input: &mut impl Read, first: u64, next: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER];
        input.read_exact(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let (magic, version) = (take(&mut rest)?, take(&mut rest)?);
        let header = Self {
            blocks: u32::from_le_bytes(take(&mut rest)?),
            postings: u64::from_le_bytes(take(&mut rest)?),
            first: u64::from_le_bytes(take(&mut rest)?),
            records: u64::from_le_bytes(take(&mut rest)?),
            size: u64::from_le_bytes(take(&mut rest)?),
            times: (
                i64::from_le_bytes(take(&mut rest)?),
                i64::from_le_bytes(take(&mut rest)?),
            ),
            whole: take::<8>(&mut rest)? == [0, 0, 0, 0, 0, 0, 0, 1],
        };
        let sound = magic == MAGIC
            && u32::from_le_bytes(version) == VERSION
            && header.bytes() == bytes
            && header.first == first
            && header.first.checked_add(header.records) == Some(next)
            && header.blocks == build::blocks(first, next);
        Ok(sound.then_some(header))
    }

    /// Whether a record from within these times may be wanted.
    fn is_within(times: (i64, i64), filter: &Filter) -> bool {
        let late = filter.from.is_none_or(|from| times.1 >= micros(from));
        late && filter.until.is_none_or(|until| times.0 <= micros(until))
    }
}

/// Whether a segment's index is the one that its first `size` bytes make. One that is not there, or that no search asks, is.
pub(super) fn is_right(
    segments: &dyn Segments,
    first: u64,
    next: u64,
    size: u64,
) -> Result<bool, Damage> {
    if !is_sound(segments, first, next) {
        return Ok(true);
    }
    let made = build(segments.read(first)?, first, next, size)?;
    let most = u64::try_from(made.len()).unwrap_or(u64::MAX);
    let mut held = Vec::with_capacity(made.len());
    let index = segments.index(first)?;
    index.take(most.saturating_add(1)).read_to_end(&mut held)?;
    Ok(held == made)
}

/// A run of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first of them, and the byte it begins at.
    pub(super) next: u64,
    pub(super) offset: u64,
    /// The one after the last.
    pub(super) end: u64,
}

/// Whether the index of a segment is there and of this segment. What is behind its header is looked at when it is used.
pub(super) fn is_sound(segments: &dyn Segments, first: u64, next: u64) -> bool {
    let index = segments.index(first);
    index.is_ok_and(|mut index| matches!(Header::read(&mut index, first, next), Ok(Some(_))))
}

/// The blocks of a segment in which a wanted record may be, ascending; none where no index says so, and all of it must be
/// looked through.
pub(super) fn blocks(
    segments: &dyn Segments,
    first: u64,
    next: u64,
    filter: &Filter,
) -> Option<Vec<Block>> {
    let index = segments.index(first).ok()?;
    match look_up(index, first, next, filter) {
        Ok(blocks) => blocks,
        Err(_) => {
            // Whoever holds the folder makes it again.
            segments.distrust(first);
            None
        }
    }
}

fn look_up(
    mut index: Box<dyn super::device::Source>,
    first: u64,
    next: u64,
    filter: &Filter,
) -> io::Result<Option<Vec<Block>>> {
    let Some(header) = Header::read(&mut index, first, next)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if !header.whole {
        return Ok(None);
    }
    if !Header::is_within(header.times, filter) {
        return Ok(Some(Vec::new()));
    }
    let table = Pages::<BLOCK>::new(HEADER as u64, u64::from(header.blocks));
    let postings = Pages::<POSTING>::new(table.end(), header.postings);
    let mut postings = postings.reader(&mut *index);
    let mut wanted: Option<BTreeSet<u32>> = None;
    for hashes in asked(filter) {
        let mut found = BTreeSet::new();
        for hash in hashes {
            let mut at = postings.lower_bound(hash)?;
            while at < header.postings && postings.key(at)? == hash {
                let block = postings.entry(at)?.last_chunk().copied();
                found.insert(u32::from_le_bytes(block.unwrap_or_default()));
                at = at.saturating_add(1);
            }
        }
        wanted = Some(match wanted {
            Some(before) => &before & &found,
            None => found,
        });
        if wanted.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Some(Vec::new()));
        }
    }
    let wanted: Vec<u32> = match wanted {
        Some(wanted) => wanted.into_iter().collect(),
        None => (0..header.blocks).collect(),
    };
    let mut table = table.reader(&mut *index);
    let mut blocks = Vec::new();
    for block in wanted {
        let mut row = table.entry(u64::from(block))?;
        let offset = u64::from_le_bytes(take(&mut row)?);
        let times = (
            i64::from_le_bytes(take(&mut row)?),
            i64::from_le_bytes(take(&mut row)?),
        );
        if Header::is_within(times, filter) {
            let begin = build::block_begin(first, block);
            blocks.push(Block {
                next: begin.max(first),
                offset,
                end: build::block_begin(first, block.saturating_add(1)).min(next),
            });
        }
    }
    Ok(Some(blocks))
}

/// What a wanted record is found by: by one of each.
fn asked(filter: &Filter) -> impl Iterator<Item = Vec<u64>> {
    let terms = filter.terms.iter();
    let terms =
        terms.map(|(field, values)| values.iter().map(|value| term(*field, value)).collect());
    // One that is wider than what is found rules nothing out, and so do all together.
    let networks = filter.networks.iter().map(networks::looked_up_by);
    let networks = networks.collect::<Option<Vec<_>>>();
    let networks = networks.filter(|networks| !networks.is_empty());
    terms.chain(networks.map(|all| all.iter().flatten().map(|one| network(one)).collect()))
}

/// What a field's value is found by.
fn term(field: Field, value: &str) -> u64 {
    hash(field as u8, value)
}

/// What a network is found by. No field has this number.
fn network(text: &str) -> u64 {
    hash(0, text)
}

/// The same for ever: a change of it is another version.
fn hash(tag: u8, value: &str) -> u64 {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    digest.update(&[tag]);
    digest.update(value.as_bytes());
    let digest = digest.finish();
    let begin = digest.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(begin)
}

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (taken, behind) = rest
        .split_first_chunk()
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = behind;
    Ok(*taken)
}

#[cfg(test)]
mod tests;
