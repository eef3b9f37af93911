//! Entries of one size in pages, each with its checksum.

use crate::audit::device::Source;
use std::io::{self, SeekFrom};

/// Bytes of entries that a page holds at most.
const PAGE: usize = 4092;
/// Bytes of the checksum after them.
const SUM: usize = 4;

/// Writes entries into pages.
pub(super) fn write<const N: usize>(output: &mut Vec<u8>, entries: impl Iterator<Item = [u8; N]>) {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        let begin = output.len();
        output.extend(entries.by_ref().take(PAGE / N).flatten());
        let sum = crc32fast::hash(output.get(begin..).unwrap_or_default());
        output.extend(sum.to_le_bytes());
    }
}

/// Pages within an index, of entries of `N` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages<const N: usize> {
    begin: u64,
    count: u64,
}

impl<const N: usize> Pages<N> {
    const PER_PAGE: u64 = (PAGE / N) as u64;

    pub(super) fn new(begin: u64, count: u64) -> Self {
        Self { begin, count }
    }

    fn pages(&self) -> u64 {
        self.count.div_ceil(Self::PER_PAGE)
    }

    /// Where they end.
    pub(super) fn end(&self) -> u64 {
        let bytes = self.count.saturating_mul(N as u64);
        let sums = self.pages().saturating_mul(SUM as u64);
        self.begin.saturating_add(bytes).saturating_add(sums)
    }

    pub(super) fn reader<'a>(&self, input: &'a mut dyn Source) -> Reader<'a, N> {
        Reader {
            pages: *self,
            input,
            held: None,
            bytes: Vec::new(),
        }
    }
}

/// Reads entries, a page at a time.
pub(super) struct Reader<'a, const N: usize> {
    pages: Pages<N>,
    input: &'a mut dyn Source,
    held: Option<u64>,
    bytes: Vec<u8>,
}

impl<const N: usize> Reader<'_, N> {
    /// An entry.
    ///
    /// # Errors
    /// When there is none of that number, or its page is damaged.
    pub(super) fn entry(&mut self, at: u64) -> io::Result<&[u8]> {
        let per_page = Pages::<N>::PER_PAGE;
        let (page, within) = (at / per_page, at % per_page);
        self.load(page)?;
        let begin = usize::try_from(within).map_err(io::Error::other)? * N;
        self.bytes
            .get(begin..begin + N)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn load(&mut self, page: u64) -> io::Result<()> {
        if self.held == Some(page) {
            return Ok(());
        }
        self.held = None;
        let per_page = Pages::<N>::PER_PAGE;
        let before = page.saturating_mul(per_page);
        let entries = self.pages.count.saturating_sub(before).min(per_page);
        let length = usize::try_from(entries).map_err(io::Error::other)? * N;
        if length == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let full = per_page * N as u64 + SUM as u64;
        let begin = self.pages.begin.saturating_add(page.saturating_mul(full));
        self.input.seek(SeekFrom::Start(begin))?;
        self.bytes.resize(length + SUM, 0);
        self.input.read_exact(&mut self.bytes)?;
        let sum = self.bytes.split_off(length);
        if sum != crc32fast::hash(&self.bytes).to_le_bytes() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a page of an index is damaged",
            ));
        }
        self.held = Some(page);
        Ok(())
    }

    /// The first entry that is not below `key` by what it begins with, by which entries are sorted, and spread evenly: looked
    /// for where it should be, then further and further from there, then by halving.
    pub(super) fn lower_bound(&mut self, key: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.pages.count);
        let share = (u128::from(key) * u128::from(high)) >> 64;
        let mut guess = u64::try_from(share).unwrap_or(0);
        let mut step = Pages::<N>::PER_PAGE;
        let (mut is_low, mut is_high) = (false, false);
        while low < high {
            let middle = match is_low && is_high {
                true => low.midpoint(high),
                false => guess.clamp(low, high.saturating_sub(1)),
            };
            if self.key(middle)? < key {
                low = middle.saturating_add(1);
                guess = middle.saturating_add(step);
                is_low = true;
            } else {
                high = middle;
                guess = middle.saturating_sub(step);
                is_high = true;
            }
            step = step.saturating_mul(2);
        }
        Ok(low)
    }

    /// What an entry begins with.
    pub(super) fn key(&mut self, at: u64) -> io::Result<u64> {
        let key = self.entry(at)?.first_chunk().copied();
        Ok(u64::from_le_bytes(key.unwrap_or_default()))
    }
}
