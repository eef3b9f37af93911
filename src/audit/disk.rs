//! Segments as files in one folder.
//!
//! A segment is written under another name, synced, renamed, and its folder synced: under its own name it
//! always has a whole header. The reserve is a file with blocks but no length; on a full disk it is renamed
//! to be the next segment, so that nobody else can take its blocks in between.
//!
//! A segment has one name: a file under any other, and be it of the same number, is somebody else's and is passed over.

mod archive;
mod cursors;
mod keeper;
mod note_file;
mod room;
mod shelf;

pub(super) use archive::name as form_name;
pub use cursors::DiskCursors;
pub use keeper::FileKeeper;
pub use shelf::DiskShelf;

use super::acknowledged::Acknowledged;
use super::archive::{Archive as _, Form};
use super::checkpoint::Checkpoint;
use super::closed::Closed;
use super::device::{CreateError, Device, Segment, Segments, Source, Space};
use super::frames::Packed;
use super::leaves::{Leaves, Run};
use super::segment::Headers;
use super::shelf::Shelf as _;
use crate::regular;
use memchr::memchr;
use room::Room;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SUFFIX: &str = ".seg";
const PACKED: &str = ".seg.zst";
/// A form of a segment that is not whole yet.
const DRAFT: &str = "draft";
const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
const UNNAMED: &str = "next";
const ACKNOWLEDGED: &str = "acknowledged";
/// What the operating system counts a file's blocks in, in bytes.
const BLOCK: u64 = 512;

/// A log folder, held by one process at a time.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    reserve: u64,
    room: Arc<Room>,
    leaves: Arc<Leaves>,
    /// Segments before this record are removed, or about to be.
    removed: Arc<AtomicU64>,
    /// The segment that is written to begins with this record; with [`u64::MAX`], none is.
    written: Arc<AtomicU64>,
    _lock: Owned,
}

/// The right to be the only process that writes to the folder.
#[derive(Debug)]
struct Owned(File);

impl Drop for Owned {
    // Closing alone would leave the lock with a child process that was forked meanwhile, until it calls exec.
    fn drop(&mut self) {
        self.0.unlock().ok();
    }
}

impl Disk {
    /// Opens the folder, creating it where it is missing, and locks it. `reserve` is the number of bytes that
    /// are kept for revocations on a full disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it; otherwise as the file system says.
    pub fn open(folder: &Path, reserve: u64) -> io::Result<Self> {
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(folder)?;
            sync_folder(folder.parent().unwrap_or(Path::new("/")))?;
        }
        let lock = regular::open_own(&folder.join(LOCK), private().create(true))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process has the log folder",
            ),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            reserve,
            room: Arc::new(Room::new(None, reserve)),
            leaves: Arc::default(),
            removed: Arc::default(),
            written: Arc::new(u64::MAX.into()),
            _lock: Owned(lock),
        })
    }

    /// With a bound on what all of it takes, the reserve aside: at the bound it behaves as a full disk.
    ///
    /// # Errors
    /// When it cannot be told how much it takes.
    pub fn bounded(mut self, bound: Option<u64>) -> io::Result<Self> {
        self.room = Arc::new(Room::new(bound, self.reserve));
        self.measure()?;
        Ok(self)
    }

    /// Looks again at how much it takes, after something was removed or put there.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn measure(&self) -> io::Result<()> {
        let last = self.segments()?.pop().unwrap_or(0);
        self.room.measure(&self.folder, last)
    }

    /// Bytes that all of it takes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.room.used()
    }

    /// Bytes that it may take, where there is a bound.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        self.room.bound()
    }

    /// Its closed segments, to be looked at now and then, and known by their headers.
    #[must_use]
    pub fn closed(&self, headers: Headers) -> Closed {
        let (removed, written) = (Arc::clone(&self.removed), Arc::clone(&self.written));
        Closed::new(self.reader(), headers, removed, written)
    }

    /// Free bytes of the file system.
    fn free(&self) -> io::Result<u64> {
        let free = statvfs(&self.folder)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    fn reader(&self) -> DiskReader {
        DiskReader::new(&self.folder)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(name(first))
    }

    fn file_of(&self, first: u64, file: File) -> io::Result<Box<dyn Segment>> {
        let is = identity(&file.metadata()?);
        self.written.store(first, Ordering::Release);
        Ok(Box::new(SegmentFile {
            is,
            file,
            path: self.path(first),
            room: Arc::clone(&self.room),
            leaves: Arc::clone(&self.leaves),
            unsure: Vec::new(),
        }))
    }

    /// Writes `head` into the file at `from`. Whatever naming it needs is opened here, where failing leaves no trace.
    fn draft(&self, from: &Path, head: &[u8]) -> io::Result<Draft> {
        let folder = File::open(&self.folder)?;
        // Not truncated: that would give the reserve's blocks away.
        let mut file = regular::open_own(from, appending().create(true).truncate(false))?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::other("the new segment's file is not empty"));
        }
        file.write_all(head)?;
        file.sync_all()?;
        Ok(Draft { file, folder })
    }
}

/// A segment that has no name yet, and the folder that is to hold it.
#[derive(Debug)]
struct Draft {
    file: File,
    folder: File,
}

impl Draft {
    /// Moves the file from its path to its name. After an error the name may lead to it, now or after a crash.
    fn name(self, from: &Path, to: &Path) -> io::Result<File> {
        std::fs::rename(from, to)?;
        self.folder.sync_all()?;
        Ok(self.file)
    }
}

/// A log folder that is only read, whoever writes to it.
#[derive(Clone, Debug)]
pub struct DiskReader {
    folder: PathBuf,
}

impl DiskReader {
    /// A reader of `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }
}

impl Segments for DiskReader {
    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(first_of));
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    // The plain form first: it goes only when the other one is there to stay.
    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        match self.file(first, Form::Plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Box::new(Packed::open(self.file(first, Form::Packed)?)?))
            }
            plain => Ok(Box::new(plain?)),
        }
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(self.file(first, Form::Index)?))
    }

    // Whoever only reads leaves it as it is.
    fn distrust(&self, _: u64) {}

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        note_file::read(&self.folder.join(ACKNOWLEDGED))
    }

    // What cannot be understood says nothing.
    fn least(&self) -> io::Result<u64> {
        let note = DiskShelf::new(&self.folder).checkpoint()?;
        let text = note.and_then(|note| String::from_utf8(note).ok());
        let checkpoint = text.and_then(|text| text.parse::<Checkpoint>().ok());
        let kept = self.acknowledged()?;
        let acknowledged = kept.and_then(|kept| Acknowledged::decode(&kept));
        let published = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        Ok(published.max(acknowledged.map_or(0, |acknowledged| acknowledged.records)))
    }
}

impl Segments for Disk {
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.reader().segments()
    }

    fn read(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.reader().read(first)
    }

    fn index(&self, first: u64) -> io::Result<Box<dyn Source>> {
        self.reader().index(first)
    }

    fn distrust(&self, first: u64) {
        // It stays as it is, and nobody believes it then either.
        let _ = self.remove(first, Form::Index);
    }

    fn acknowledged(&self) -> io::Result<Option<Vec<u8>>> {
        self.reader().acknowledged()
    }

    fn leaves(&self) -> Option<&Leaves> {
        Some(&self.leaves)
    }
}

impl Device for Disk {
    fn repair(&self, first: u64, unsure: u64, size: u64) -> io::Result<()> {
        // Compressed, it was not the last one: those after it are gone. It is now.
        if !self.has(first, Form::Plain)? {
            self.unpack(first)?;
        }
        let mut file = regular::open_own(&self.path(first), private().read(true))?;
        file.set_len(size)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(unsure))?;
        file.read_to_end(&mut tail)?;
        file.seek(SeekFrom::Start(unsure))?;
        file.write_all(&tail)?;
        file.sync_all()?;
        sync_folder(&self.folder)
    }

    fn open(&self, first: u64) -> io::Result<Box<dyn Segment>> {
        let file = regular::open_own(&self.path(first), &mut appending())?;
        self.file_of(first, file)
    }

    fn create(
        &self,
        first: u64,
        head: &[u8],
        space: Space,
    ) -> Result<Box<dyn Segment>, CreateError> {
        let from = self.folder.join(match space {
            Space::Free => UNNAMED,
            Space::Reserve => RESERVE,
        });
        if space == Space::Free {
            self.room.begin().map_err(CreateError::Absent)?;
            remove(&from).map_err(CreateError::Absent)?;
        }
        self.room.relieve(space == Space::Reserve);
        // What is half made is of no use; the error that counts is the first.
        let discard = |_: &io::Error| drop(remove(&from));
        let draft = self.draft(&from, head).inspect_err(discard);
        let named = draft
            .map_err(CreateError::Absent)?
            .name(&from, &self.path(first));
        let file = named.inspect_err(discard).map_err(CreateError::Unsure)?;
        // What begins it behind the header.
        let records = memchr(b'\n', head).and_then(|end| head.get(end.saturating_add(1)..));
        if let Some(run) = records.and_then(Run::of) {
            self.leaves.put(run);
        }
        self.file_of(first, file).map_err(CreateError::Unsure)
    }

    fn keep_reserve(&self) -> io::Result<()> {
        // At the bound nothing but revocations comes until there is room again.
        let room = self.room.begin();
        self.room.relieve(room.is_err());
        room?;
        let path = self.folder.join(RESERVE);
        let kept = regular::open_own(&path, &mut private());
        let kept = kept.ok().filter(|file| is_empty(file).unwrap_or(false));
        let file = kept.map_or_else(|| anew(&path), Ok)?;
        let blocks = file.metadata()?.blocks().saturating_mul(BLOCK);
        if blocks >= self.reserve {
            return Ok(());
        }
        fallocate(&file, FallocateFlags::KEEP_SIZE, 0, self.reserve)
            .map_err(io::Error::from)
            .and_then(|()| file.sync_all())
            .inspect_err(|_| {
                // A part of the reserve would only fill the disk further.
                let _ = remove(&path);
            })?;
        sync_folder(&self.folder)
    }

    fn is_low(&self, floor: u64) -> io::Result<bool> {
        Ok(self.room.is_low(floor) || self.free()? < floor)
    }

    fn keep_acknowledged(&self, bytes: &[u8]) -> io::Result<()> {
        note_file::write(&self.folder, &self.folder.join(ACKNOWLEDGED), bytes)
    }

    fn forget_acknowledged(&self) -> io::Result<()> {
        remove(&self.folder.join(ACKNOWLEDGED))?;
        sync_folder(&self.folder)
    }
}

#[derive(Debug)]
struct SegmentFile {
    file: File,
    /// What no other file is as long as this one is open.
    is: (u64, u64),
    room: Arc<Room>,
    path: PathBuf,
    leaves: Arc<Leaves>,
    /// Of what was appended, and is not durable yet.
    unsure: Vec<Run>,
}

impl Segment for SegmentFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room.append(bytes.len())?;
        self.file.write_all(bytes)?;
        self.unsure.extend(Run::of(bytes));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsure.drain(..).for_each(|run| self.leaves.put(run));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let named = std::fs::symlink_metadata(&self.path)?;
        if identity(&named) == self.is {
            Ok(named.len())
        } else {
            Err(io::Error::other("the segment was replaced by another file"))
        }
    }
}

/// The device and the inode.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The file name of a segment.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first record of the segment that a file holds, by its name; none of other files.
fn first_of(file: &str) -> Option<u64> {
    let first = file.split('.').next()?.parse().ok()?;
    let mut names = [Form::Plain, Form::Packed]
        .map(|form| form_name(first, form))
        .into_iter();
    names.any(|name| name == file).then_some(first)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn appending() -> OpenOptions {
    let mut options = private();
    options.append(true);
    options
}

/// Makes a file in the place of whatever has its name: what a crash left before the reserve had its new one, which can be
/// nobody's segment, or what somebody put there, and that is not written to.
fn anew(path: &Path) -> io::Result<File> {
    let made = remove(path).and_then(|()| private().create_new(true).open(path));
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn is_empty(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() == 0)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_segment_by_the_one_name_that_a_segment_has() {
        let folder = tempfile::tempdir().unwrap();
        let most = u64::MAX;
        for file in [
            name(7),
            form_name(7, Form::Packed),
            form_name(9, Form::Packed),
            name(most),
            form_name(8, Form::Index),
            "5.seg".to_owned(),
            "+0000000000000000005.seg".to_owned(),
            "000000000000000000005.seg".to_owned(),
            "00000000000000000005.seg.zst.seg".to_owned(),
            "99999999999999999999.seg".to_owned(),
            "copy.seg".to_owned(),
            ".seg.zst".to_owned(),
        ] {
            File::create(folder.path().join(file)).unwrap();
        }
        let listed = DiskReader::new(folder.path()).segments().unwrap();
        assert_eq!(listed, [7, 9, most]);
    }
}
