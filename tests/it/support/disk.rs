//! Disks that have an end, and folders on them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes zeros until not a byte more fits.
pub(crate) fn fill(path: &Path) {
    let mut junk = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for block in [vec![0; 64 * 1024], vec![0; 1]] {
        while junk.write_all(&block).is_ok() {
            // What takes so much is no small disk, but the machine's own.
            let size = junk.metadata().unwrap().len();
            if size > 1 << 30 {
                fs::remove_file(path).unwrap();
                panic!("{} is on a large disk", path.display());
            }
        }
    }
}

/// Copies a folder with all that is in it, for its owner alone, as a broker wants its own.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
