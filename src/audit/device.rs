//! Where segments live: the log writer's only way to files.

use super::leaves::Leaves;
use super::logged::Row;
use std::fmt;
use std::io;

/// A segment's bytes.
pub trait Source: io::Read + io::Seek + Send {}

impl<T: io::Read + io::Seek + Send> Source for T {}

/// A place that holds segments, named by the sequence of their first record, to be read.
pub trait Segments: fmt::Debug + Send + Sync {
    /// The first sequences of all segments, ascending.
    ///
    /// # Errors
    /// When the place cannot be listed.
    fn segments(&self) -> io::Result<Vec<u64>>;

    /// A segment's bytes from the start, in whatever form it is there.
    ///
    /// # Errors
    /// When it is not there or cannot be read; of [`io::ErrorKind::InvalidData`] when it is not as it was compressed.
    fn read(&self, first: u64) -> io::Result<Box<dyn Source>>;

    /// The index of a sealed segment.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn index(&self, first: u64) -> io::Result<Box<dyn Source>>;

    /// The index of a segment turned out to be damaged: it is removed by whoever may.
    fn distrust(&self, first: u64);

    /// What [`Device::keep_acknowledged`] kept, if that was not dropped since.
    ///
    /// # Errors
    /// When that cannot be told.
    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>>;

    /// How many records there are at least, by what is kept beside them; none where nothing says so.
    ///
    /// # Errors
    /// When that cannot be read.
    fn least(&self) -> io::Result<u64> {
        Ok(0)
    }

    /// The hashes of what was written here by this process; none where it does not write.
    fn leaves(&self) -> Option<&Leaves> {
        None
    }

    /// The hash of a record as it was logged, among those of its neighbours; none where nobody here knows it, or not yet.
    ///
    /// # Errors
    /// When what knows it cannot be read.
    fn hashes_at(&self, _sequence: u64) -> io::Result<Row> {
        Ok(Row::default())
    }
}

/// A place that segments are written to.
///
/// No method is retried on the same handle after it failed: what a failed sync leaves behind is not known.
pub trait Device: Segments {
    /// Makes what a crash left behind sure: cuts the segment to `size`, writes its bytes from `unsure` on once
    /// more in their place, and syncs. Bytes that were read back after a failed sync may be in memory
    /// only, and a sync alone would not write them again.
    ///
    /// # Errors
    /// When any step fails.
    fn repair(&self, first: u64, unsure: u64, size: u64) -> io::Result<()>;

    /// Opens an existing segment for appending.
    ///
    /// # Errors
    /// When it is not there or cannot be written.
    fn open(&self, first: u64) -> io::Result<Box<dyn Segment>>;

    /// Creates a segment that holds `head`: durable, with its name, once this returns. A leftover of the same name
    /// is replaced: the caller has acknowledged nothing from `first` on, nor does it before this succeeds, unless it is
    /// told that there is none.
    ///
    /// # Errors
    /// [`CreateError`]; of [`io::ErrorKind::StorageFull`] when `space` has no room.
    fn create(
        &self,
        first: u64,
        head: &[u8],
        space: Space,
    ) -> Result<Box<dyn Segment>, CreateError>;

    /// Sets the reserve aside, unless it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is no room for it.
    fn keep_reserve(&self) -> io::Result<()>;

    /// Whether fewer bytes than `floor` are free beside the reserve, or hardly any of what all of it may take.
    ///
    /// # Errors
    /// When it cannot be told.
    fn is_low(&self, floor: u64) -> io::Result<bool>;

    /// Keeps how far the log had been acknowledged, beside segments that lost some of it: durably and as a whole, in the place
    /// of what was kept.
    ///
    /// # Errors
    /// When it may not be kept.
    fn keep_acknowledged(&self, bytes: &[u8]) -> io::Result<()>;

    /// Drops it.
    ///
    /// # Errors
    /// When it may still be there.
    fn forget_acknowledged(&self) -> io::Result<()>;
}

/// Where a new segment's space comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Free disk.
    Free,
    /// The reserve, which is gone afterwards until [`Device::keep_reserve`].
    Reserve,
}

/// Why a segment was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is none of that name, or none but the leftover that was there.
    #[error(transparent)]
    Absent(io::Error),
    /// There may be one: a start would go on from it, so that no other segment may take records from its first on.
    #[error(transparent)]
    Unsure(io::Error),
}

impl CreateError {
    /// What the device said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        match self {
            Self::Absent(error) | Self::Unsure(error) => error,
        }
    }
}

impl From<CreateError> for io::Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Absent(error) | CreateError::Unsure(error) => error,
        }
    }
}

/// A segment open for appending.
pub trait Segment: fmt::Debug + Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// When any of it may be missing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// When it may not be.
    fn sync(&mut self) -> io::Result<()>;

    /// How many bytes the segment has, as everybody sees it by its name.
    ///
    /// # Errors
    /// When its name leads nowhere, or to another file: it was removed, moved or replaced by somebody else.
    fn size(&self) -> io::Result<u64>;
}

/// Storage is full, by the disk or by a quota.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
