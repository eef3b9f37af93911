//! Over HTTPS to those who hold the log to its word: keepers of copies, and witnesses.

mod keeper;

pub use keeper::WebKeeper;

use crate::limits;
use http::StatusCode;
use reqwest::{Client, RequestBuilder, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use std::io;
use std::sync::Arc;
use url::Url;

/// Speaks to servers that given CAs vouch for: no system trust store, no proxy, no redirect, and no waiting for ever.
#[derive(Clone, Debug)]
pub struct Web(Client);

/// Why a server gave no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The trust anchors are not usable.
    #[error("the CA certificates cannot be used: {0}")]
    Roots(#[source] rustls::Error),
    /// No connection, no answer in time, or an untrusted server. The cause, innermost last.
    #[error("{0}")]
    Transport(String),
    /// An answer that says no.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// A body over [`limits::NOTE`].
    #[error("the answer is longer than {max} bytes", max = limits::NOTE)]
    TooLarge,
    /// The file with the token cannot be read, or holds none.
    #[error("the token's file: {0}")]
    Token(#[source] io::Error),
}

impl Web {
    /// Trusts these CA certificates and no others.
    ///
    /// # Errors
    /// [`WebError::Roots`].
    pub fn new(roots: &[CertificateDer<'static>]) -> Result<Self, WebError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(WebError::Roots)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(WebError::Roots)?
            .with_root_certificates(store)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(limits::LOG_PARTY_CALL)
            .build()
            .map_err(|error| WebError::Roots(rustls::Error::General(chain(&error))))?;
        Ok(Self(client))
    }

    /// Posts a text to what is under a prefix.
    pub(super) async fn post(
        &self,
        prefix: &Url,
        name: &str,
        body: String,
    ) -> Result<(StatusCode, Vec<u8>), WebError> {
        let url = format!("{}/{name}", prefix.as_str().trim_end_matches('/'));
        Self::answer(self.0.post(url).body(body)).await
    }

    /// The answer to a request, whole or not at all.
    async fn answer(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), WebError> {
        let failed = |error: reqwest::Error| WebError::Transport(chain(&error.without_url()));
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > limits::NOTE {
                return Err(WebError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }
}

/// An error with what caused it: reqwest's own text stops at "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
