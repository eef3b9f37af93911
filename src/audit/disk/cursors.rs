//! Cursors as files in one folder, each named by its sink.

use crate::audit::sink::{Cursors, SinkName};
use crate::limits;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The folder of the cursors.
#[derive(Clone, Debug)]
pub struct DiskCursors {
    folder: PathBuf,
}

impl DiskCursors {
    /// The cursors in `folder`, which is created with the first.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn path(&self, name: &SinkName) -> PathBuf {
        self.folder.join(format!("{name}.cursor"))
    }
}

impl Cursors for DiskCursors {
    fn load(&self, name: &SinkName) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(limits::SINK_CURSOR).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn keep(&self, name: &SinkName, bytes: &[u8]) -> io::Result<()> {
        if !self.folder.is_dir() {
            DirBuilder::new().mode(0o700).create(&self.folder)?;
            let above = self.folder.parent().unwrap_or(Path::new("/"));
            File::open(above)?.sync_all()?;
        }
        let mut draft = NamedTempFile::new_in(&self.folder)?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft
            .persist(self.path(name))
            .map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_replaced_as_a_whole_and_read_up_to_its_bound() {
        let data = tempfile::tempdir().unwrap();
        let cursors = DiskCursors::new(&data.path().join("sinks"));
        let name = SinkName::try_from("siem".to_owned()).unwrap();
        assert_eq!(cursors.load(&name).unwrap(), None);
        let bound = usize::try_from(limits::SINK_CURSOR).unwrap();
        for length in [bound, 1, bound + 1] {
            cursors.keep(&name, &vec![b'x'; length]).unwrap();
            let kept = cursors.load(&name).unwrap().unwrap();
            assert_eq!(kept.len(), length.min(bound));
        }
        let listed = std::fs::read_dir(data.path().join("sinks")).unwrap();
        let names: Vec<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["siem.cursor"]);
    }
}
