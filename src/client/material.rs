//! TLS material in files that others rotate: read at each connection, the last good kept.

use super::{Error, files};
use crate::{https, limits};
use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where the TLS material is. Only the bundle named here is trusted: never the system's roots.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    roots: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Trusts the CA certificates of a PEM bundle, and shows no certificate.
    #[must_use]
    pub fn new(roots: impl Into<PathBuf>) -> Self {
        Self {
            roots: roots.into(),
            identity: None,
        }
    }

    /// Shows the certificate chain of one PEM file, with the private key of another.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }
}

/// A fingerprint of the files' bytes: equal means nothing was rotated.
pub(super) type Digest = [u8; 32];

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ClientConfig>,
    pub(super) digest: Digest,
}

/// Turns files into a TLS configuration, and keeps the last good one.
#[derive(Debug)]
pub(super) struct Material {
    files: TlsFiles,
    current: ArcSwapOption<Loaded>,
}

struct Bytes {
    roots: Zeroizing<Vec<u8>>,
    identity: Option<IdentityBytes>,
}

struct IdentityBytes {
    chain: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Material {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self {
            files,
            current: ArcSwapOption::empty(),
        }
    }

    /// The material as it is now. Bad material leaves the last good in place: a rotation is seldom
    /// atomic, and an old certificate is better than none.
    pub(super) async fn load(&self) -> Result<Arc<Loaded>, Error> {
        match self.load_new().await {
            Ok(loaded) => Ok(loaded),
            Err(error) => match self.current.load_full() {
                Some(last) => {
                    tracing::warn!(%error, "new TLS material is not usable; the last good stays");
                    Ok(last)
                }
                None => Err(error),
            },
        }
    }

    async fn load_new(&self) -> Result<Arc<Loaded>, Error> {
        let bytes = self.read().await?;
        let digest = bytes.digest();
        if let Some(current) = self.current.load_full()
            && current.digest == digest
        {
            return Ok(current);
        }
        let config = Arc::new(self.configure(&bytes)?);
        let loaded = Arc::new(Loaded { config, digest });
        self.current.store(Some(Arc::clone(&loaded)));
        Ok(loaded)
    }

    async fn read(&self) -> Result<Bytes, Error> {
        let roots = files::bounded(&self.files.roots, limits::PEM_FILE).await?;
        let identity = match &self.files.identity {
            Some((chain, key)) => Some(IdentityBytes {
                chain: files::bounded(chain, limits::PEM_FILE).await?,
                key: files::bounded(key, limits::PEM_FILE).await?,
            }),
            None => None,
        };
        Ok(Bytes { roots, identity })
    }

    fn configure(&self, bytes: &Bytes) -> Result<ClientConfig, Error> {
        let roots = certificates(&self.files.roots, &bytes.roots)?;
        let builder = https::believing(roots);
        let builder = builder.map_err(|error| Error::file(&self.files.roots, error.to_string()))?;
        let mut config = match (&self.files.identity, &bytes.identity) {
            (Some((chain_path, key_path)), Some(IdentityBytes { chain, key })) => {
                let chain = certificates(chain_path, chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| Error::file(key_path, "no private key in PEM form"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| Error::file(chain_path, error.to_string()))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session skips the look at certificates, on both sides.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl Bytes {
    fn digest(&self) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        let (chain, key) = self
            .identity
            .as_ref()
            .map_or((&[][..], &[][..]), |identity| {
                (&identity.chain, &identity.key)
            });
        for part in [&self.roots, chain, key] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => Err(Error::file(path, "no certificates in PEM form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Error;

    fn pem() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn rotation_is_seen_and_bad_material_leaves_the_good_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let material = Material::new(TlsFiles::new(at("ca")).with_certificate(at("c"), at("k")));
        assert!(matches!(material.load().await, Err(Error::File { .. })));

        let (certificate, key) = pem();
        std::fs::write(at("ca"), &certificate).unwrap();
        std::fs::write(at("c"), &certificate).unwrap();
        std::fs::write(at("k"), &key).unwrap();
        let first = material.load().await.unwrap();
        assert!(Arc::ptr_eq(&first, &material.load().await.unwrap()));

        // Half of a rotation: the new certificate does not belong to the old key.
        let (certificate, key) = pem();
        std::fs::write(at("c"), &certificate).unwrap();
        assert_eq!(material.load().await.unwrap().digest, first.digest);
        std::fs::write(at("k"), &key).unwrap();
        let second = material.load().await.unwrap();
        assert_ne!(second.digest, first.digest);

        for bad in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(at("ca"), bad).unwrap();
            assert_eq!(material.load().await.unwrap().digest, second.digest);
        }
        std::fs::remove_file(at("c")).unwrap();
        assert_eq!(material.load().await.unwrap().digest, second.digest);
    }
}
