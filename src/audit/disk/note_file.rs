//! Files that hold one note, or as little.

use crate::limits;
use crate::regular;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;

/// Writes a file in `folder` under another name, and gives it its name once it is whole and durable.
pub(super) fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = NamedTempFile::new_in(folder)?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|failed| {
        let told = format!("{}: {}", path.display(), failed.error);
        io::Error::new(failed.error.kind(), told)
    })?;
    File::open(folder)?.sync_all()
}

/// What a file holds, and no more of it than tells that it is too large.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match regular::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut note = Vec::new();
    let bound = u64::try_from(limits::NOTE).unwrap_or(u64::MAX);
    file.take(bound.saturating_add(1)).read_to_end(&mut note)?;
    Ok(Some(note))
}
