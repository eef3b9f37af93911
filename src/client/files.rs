//! Reading files that others replace while we run.

use super::Error;
use crate::limits;
use crate::secret::Secret;
use std::path::Path;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

/// Reads a file of at most `limit` bytes.
pub(super) async fn bounded(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: std::io::Error| Error::file(path, error.to_string());
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    // Room for all of it at once: a buffer that grows would leave copies behind.
    let size = file.metadata().await.map_err(failed)?.len();
    let room = usize::try_from(size).unwrap_or(limit).min(limit);
    let mut content = Zeroizing::new(Vec::with_capacity(room.saturating_add(1)));
    let past = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(past)
        .read_to_end(&mut content)
        .await
        .map_err(failed)?;
    if content.len() > limit {
        return Err(Error::file(path, format!("longer than {limit} bytes")));
    }
    Ok(content)
}

/// Reads a credential, without the line break that editors leave.
pub(super) async fn credential(path: &Path) -> Result<Secret, Error> {
    let content = bounded(path, limits::TOKEN).await?;
    let text = std::str::from_utf8(&content).map_err(|_| Error::file(path, "not text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::file(path, "empty"));
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_holds_at_n_and_n_plus_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [b'a'; 10]).unwrap();
        assert_eq!(bounded(&path, 10).await.unwrap().len(), 10);
        assert!(matches!(bounded(&path, 9).await, Err(Error::File { .. })));
    }

    #[tokio::test]
    async fn a_file_without_end_is_refused() {
        assert!(credential(Path::new("/dev/zero")).await.is_err());
    }

    #[tokio::test]
    async fn the_last_line_break_is_not_part_of_a_credential() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "a b \r\n\n").unwrap();
        assert_eq!(credential(&path).await.unwrap().expose(), "a b ");
        std::fs::write(&path, "\n").unwrap();
        assert!(credential(&path).await.is_err());
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(credential(&path).await.is_err());
    }
}
