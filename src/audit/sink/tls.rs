//! TLS to receivers: whom we believe, and who we are.

use crate::{https, limits};
use rustls::ClientConfig;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the TLS material is. Only the CA certificates named here are believed: never the system's. Files are read at each
/// connection that is made, so that they may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// CA certificates in PEM.
    pub ca: PathBuf,
    /// A certificate chain to show, leaf first, and its private key, both in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the files hold.
pub(super) struct Material {
    pub(super) ca: Zeroizing<Vec<u8>>,
    pub(super) identity: Option<Identity>,
}

/// A certificate chain and its key.
pub(super) struct Identity {
    pub(super) chain: Zeroizing<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// A file is not the PEM that it should be.
    #[error("not the PEM that is needed here: {0}")]
    Pem(#[from] pem::Error),
    /// There is no CA certificate in the file.
    #[error("{0}: holds no certificate")]
    NoCa(PathBuf),
    /// Certificates or key are not usable.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Material, MaterialError> {
        let identity = match &self.identity {
            Some((chain, key)) => Some(Identity {
                chain: bounded(chain)?,
                key: bounded(key)?,
            }),
            None => None,
        };
        Ok(Material {
            ca: bounded(&self.ca)?,
            identity,
        })
    }

    /// What a client of the receiver is set to.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn client(&self) -> Result<ClientConfig, MaterialError> {
        let material = self.read()?;
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(&material.ca).collect::<Result<_, _>>()?;
        if roots.is_empty() {
            return Err(MaterialError::NoCa(self.ca.clone()));
        }
        let builder = https::believing(roots)?;
        let Some(Identity { chain, key }) = &material.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let key = PrivateKeyDer::from_pem_slice(key)?;
        Ok(builder.with_client_auth_cert(chain?, key)?)
    }
}

fn bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    let most = u64::try_from(limits::PEM_FILE).unwrap_or(u64::MAX);
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| {
        let length = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        match length > limits::PEM_FILE {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(()),
        }
    });
    let path = path.to_owned();
    read.map_err(|error| MaterialError::File { path, error })?;
    Ok(bytes)
}
