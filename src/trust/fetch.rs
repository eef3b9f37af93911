//! Trust material from PEM files.

use super::{BundleMaterial, InvalidBundle, TrustStore};
use crate::id::TrustDomain;
use crate::limits;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where one trust domain's material is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainFiles {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// A PEM file with the roots.
    pub bundle: Option<PathBuf>,
    /// PEM files with revocation lists.
    pub crls: Vec<PathBuf>,
}

/// Why trust files were not taken.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file over [`limits::TRUST_FILE`].
    #[error("{}: larger than {} bytes", .0.display(), limits::TRUST_FILE)]
    TooLarge(PathBuf),
    /// A file that is not PEM.
    #[error("{}: not PEM: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A revocation file without a list: an emptied file must not un-revoke.
    #[error("{}: holds no revocation list", .0.display())]
    NoList(PathBuf),
    /// Material that was read and is bad.
    #[error(transparent)]
    Invalid(#[from] InvalidBundle),
}

/// The files of all trust domains.
#[derive(Clone, Debug, Default)]
pub struct TrustFiles {
    domains: Vec<DomainFiles>,
}

impl TrustFiles {
    /// Names the files; reads none.
    #[must_use]
    pub fn new(domains: Vec<DomainFiles>) -> Self {
        Self { domains }
    }

    /// Every file, for watching.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = |domain: &DomainFiles| {
            let bundle = domain.bundle.clone();
            bundle.into_iter().chain(domain.crls.clone())
        };
        self.domains.iter().flat_map(files).collect()
    }

    /// Reads all files and puts them in force. Blocks on file I/O.
    ///
    /// # Errors
    /// [`FetchError`] for the first file or domain at fault; then `store` is as it was.
    pub fn load_into(&self, store: &TrustStore) -> Result<u64, FetchError> {
        Ok(store.replace(self.read()?)?)
    }

    /// Reads all files. Blocks on file I/O.
    ///
    /// # Errors
    /// [`FetchError`] for the first file at fault.
    pub fn read(&self) -> Result<Vec<BundleMaterial>, FetchError> {
        self.domains.iter().map(read_domain).collect()
    }
}

fn read_domain(files: &DomainFiles) -> Result<BundleMaterial, FetchError> {
    let roots = match &files.bundle {
        Some(path) => read_pem::<CertificateDer<'static>>(path)?,
        None => Vec::new(),
    };
    let mut crls = Vec::new();
    for path in &files.crls {
        let lists = read_pem::<CertificateRevocationListDer<'static>>(path)?;
        if lists.is_empty() {
            return Err(FetchError::NoList(path.clone()));
        }
        crls.extend(lists);
    }
    Ok(BundleMaterial {
        trust_domain: files.trust_domain.clone(),
        roots,
        crls,
    })
}

fn read_pem<T: PemObject>(path: &Path) -> Result<Vec<T>, FetchError> {
    let unreadable = |source| FetchError::Read {
        path: path.to_owned(),
        source,
    };
    let bound = limits::TRUST_FILE as u64 + 1;
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut text))
        .map_err(unreadable)?;
    if text.len() > limits::TRUST_FILE {
        return Err(FetchError::TooLarge(path.to_owned()));
    }
    T::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| FetchError::Pem {
            path: path.to_owned(),
            source,
        })
}
