//! The store's files: their names, their modes, and who may hold them.

use super::fault::OpenError;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Owner only: values hold hashes and sealed keys.
pub(super) const MODE: u32 = 0o600;

/// `path` with `suffix` after its whole name, as SQLite names the files beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Names the file that an answer of the operating system is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    |error| OpenError::Io { path, error }
}

/// Whether something is at `path`, a broken symbolic link included.
pub(super) fn exists(path: &Path) -> Result<bool, OpenError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}

/// Makes a file that must not exist yet.
pub(super) fn create_new(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(MODE);
    options.open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            OpenError::Exists(path.to_owned())
        } else {
            at(path)(error)
        }
    })
}

/// Removes what an interrupted attempt left, if anything.
pub(super) fn remove(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Takes the rights of group and others away.
pub(super) fn restrict(path: &Path) -> Result<(), OpenError> {
    std::fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(at(path))
}

/// Makes a finished file's content and its name durable. The file must not be open in SQLite: closing
/// any handle of it would drop SQLite's locks.
pub(super) fn settle(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(at(path))?;
    settle_names(path)
}

/// Makes changes of names in the folder of `path` durable.
pub(super) fn settle_names(path: &Path) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// The right to be the only process that has a store open; given back on drop, and by the kernel when the process ends.
#[derive(Debug)]
pub(super) struct Owned(File);

impl Drop for Owned {
    // Closing alone would leave the lock with a child process that was forked meanwhile, until it calls exec.
    fn drop(&mut self) {
        self.0.unlock().ok();
    }
}

impl Owned {
    /// Takes the right, without waiting. The lock is on a file of its own, because closing any handle
    /// of a database drops the locks SQLite has on it.
    pub(super) fn take(store: &Path) -> Result<Self, OpenError> {
        let path = beside(store, "-lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(MODE);
        let file = options.open(&path).map_err(at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.to_owned())),
            Err(TryLockError::Error(error)) => Err(at(&path)(error)),
        }
    }
}
