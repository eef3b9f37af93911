//! The files under a path.

use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Is shown what is found.
pub(super) trait Visitor {
    /// A file, opened. Answers whether to go on.
    fn file(&mut self, path: &Path, file: &mut dyn Read) -> bool;
    /// A file or folder that cannot be read.
    fn unreadable(&mut self, path: &Path, error: &io::Error);
}

/// Shows a file, or every file in a folder and in those within it, by name.
///
/// What is named is read whatever it is: a link to something, or a pipe. In folders only files and folders are, so that no
/// link leads elsewhere or in a circle, and no pipe holds the scan up.
pub(super) fn files(named: &Path, visitor: &mut dyn Visitor) {
    match fs::metadata(named) {
        Ok(about) if about.is_dir() => folder(named, visitor),
        Ok(_) => match File::open(named) {
            Ok(mut file) => {
                visitor.file(named, &mut file);
            }
            Err(error) => visitor.unreadable(named, &error),
        },
        Err(error) => visitor.unreadable(named, &error),
    }
}

fn folder(top: &Path, visitor: &mut dyn Visitor) {
    // What is still to be looked at, the next one last: folders within folders take no stack.
    let mut waiting = vec![(top.to_owned(), true)];
    while let Some((path, is_folder)) = waiting.pop() {
        if is_folder {
            match entries(&path, visitor) {
                Ok(mut entries) => {
                    entries.sort_unstable_by(|one, other| other.cmp(one));
                    waiting.append(&mut entries);
                }
                Err(error) => visitor.unreadable(&path, &error),
            }
            continue;
        }
        match open(&path) {
            Ok(Some(mut file)) => {
                if !visitor.file(&path, &mut file) {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => visitor.unreadable(&path, &error),
        }
    }
}

/// The files and folders in a folder.
fn entries(folder: &Path, visitor: &mut dyn Visitor) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() || kind.is_file() => {
                found.push((entry.path(), kind.is_dir()));
            }
            Ok(_) => {}
            Err(error) => visitor.unreadable(&entry.path(), &error),
        }
    }
    Ok(found)
}

/// A file that was listed as one; nothing where it has become something else since.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}
