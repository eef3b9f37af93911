//! Finding records in a log.

use super::device::Segments;
use super::filter::Filter;
use super::index::{Block, blocks};
use super::logged::Check;
use super::read::{Entry, Place, ReadError, Records};
use super::record::PRUNE;
use super::seen::{Field, Seen};
use super::verify::removed_by;
use std::io;
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

/// Blocks of one segment that are looked through at once.
const RUN: usize = 16;
/// Records of one segment that are looked through at once where it has no index.
const UNINDEXED: u64 = 16 * 256;

/// Finds the records within a range of sequences that a filter lets through. What was not acknowledged yet is kept out by
/// the range's end: [`super::Log::durable`]. All before that end must be there. With [`u64::MAX`] it is not known: the search
/// ends where the log does, which is not before [`Segments::least`].
///
/// Where a segment has an index, only those of its blocks are read in which the index does not rule a wanted record out.
/// Indexes are asked when their segment's turn comes. A record that cannot be read is an item of its own, and the search
/// goes on behind it; it ends with one that is not the one that was logged. Of records that are not there
/// the first is told, unless a record says that they were removed.
///
/// # Errors
/// When the segments cannot be listed.
pub fn search(
    segments: Arc<dyn Segments>,
    filter: Filter,
    within: Range<u64>,
    order: Order,
) -> Result<Search, ReadError> {
    // Before they are listed: a log that is written to holds more by then, and no less.
    let least = match within.end {
        u64::MAX => segments.least()?,
        end => end,
    };
    let mut firsts = segments.segments()?;
    let begins = firsts.first().copied().unwrap_or(least);
    let front = (begins > within.start && !within.is_empty()).then_some(Part::Front { begins });
    // The last segment that begins at or before the range holds its first record.
    let skipped = firsts.partition_point(|first| *first <= within.start);
    firsts.drain(..skipped.saturating_sub(1));
    let ends = firsts.iter().skip(1).copied().map(Some).chain([None]);
    let parts = firsts.iter().copied().zip(ends);
    let parts = parts.take_while(|(first, _)| *first < within.end && !within.is_empty());
    let parts = parts.map(|(first, next)| Part::Segment { first, next });
    let mut parts: Vec<Part> = front.into_iter().chain(parts).collect();
    if order == Order::OldestFirst {
        parts.reverse();
    }
    Ok(Search {
        segments,
        filter,
        order,
        within,
        least,
        parts,
        found: Vec::new(),
        broken: None,
        check: Check::default(),
    })
}

/// What is looked through.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// What is before the first segment, and must have been removed.
    Front { begins: u64 },
    /// A segment, up to the one that follows it.
    Segment { first: u64, next: Option<u64> },
    /// Records of it, one behind the other, from a place on if it is known.
    Run {
        first: u64,
        next: Option<u64>,
        begin: u64,
        end: u64,
        place: Option<Place>,
    },
}

/// The iterator that [`search`] makes.
#[derive(Debug)]
pub struct Search {
    segments: Arc<dyn Segments>,
    filter: Filter,
    order: Order,
    within: Range<u64>,
    /// Records that there are at least.
    least: u64,
    /// What was not looked through yet, the next one last.
    parts: Vec<Part>,
    /// The last segment without an index in which something could not be read.
    broken: Option<u64>,
    check: Check,
    /// What was found in the part before, the next one last.
    found: Vec<Result<Entry, ReadError>>,
}

impl Iterator for Search {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop() {
                return Some(found.and_then(|entry| self.hold(entry)));
            }
            match self.parts.pop()? {
                Part::Front { begins } => {
                    if let Err(error) = self.begins_as_told(begins) {
                        return Some(Err(error));
                    }
                }
                Part::Segment { first, next } => {
                    let mut runs = self.runs(first, next);
                    if self.order == Order::OldestFirst {
                        runs.reverse();
                    }
                    self.parts.append(&mut runs);
                }
                Part::Run {
                    first,
                    next,
                    begin,
                    end,
                    place,
                } => {
                    let within = begin..end;
                    let (now, later) = match place {
                        Some(_) => (within, None),
                        None => part(within, self.order),
                    };
                    let waiting = next.into_iter().chain([first]).collect();
                    let segments = Arc::clone(&self.segments);
                    let mut all = Records::new(segments, waiting, now.start, place);
                    let known = place.is_none().then_some(first);
                    self.found = self.look(first, &mut all, now.end);
                    // What cannot be read is met again from each side.
                    if known.is_some() && known == self.broken {
                        self.found.retain(|found| !is_broken(found));
                    } else if self.found.iter().any(is_broken) {
                        self.broken = known;
                    }
                    let is_over = self.order == Order::OldestFirst && all.reached() < now.end;
                    if let Some(Range { start, end }) = later.filter(|_| !is_over) {
                        // What was not reached from here is not reached from before either.
                        let end = match self.order {
                            Order::OldestFirst => end,
                            Order::NewestFirst => end.min(all.reached()),
                        };
                        self.parts.push(Part::Run {
                            first,
                            next,
                            begin: start,
                            end,
                            place: None,
                        });
                    }
                }
            }
        }
    }
}

/// Whether what follows in the segment cannot be read either.
const fn is_broken(found: &Result<Entry, ReadError>) -> bool {
    matches!(found, Err(error) if !matches!(error, ReadError::Unreadable(_)))
}

/// What to look through now, and what later, of records that no index says anything of: what is found in the first is in
/// memory at a time. Where the end is not known there is no beginning there.
fn part(within: Range<u64>, order: Order) -> (Range<u64>, Option<Range<u64>>) {
    let Range { start, end } = within;
    let cut = match order {
        Order::OldestFirst => start.saturating_add(UNINDEXED),
        Order::NewestFirst if end < u64::MAX => end.saturating_sub(UNINDEXED),
        Order::NewestFirst => start,
    };
    match order {
        _ if cut <= start || cut >= end => (start..end, None),
        Order::OldestFirst => (start..cut, Some(cut..end)),
        Order::NewestFirst => (cut..end, Some(start..cut)),
    }
}

impl Search {
    /// What of a segment is to be looked through, ascending.
    fn runs(&self, first: u64, next: Option<u64>) -> Vec<Part> {
        let blocks = next.and_then(|next| blocks(&*self.segments, first, next, &self.filter));
        let Some(blocks) = blocks else {
            return vec![Part::Run {
                first,
                next,
                begin: first.max(self.within.start),
                end: next.unwrap_or(u64::MAX).min(self.within.end),
                place: None,
            }];
        };
        let mut runs: Vec<Part> = Vec::new();
        let inside = |block: &&Block| block.end > self.within.start && block.next < self.within.end;
        for run in blocks.chunk_by(|one, other| one.end == other.next) {
            let run: Vec<&Block> = run.iter().filter(inside).collect();
            runs.extend(run.chunks(RUN).filter_map(|run| {
                let (begin, end) = (run.first()?, run.last()?.end.min(self.within.end));
                Some(Part::Run {
                    first,
                    next,
                    begin: begin.next.max(self.within.start),
                    end,
                    place: Some(Place::new(first, begin.offset, begin.next)),
                })
            }));
        }
        runs
    }

    /// Holds a record to the tree. Where that fails, nothing that follows is worth more.
    fn hold(&mut self, entry: Entry) -> Result<Entry, ReadError> {
        self.check.held(&*self.segments, entry).inspect_err(|_| {
            self.found.clear();
            self.parts.clear();
        })
    }

    /// Checks that a record says that those before the first one there is were removed.
    fn begins_as_told(&self, begins: u64) -> Result<(), ReadError> {
        let prunes = Filter::default().within(Field::Action, [PRUNE.to_owned()].into());
        let segments = Arc::clone(&self.segments);
        // It may be later than what is looked for.
        let found = search(segments, prunes, begins..u64::MAX, Order::NewestFirst)?;
        let mut remains = self.within.start;
        // What cannot be read says nothing.
        for entry in found.flatten() {
            remains = remains.max(removed_by(&entry.line));
            if remains >= begins {
                return Ok(());
            }
        }
        Err(ReadError::Missing(remains))
    }

    fn is_removed(&self, first: u64) -> bool {
        let firsts = self.segments.segments();
        firsts.is_ok_and(|firsts| firsts.first().is_none_or(|oldest| *oldest > first))
    }

    fn look(&self, first: u64, all: &mut Records, end: u64) -> Vec<Result<Entry, ReadError>> {
        let mut found = Vec::new();
        // Not one more than is wanted: it could be in the next segment.
        while all.reached() < end {
            let entry = match all.next() {
                Some(entry) => entry,
                None if all.reached() < self.least => Err(ReadError::Missing(all.reached())),
                None => break,
            };
            // Its segment was removed meanwhile, with all that is older.
            if matches!(&entry, Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound)
                && self.is_removed(first)
            {
                break;
            }
            let is_over = entry.is_err();
            found.extend(self.sift(entry));
            if is_over {
                break;
            }
        }
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
