//! Keeping sealed segments small and searchable, in the background.
//!
//! A segment before the one that is written to, whose records are all under the last checkpoint, is indexed ([`super::index`]) and
//! compressed ([`super::frames`]), one after the other and the oldest first. What a crash leaves behind:
//!
//! | crash after | the folder holds | what happens then |
//! |---|---|---|
//! | draft begun | the segment, half a draft | the draft is passed over, and replaced |
//! | draft synced, read back | the segment, a whole draft | the same |
//! | draft renamed | the segment, and perhaps its compressed form | the segment is read; both are compared, or it is compressed anew |
//! | folder synced | the same, surely | the same |
//! | segment removed | the compressed form, and perhaps the segment | the same |
//!
//! So what is removed is there in a form that was read back before, under its name, durably.

use super::device::{Segments, Source};
use super::frames::Packing;
use super::index;
use super::read::{ReadError, damaged, durable_size};
use super::segment::{Damage, Line, Lines, ends_early};
use super::tree::Tile;
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read as _, Write};
use std::sync::Arc;

/// What there may be of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The segment as it was written.
    Plain,
    /// The same bytes, compressed.
    Packed,
    /// What is found in it where.
    Index,
}

/// A place whose sealed segments are looked after.
pub trait Archive: Segments {
    /// The first record of the segment that this process writes to, or no record's number where it writes to none: no segment
    /// from there on is sealed, whatever somebody has put behind it.
    fn written(&self) -> u64;

    /// Whether a form of a segment is there.
    ///
    /// # Errors
    /// When that cannot be told.
    fn has(&self, first: u64, form: Form) -> io::Result<bool>;

    /// A form of a segment as it is there.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn form(&self, first: u64, form: Form) -> io::Result<Box<dyn Source>>;

    /// Puts a form of a segment in its place: written by `write`, and looked at by `check` as the device gives it back. It
    /// is durable, with its name, once this returns; before, there is what was there before.
    ///
    /// # Errors
    /// When any of it fails, or little free space is left.
    fn put(
        &self,
        first: u64,
        form: Form,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        check: &mut dyn FnMut(&mut dyn Source) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Removes a form of a segment, durably. One that is not there is no error.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove(&self, first: u64, form: Form) -> io::Result<()>;
}

/// What was done to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It has an index now.
    Indexed(u64),
    /// It is compressed now.
    Packed(u64),
}

/// Why a segment is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("the segment of record {first}: {error}")]
pub struct ArchiveError {
    first: u64,
    error: ReadError,
}

/// Looks after sealed segments.
#[derive(Debug)]
pub struct Archivist {
    archive: Arc<dyn Archive>,
    /// Those with which nothing is left to do, or that failed.
    passed: BTreeSet<u64>,
}

impl Archivist {
    /// Looks after the segments of `archive`.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        Self {
            archive,
            passed: BTreeSet::new(),
        }
    }

    /// Does the next thing there is to do. `published` is how many records the last checkpoint is of. Blocks: reads and
    /// writes files.
    ///
    /// # Errors
    /// [`ArchiveError`]; the segment is passed over from then on, until [`Archivist::again`].
    pub fn step(&mut self, published: u64) -> Result<Option<Done>, ArchiveError> {
        let unlisted = |error: io::Error| ArchiveError {
            first: 0,
            error: error.into(),
        };
        let firsts = self.archive.segments().map_err(unlisted)?;
        let sealed = firsts.iter().zip(firsts.iter().skip(1));
        let most = published.min(self.archive.written());
        let sealed = sealed.take_while(|(_, next)| **next <= most);
        for (first, next) in sealed {
            if self.passed.contains(first) {
                continue;
            }
            let done = self.look_after(*first, *next).map_err(|error| {
                self.passed.insert(*first);
                ArchiveError {
                    first: *first,
                    error,
                }
            })?;
            if done.is_some() {
                return Ok(done);
            }
            self.passed.insert(*first);
        }
        Ok(None)
    }

    /// Looks at each segment once more.
    pub fn again(&mut self) {
        self.passed.clear();
    }

    fn look_after(&self, first: u64, next: u64) -> Result<Option<Done>, ReadError> {
        let archive = &*self.archive;
        if !index::is_sound(archive, first, next) {
            let index = index::build(archive.read(first)?, first, next, self.size(first, next)?)
                .map_err(|damage| damaged(first, damage))?;
            archive.put(
                first,
                Form::Index,
                &mut |output| output.write_all(&index),
                &mut |written| same(&mut &*index, written),
            )?;
            return Ok(Some(Done::Indexed(first)));
        }
        if !archive.has(first, Form::Plain)? {
            return Ok(None);
        }
        pack(archive, first, self.size(first, next)?)?;
        Ok(Some(Done::Packed(first)))
    }

    fn size(&self, first: u64, next: u64) -> Result<u64, ReadError> {
        let size = durable_size(&*self.archive, first, next)?;
        let what = "the header is not of what follows the segment before it";
        size.ok_or_else(|| damaged(next, Damage::At { offset: 0, what }))
    }
}

/// Compresses the first `size` bytes of a segment, and removes what it was before.
fn pack(archive: &dyn Archive, first: u64, size: u64) -> Result<(), ReadError> {
    let plain = || Ok::<_, io::Error>(archive.form(first, Form::Plain)?.take(size));
    // Also where there is one already: whether that is durable nobody knows.
    let cuts = cuts(archive.form(first, Form::Plain)?, first, size)?;
    archive.put(
        first,
        Form::Packed,
        &mut |output| {
            let mut plain = plain()?;
            let mut packing = Packing::new(output)?;
            let mut frame = Vec::new();
            let mut at = 0_u64;
            for cut in &cuts {
                frame.clear();
                let length = cut.saturating_sub(at);
                plain.by_ref().take(length).read_to_end(&mut frame)?;
                packing.frame(&frame)?;
                at = *cut;
            }
            packing.finish()
        },
        &mut |written| same_unpacked(&mut plain()?, written),
    )?;
    Ok(archive.remove(first, Form::Plain)?)
}

/// Where frames end: behind the header, before each record whose index is a multiple of 256, and at the end.
fn cuts(plain: Box<dyn Source>, first: u64, size: u64) -> Result<Vec<u64>, ReadError> {
    let damaged = |damage| damaged(first, damage);
    let mut lines = Lines::open(plain.take(size), first).map_err(damaged)?;
    let mut cuts = vec![lines.offset];
    let mut line = Vec::new();
    loop {
        let (offset, next) = (lines.offset, lines.next);
        if next.is_multiple_of(u64::from(Tile::FULL)) && next > first {
            cuts.push(offset);
        }
        match lines.pass(&mut line)? {
            Line::Record(_) => {}
            Line::End if offset == size => break,
            Line::End => return Err(damaged(ends_early(offset))),
            Line::Broken(what) => {
                return Err(damaged(Damage::At { offset, what }));
            }
        }
    }
    cuts.push(size);
    cuts.dedup();
    Ok(cuts)
}

/// Whether a segment, and the same one compressed, give the same bytes.
pub(super) fn same_unpacked(plain: &mut dyn io::Read, packed: impl Source) -> io::Result<()> {
    let mut unpacked = super::frames::Packed::open(packed)?;
    same(plain, &mut unpacked)
}

/// Whether two sources give the same bytes.
fn same(left: &mut dyn io::Read, right: &mut dyn io::Read) -> io::Result<()> {
    let mut left = BufReader::with_capacity(64 * 1024, left);
    let mut right = BufReader::with_capacity(64 * 1024, right);
    loop {
        use io::BufRead as _;
        let (one, other) = (left.fill_buf()?, right.fill_buf()?);
        let common = one.len().min(other.len());
        if one.get(..common) != other.get(..common) || common == 0 && one.len() != other.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what was written is not read back",
            ));
        }
        if common == 0 {
            return Ok(());
        }
        left.consume(common);
        right.consume(common);
    }
}

#[cfg(test)]
mod tests;
