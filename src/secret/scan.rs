//! Finds API keys in a stream of bytes: by their prefix, their length, their alphabet and their checksum.
//!
//! A stream may be of any size, and come in pieces of any size: a window of it is in memory, and no more. What stands around
//! a key does not matter, and neither does what kind of bytes it stands among. A key that is compressed, encrypted or
//! encoded (base64, UTF-16, percent signs) is not found.

use super::api_key;
use crate::id::KeyPublicId;
use crate::limits;
use memchr::memmem::Finder;
use memchr::{memchr_iter, memrchr};
use std::io::{self, ErrorKind, Read};
use zeroize::Zeroizing;

/// A key that was found, and where. Nothing of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The public id.
    pub id: KeyPublicId,
    /// How many bytes of the stream stand before it.
    pub offset: u64,
    /// The line that it begins in, the first being 1.
    pub line: u64,
    /// The byte of that line that it begins at, the first being 1.
    pub column: u64,
}

/// Looks through one stream after the other.
#[derive(Debug)]
pub struct Scanner {
    prefix: Finder<'static>,
    window: Zeroizing<Vec<u8>>,
}

/// The most that is kept of a window for the next: a key of which a byte is still to come.
const KEPT: usize = api_key::LENGTH - 1;
/// Where in a key's text its secret begins.
const SECRET: usize = api_key::PREFIX.len() + KeyPublicId::LENGTH + 1;

/// Where in its stream something stands.
#[derive(Debug, Default)]
struct Place {
    /// The offset of the window's first byte.
    window: u64,
    /// Up to where in the window line ends are counted.
    counted: usize,
    /// Line ends up to there.
    lines: u64,
    /// The offset of the first byte after the last of them.
    line: u64,
}

impl Scanner {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            prefix: Finder::new(api_key::PREFIX),
            window: Zeroizing::new(vec![0; limits::SCAN_WINDOW]),
        }
    }

    /// Looks through a stream to its end, and tells `tell` of each key in it, in order. Answers how many bytes it had.
    ///
    /// # Errors
    /// What reading fails with. Of what was read before that, everything is told.
    pub fn scan(&mut self, stream: &mut dyn Read, tell: &mut dyn FnMut(Found)) -> io::Result<u64> {
        let (mut place, mut filled) = (Place::default(), 0);
        loop {
            let room = self.window.get_mut(filled..).unwrap_or_default();
            match stream.read(room) {
                Ok(0) => return Ok(place.offset(filled)),
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let read = self.window.get(..filled).unwrap_or_default();
            search(&self.prefix, read, &mut place, tell);
            // Those that begin in what is kept lack a byte, so none of them was told.
            let past = filled.saturating_sub(KEPT);
            place.leave(read, past);
            self.window.copy_within(past..filled, 0);
            filled = filled.saturating_sub(past);
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells of each key that stands in `read` as a whole.
fn search(prefix: &Finder<'_>, read: &[u8], place: &mut Place, tell: &mut dyn FnMut(Found)) {
    for at in prefix.find_iter(read) {
        let text = read.get(at..at.saturating_add(api_key::LENGTH));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        if let Some(key) = text.and_then(|text| api_key::parse(text).ok()) {
            place.count(read, at);
            let offset = place.offset(at);
            tell(Found {
                id: key.id,
                offset,
                line: place.lines.saturating_add(1),
                column: offset.saturating_sub(place.line).saturating_add(1),
            });
        }
    }
}

impl Place {
    fn offset(&self, at: usize) -> u64 {
        self.window.saturating_add(wide(at))
    }

    /// Counts line ends up to `at`.
    fn count(&mut self, read: &[u8], at: usize) {
        let more = read.get(self.counted..at).unwrap_or_default();
        self.lines = self
            .lines
            .saturating_add(wide(memchr_iter(b'\n', more).count()));
        if let Some(last) = memrchr(b'\n', more) {
            let next = self.counted.saturating_add(last).saturating_add(1);
            self.line = self.offset(next);
        }
        self.counted = at;
    }

    /// The window begins `past` bytes later from now on.
    fn leave(&mut self, read: &[u8], past: usize) {
        if past > self.counted {
            self.count(read, past);
        }
        self.counted = self.counted.saturating_sub(past);
        self.window = self.offset(past);
    }
}

const fn wide(count: usize) -> u64 {
    count as u64
}

/// A text without the secrets of keys in it: their ids remain.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut kept = String::new();
    let mut from = 0;
    let mut found = Vec::new();
    // Reading from memory does not fail.
    let _ = Scanner::new().scan(&mut text.as_bytes(), &mut |key| found.push(key.offset));
    for at in found.into_iter().filter_map(|at| usize::try_from(at).ok()) {
        let secret = at.saturating_add(SECRET);
        kept.push_str(text.get(from..secret).unwrap_or_default());
        kept.push('…');
        from = at.saturating_add(api_key::LENGTH);
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests;
