//! The forms of sealed segments, as files.

use super::{DRAFT, Disk, DiskReader, PACKED, identity, private, remove, sync_folder};
use crate::audit::archive::{Archive, Form, same_unpacked};
use crate::audit::closed::Stamp;
use crate::audit::device::Source;
use crate::audit::frames::Packed;
use crate::limits;
use crate::regular;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering;

impl DiskReader {
    pub(super) fn file(&self, first: u64, form: Form) -> io::Result<File> {
        regular::open(&self.folder.join(name(first, form)))
    }

    /// Which file holds a segment, and since when as it is.
    pub(in crate::audit) fn stamp(&self, first: u64) -> io::Result<Stamp> {
        let of = |form| -> io::Result<Stamp> {
            // Of the file, wherever a link leads to it.
            let named = std::fs::metadata(self.folder.join(name(first, form)))?;
            Ok(Stamp {
                form,
                identity: identity(&named),
                size: named.len(),
                changed: (named.ctime(), named.ctime_nsec()),
            })
        };
        match of(Form::Plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => of(Form::Packed),
            plain => plain,
        }
    }
}

/// The file name of a form of a segment.
pub(in crate::audit) fn name(first: u64, form: Form) -> String {
    match form {
        Form::Plain => super::name(first),
        Form::Packed => format!("{first:020}{PACKED}"),
        Form::Index => format!("{first:020}.idx"),
    }
}

impl Disk {
    /// Puts a segment back as it was before it was compressed.
    pub(super) fn unpack(&self, first: u64) -> io::Result<()> {
        let packed = || self.form(first, Form::Packed);
        self.put(
            first,
            Form::Plain,
            &mut |output| io::copy(&mut Packed::open(packed()?)?, output).map(drop),
            &mut |written| same_unpacked(written, packed()?),
        )
    }
}

impl Archive for Disk {
    fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    fn has(&self, first: u64, form: Form) -> io::Result<bool> {
        self.folder.join(name(first, form)).try_exists()
    }

    fn form(&self, first: u64, form: Form) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(self.reader().file(first, form)?))
    }

    fn put(
        &self,
        first: u64,
        form: Form,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        check: &mut dyn FnMut(&mut dyn Source) -> io::Result<()>,
    ) -> io::Result<()> {
        let draft = self.folder.join(DRAFT);
        remove(&draft)?;
        let named = (|| {
            let mut file = private().read(true).create_new(true).open(&draft)?;
            write(&mut Modest {
                disk: self,
                file: &mut file,
            })?;
            file.sync_all()?;
            // Read back from the disk rather than from memory, as far as the system does what it is asked.
            fadvise(&file, 0, None, Advice::DontNeed)?;
            check(&mut regular::open(&draft)?)?;
            std::fs::rename(&draft, self.folder.join(name(first, form)))
        })();
        named.inspect_err(|_| drop(remove(&draft)))?;
        sync_folder(&self.folder)
    }

    fn remove(&self, first: u64, form: Form) -> io::Result<()> {
        // Nothing is left of it then: whoever looks after closed segments misses it after this, and asks.
        if form == Form::Packed {
            let next = first.saturating_add(1);
            self.removed.fetch_max(next, Ordering::AcqRel);
        }
        remove(&self.folder.join(name(first, form)))?;
        sync_folder(&self.folder)
    }
}

/// Writes as long as the log's writer is left enough.
struct Modest<'a> {
    disk: &'a Disk,
    file: &'a mut File,
}

impl Write for Modest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.disk.free()? < limits::LOG_ARCHIVE_FLOOR_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::device::{Device as _, Space};
    use crate::audit::segment::Header;
    use crate::audit::testing::ORIGIN;
    use crate::audit::{Archivist, Disk, Headers};
    use crate::store::LogId;
    use jiff::Timestamp;
    use std::fs;
    use std::sync::Arc;

    #[test]
    fn the_segment_that_is_written_to_is_not_sealed_by_a_stray_one_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(folder.path(), 0).unwrap());
        let head = |first| {
            let header = Header::new(ORIGIN, LogId(1), first, Timestamp::UNIX_EPOCH);
            header.line().unwrap()
        };
        drop(disk.create(0, &head(0), Space::Free).unwrap());
        fs::write(folder.path().join(crate::audit::disk::name(1)), head(1)).unwrap();
        let mut archivist = Archivist::new(disk.clone());
        assert_eq!(archivist.step(u64::MAX).unwrap(), None);
        disk.closed(Headers::testing()).look().unwrap();
    }
}
