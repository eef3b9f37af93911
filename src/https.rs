//! HTTPS as a client: CAs that are given and no others, no proxy, no redirect, answers of a bounded length.

use reqwest::{Client, ClientBuilder, Response, redirect};
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::CertificateDer;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// The beginning of a TLS configuration that believes these CA certificates and no others; who we are is still to be said.
///
/// # Errors
/// When one of them is not usable.
pub fn believing<'a>(
    roots: impl IntoIterator<Item = CertificateDer<'a>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.into_owned())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    Ok(builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store))
}

/// The beginning of a client that goes where it is told: credentials follow no redirect, and what is inside stays there.
pub fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
}

/// A client without a certificate of its own. `limit` is for a call, its answer included.
///
/// # Errors
/// As [`believing`].
pub fn client<'a>(
    roots: impl IntoIterator<Item = CertificateDer<'a>>,
    limit: Duration,
) -> Result<Client, rustls::Error> {
    let tls = believing(roots)?.with_no_client_auth();
    let client = builder().tls_backend_preconfigured(tls).https_only(true);
    let client = client.timeout(limit).build();
    client.map_err(|error| rustls::Error::General(causes(error)))
}

/// The body of an answer; none if it has more than `most` bytes.
///
/// # Errors
/// When it ends early, or too late.
pub async fn body(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What failed and what caused it, innermost last, without the URL: reqwest's own text stops at "error sending request".
pub fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let first: &dyn Error = &error;
    let causes = std::iter::successors(Some(first), |&error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}
