//! Over HTTPS to those who hold the log to its word: keepers of copies, and witnesses.

mod keeper;

pub use keeper::WebKeeper;

use crate::{https, limits};
use http::StatusCode;
use reqwest::{Client, RequestBuilder};
use rustls_pki_types::CertificateDer;
use std::io;
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
        let client = https::client(roots.iter().cloned(), limits::LOG_PARTY_CALL);
        client.map(Self).map_err(WebError::Roots)
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
        let failed = |error| WebError::Transport(https::causes(error));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = https::body(response, limits::NOTE).await.map_err(failed)?;
        Ok((status, body.ok_or(WebError::TooLarge)?))
    }
}
