//! Where reporters publish their keys: at an https URL, or in a file.

use super::{Fetched, KeySource};
use crate::{https, limits};
use http::{HeaderValue, StatusCode, header};
use reqwest::Client;
use rustls_pki_types::CertificateDer;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;
use url::Url;

/// What we call ourselves: some servers, GitHub's among them, answer nobody who has no name.
const NAME: HeaderValue = HeaderValue::from_static("cambist");

/// Keys at an https URL.
#[derive(Clone, Debug)]
pub struct WebKeys {
    client: Client,
    url: Url,
}

impl WebKeys {
    /// At `url`, on a server that these CA certificates vouch for, and no others.
    ///
    /// # Errors
    /// When they are not usable.
    pub fn new(roots: &[CertificateDer<'static>], url: Url) -> Result<Self, rustls::Error> {
        let client = https::client(roots.iter().cloned(), limits::FETCH)?;
        Ok(Self { client, url })
    }

    async fn document(&self) -> Result<Vec<u8>, String> {
        let request = self.client.get(self.url.clone());
        let request = request.header(header::USER_AGENT, NAME);
        let request = request.header(header::ACCEPT, "application/json");
        let answer = request.send().await.map_err(https::causes)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = https::body(answer, limits::KEY_SET_BYTES).await;
        body.map_err(https::causes)?.ok_or_else(too_large)
    }
}

impl KeySource for WebKeys {
    fn fetch(&self) -> Fetched<'_> {
        Box::pin(self.document())
    }
}

/// Keys in a file.
#[derive(Clone, Debug)]
pub struct FileKeys(PathBuf);

impl FileKeys {
    /// In this one.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads it. Blocks.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        let path = &self.0;
        document(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl KeySource for FileKeys {
    fn fetch(&self) -> Fetched<'_> {
        let file = self.clone();
        Box::pin(async move {
            let read = spawn_blocking(move || file.read()).await;
            read.map_err(|error| error.to_string())?
        })
    }
}

fn document(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(limits::KEY_SET_BYTES).unwrap_or(u64::MAX);
    let mut document = Vec::new();
    let mut file = File::open(path)?.take(most.saturating_add(1));
    file.read_to_end(&mut document)?;
    match document.len() > limits::KEY_SET_BYTES {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large())),
        false => Ok(document),
    }
}

fn too_large() -> String {
    format!("longer than {} bytes", limits::KEY_SET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let read = |length: usize| {
            std::fs::write(&path, vec![b' '; length]).unwrap();
            FileKeys::new(path.clone()).read()
        };
        assert_eq!(
            read(limits::KEY_SET_BYTES).unwrap().len(),
            limits::KEY_SET_BYTES
        );
        let said = read(limits::KEY_SET_BYTES + 1).unwrap_err();
        assert!(said.ends_with("longer than 262144 bytes"), "{said}");
        assert!(FileKeys::new(folder.path().join("absent")).read().is_err());
    }
}
