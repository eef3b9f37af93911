//! The reserve: bytes on the store's disk that only batches marked [`Batch::reserved`](crate::store::Batch::reserved) may use.
//!
//! A preallocated file stands beside the store. When the disk is full it is cut shorter, step by step, and what it
//! gives back is written by the batch that needs it. While it is incomplete, everything else is refused:
//! otherwise the next ordinary batch would eat what was freed. It is made whole when there is room again.

use super::fault::OpenError;
use super::files::{MODE, at, beside};
use crate::limits;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The reserve of one store.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    /// Bytes that the file holds now.
    held: u64,
    /// Whether all that `held` says is known to be allocated.
    whole: bool,
}

impl Reserve {
    /// The reserve that stands beside the store already, as large as it is.
    pub(super) fn existing(store: &Path) -> Result<Option<Self>, OpenError> {
        let path = beside(store, "-reserve");
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Self::held(file, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The reserve, made where there is none, and as whole as the disk allows.
    pub(super) fn whole(existing: Option<Self>, store: &Path) -> Result<Self, OpenError> {
        let mut reserve = match existing {
            Some(reserve) => reserve,
            None => {
                let path = beside(store, "-reserve");
                let mut options = OpenOptions::new();
                options
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(MODE);
                Self::held(options.open(&path).map_err(at(&path))?, &path)?
            }
        };
        reserve.make_whole();
        Ok(reserve)
    }

    fn held(file: File, path: &Path) -> Result<Self, OpenError> {
        let held = file.metadata().map_err(at(path))?.len();
        Ok(Self {
            file,
            held,
            whole: false,
        })
    }

    /// Whether it has its full size; tries to make it so.
    pub(super) fn make_whole(&mut self) -> bool {
        if !self.whole {
            self.whole = self.allocate().is_ok();
            if let Ok(metadata) = self.file.metadata() {
                self.held = metadata.len();
            }
        }
        self.whole
    }

    /// Gives one step back to the disk; false when nothing is left.
    pub(super) fn give_up(&mut self) -> bool {
        let rest = self.held.saturating_sub(limits::STORE_RESERVE_STEP);
        if self.held == 0 || self.file.set_len(rest).is_err() {
            return false;
        }
        self.held = rest;
        self.whole = false;
        true
    }

    fn allocate(&mut self) -> io::Result<()> {
        match fallocate(
            &self.file,
            FallocateFlags::empty(),
            0,
            limits::STORE_RESERVE,
        ) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros()?,
            Err(error) => return Err(error.into()),
        }
        self.file.sync_all()
    }

    /// Where the file system cannot preallocate, written zeros are the best there is.
    fn write_zeros(&mut self) -> io::Result<()> {
        let zeros = [0; 64 * 1024];
        self.file.seek(SeekFrom::Start(0))?;
        for _ in 0..limits::STORE_RESERVE.div_ceil(64 * 1024) {
            self.file.write_all(&zeros)?;
        }
        Ok(())
    }
}
