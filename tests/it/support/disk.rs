//! Disks that have an end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Writes zeros until not a byte more fits.
pub(crate) fn fill(path: &Path) {
    let mut junk = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for block in [vec![0; 64 * 1024], vec![0; 1]] {
        while junk.write_all(&block).is_ok() {}
    }
}
