//! Finding records in a log.

use super::device::Segments;
use super::filter::Filter;
use super::read::{Entry, ReadError, records};
use super::seen::Seen;
use std::ops::Range;
use std::sync::Arc;

/// In which direction records are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first one first.
    #[default]
    OldestFirst,
    /// The last one first.
    NewestFirst,
}

/// Finds the records within a range of sequences that a filter lets through. What was not acknowledged yet is kept out by
/// the range's end: [`super::Log::durable`].
///
/// A record that cannot be read is an item of its own, and the search goes on behind it.
///
/// # Errors
/// When the segments cannot be listed.
pub fn search(
    segments: Arc<dyn Segments>,
    filter: Filter,
    within: Range<u64>,
    order: Order,
) -> Result<Search, ReadError> {
    let mut firsts = segments.segments()?;
    // The last segment that begins at or before the range holds its first record.
    let skipped = firsts.partition_point(|first| *first <= within.start);
    firsts.drain(..skipped.saturating_sub(1));
    firsts.retain(|first| *first < within.end);
    let mut parts: Vec<Range<u64>> = Vec::with_capacity(firsts.len());
    for (place, first) in firsts.iter().enumerate() {
        let end = firsts.get(place.saturating_add(1)).copied();
        parts.push((*first).max(within.start)..end.unwrap_or(u64::MAX).min(within.end));
    }
    if order == Order::OldestFirst {
        parts.reverse();
    }
    Ok(Search {
        segments,
        filter,
        order,
        parts,
        found: Vec::new(),
    })
}

/// The iterator that [`search`] makes.
#[derive(Debug)]
pub struct Search {
    segments: Arc<dyn Segments>,
    filter: Filter,
    order: Order,
    /// What was not looked through yet, the next one last.
    parts: Vec<Range<u64>>,
    /// What was found in the part before, the next one last.
    found: Vec<Result<Entry, ReadError>>,
}

impl Iterator for Search {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop() {
                return Some(found);
            }
            let part = self.parts.pop()?;
            self.found = self.look(part);
        }
    }
}

impl Search {
    fn look(&self, part: Range<u64>) -> Vec<Result<Entry, ReadError>> {
        let all = match records(Arc::clone(&self.segments), part.start) {
            Ok(all) => all,
            Err(error) => return vec![Err(error)],
        };
        let inside = |entry: &Result<Entry, ReadError>| {
            let sequence = entry.as_ref().map(|entry| entry.sequence);
            sequence.map_or(true, |sequence| sequence < part.end)
        };
        let found = all.take_while(inside).filter_map(|entry| self.sift(entry));
        let mut found: Vec<_> = found.collect();
        if self.order == Order::OldestFirst {
            found.reverse();
        }
        found
    }

    fn sift(&self, entry: Result<Entry, ReadError>) -> Option<Result<Entry, ReadError>> {
        let entry = match entry {
            Ok(entry) => entry,
            error => return Some(error),
        };
        match Seen::read(&entry.line).map(|seen| self.filter.matches(&seen)) {
            Ok(true) => Some(Ok(entry)),
            Ok(false) => None,
            Err(_) => Some(Err(ReadError::Unreadable(entry.sequence))),
        }
    }
}

#[cfg(test)]
mod tests;
