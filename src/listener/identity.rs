//! The server's own certificate and key, replaced without a restart.

use crate::clock::Clock;
use crate::limits;
use crate::listener::verifier::provider;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

/// What a new key signs to show that it belongs to the certificate.
const CHALLENGE: &[u8] = b"cambist: this key belongs to this certificate";

/// Where the server's certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// A PEM file with the chain, leaf first.
    pub certificate: PathBuf,
    /// A PEM file with the leaf's private key.
    pub key: PathBuf,
}

/// Why a certificate and key are not used. What was in use before stays so.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// No certificate or no key in the file, or broken PEM.
    #[error("{}: {text}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never the content.
        text: String,
    },
    /// The chain is over [`limits::CHAIN`].
    #[error("the chain has more than {} certificates", limits::CHAIN)]
    ChainTooLong,
    /// The leaf cannot be parsed.
    #[error("the certificate cannot be parsed")]
    Malformed,
    /// The leaf's time is over.
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
    /// The leaf's time has not come.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    /// The key cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(rustls::Error),
    /// What the key signs does not verify with the certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// The pair in use; rustls asks it at each handshake.
#[derive(Debug)]
pub struct ServerIdentity {
    files: IdentityFiles,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    not_after: Timestamp,
}

impl ServerIdentity {
    /// Reads and checks the pair. Blocks on file I/O.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(files: IdentityFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, IdentityError> {
        let current = ArcSwap::from_pointee(read(&files, clock.now())?);
        Ok(Arc::new(Self {
            files,
            clock,
            current,
        }))
    }

    /// Reads the files again, and uses the new pair from the next handshake on. Blocks on file I/O.
    ///
    /// # Errors
    /// [`IdentityError`]; then the old pair stays in use.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let loaded = read(&self.files, self.clock.now())?;
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// Every file, for watching.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        vec![self.files.certificate.clone(), self.files.key.clone()]
    }

    /// When the certificate in use expires.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.current.load().not_after
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

fn read(files: &IdentityFiles, now: Timestamp) -> Result<Loaded, IdentityError> {
    let chain = read_chain(&files.certificate)?;
    let leaf = chain.first().ok_or(IdentityError::Malformed)?;
    let (not_before, not_after) = validity(leaf)?;
    if now > not_after {
        return Err(IdentityError::Expired(not_after));
    }
    if now < not_before {
        return Err(IdentityError::NotYetValid(not_before));
    }
    let key = read_key(&files.key)?;
    let provider = provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => IdentityError::Mismatch,
        other => IdentityError::Key(other),
    })?;
    prove_possession(&key, &provider)?;
    Ok(Loaded {
        key: Arc::new(key),
        not_after,
    })
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), IdentityError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| IdentityError::Malformed)?;
    let at = |second| Timestamp::from_second(second).map_err(|_| IdentityError::Malformed);
    Ok((
        at(parsed.validity().not_before.timestamp())?,
        at(parsed.validity().not_after.timestamp())?,
    ))
}

/// Signs with the key and verifies with the certificate: what a client will do.
fn prove_possession(key: &CertifiedKey, provider: &CryptoProvider) -> Result<(), IdentityError> {
    let algorithms = &provider.signature_verification_algorithms;
    let schemes: Vec<SignatureScheme> = algorithms.supported_schemes();
    let signer = key
        .key
        .choose_scheme(&schemes)
        .ok_or(IdentityError::Mismatch)?;
    let signature = signer.sign(CHALLENGE).map_err(IdentityError::Key)?;
    let leaf = key.end_entity_cert().map_err(IdentityError::Key)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|_| IdentityError::Malformed)?;
    let verifies = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signer.scheme())
        .flat_map(|(_, algorithms)| *algorithms)
        .any(|algorithm| {
            leaf.verify_signature(*algorithm, CHALLENGE, &signature)
                .is_ok()
        });
    verifies.then_some(()).ok_or(IdentityError::Mismatch)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| pem_error(path, &error.to_string()))?;
    match chain.len() {
        0 => Err(pem_error(path, "holds no certificate")),
        n if n > limits::CHAIN => Err(IdentityError::ChainTooLong),
        _ => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let text = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| pem_error(path, "holds no private key"))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let mut text = Zeroizing::new(Vec::new());
    let bound = limits::TRUST_FILE as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut text))
        .map_err(|source| IdentityError::Read {
            path: path.to_owned(),
            source,
        })?;
    if text.len() > limits::TRUST_FILE {
        return Err(IdentityError::TooLarge(path.to_owned()));
    }
    Ok(text)
}

fn pem_error(path: &Path, text: &str) -> IdentityError {
    IdentityError::Pem {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}
