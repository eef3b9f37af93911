//! Regular files, in folders that others may write to as well: what is found there under a file's name may be a link to a
//! file elsewhere, which would be changed in its place, or a pipe, which whoever opens it waits at for ever.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens a file to read it, wherever a symbolic link leads.
///
/// # Errors
/// As the file system says, and where it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let (file, _) = opened(path, OpenOptions::new().read(true), OFlags::empty())?;
    Ok(file)
}

/// Opens a file to change it, as `options` say. It must be nobody else's: no link, and under no other name as well.
///
/// # Errors
/// As the file system says, and where it is anything but a regular file with one name.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let (file, names) = opened(path, options, OFlags::NOFOLLOW)?;
    match names {
        1 => Ok(file),
        _ => Err(refused(path, "is a link to another file")),
    }
}

/// Sees that a folder is there itself, and no link to another one, or that nothing is there by that name.
///
/// # Errors
/// As the file system says, and where it is anything but a folder.
pub fn folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_dir() => Err(refused(path, "is not a folder")),
        Ok(_) => Ok(()),
        // What is in its way is itself no folder.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A regular file, and how many names it has.
fn opened(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<(File, u64)> {
    // Not waiting says nothing of how a regular file is read and written.
    let file = options.custom_flags((flags | OFlags::NONBLOCK).bits().cast_signed());
    let file = file.open(path).map_err(|error| {
        let found = match flags.contains(OFlags::NOFOLLOW) {
            true => path.symlink_metadata(),
            false => path.metadata(),
        };
        match found {
            Ok(found) if !found.is_file() => refused(path, "is not a regular file"),
            _ => error,
        }
    })?;
    // Of what was opened, not of what the path may name by now.
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found.nlink())),
        false => Err(refused(path, "is not a regular file")),
    }
}

fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{} {what}", path.display()))
}
