//! Fetching an issuer's keys: metadata first, then the key set that it names.

use crate::jose::{JoseError, KeySet, from_slice};
use crate::{https, limits};
use reqwest::{Client, Url};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The trust anchors are not usable.
    #[error("the CA certificates cannot be used: {0}")]
    Roots(#[source] rustls::Error),
    /// Not an https URL without query and fragment.
    #[error("{0} is not an https URL without query and fragment")]
    Url(String),
    /// No connection, no answer in time, or an untrusted server.
    #[error("{url}: {cause}")]
    Transport {
        /// What was asked for.
        url: Url,
        /// The cause, innermost last.
        cause: String,
    },
    /// An answer other than 200. Redirects are not followed.
    #[error("{url}: the answer is {status}")]
    Status {
        /// What was asked for.
        url: Url,
        /// The status code.
        status: u16,
    },
    /// A body over [`limits::KEY_SET_BYTES`].
    #[error("{0}: the answer is longer than {max} bytes", max = limits::KEY_SET_BYTES)]
    TooLarge(Url),
    /// The metadata is not the issuer's.
    #[error("{url}: {reason}")]
    Metadata {
        /// What was asked for.
        url: Url,
        /// What is wrong.
        reason: &'static str,
    },
    /// The key set is not usable.
    #[error("{url}: {error}")]
    Keys {
        /// What was asked for.
        url: Url,
        /// What is wrong.
        error: JoseError,
    },
    /// Nothing can be done in the background outside a Tokio runtime.
    #[error("fetching in the background needs a Tokio runtime")]
    Runtime,
}

/// Fetches over https from servers that given CAs vouch for: no system trust store, no proxy, no redirect.
#[derive(Clone, Debug)]
pub struct Fetcher(Client);

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// A fetcher that trusts these CA certificates and no others.
    ///
    /// # Errors
    /// [`FetchError::Roots`].
    pub fn new<'a>(
        roots: impl IntoIterator<Item = CertificateDer<'a>>,
    ) -> Result<Self, FetchError> {
        let client = https::client(roots, limits::FETCH);
        client.map(Self).map_err(FetchError::Roots)
    }

    /// The keys of `issuer`, by its RFC 8414 metadata, which must name the issuer byte by byte.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn key_set(&self, issuer: &str) -> Result<KeySet, FetchError> {
        let url = metadata_url(issuer)?;
        let metadata: Metadata =
            from_slice(&self.body(&url).await?).map_err(|_| FetchError::Metadata {
                url: url.clone(),
                reason: "not authorization server metadata",
            })?;
        if metadata.issuer != issuer {
            return Err(FetchError::Metadata {
                url,
                reason: "the metadata is of another issuer",
            });
        }
        self.keys(&https(&metadata.jwks_uri)?).await
    }

    /// A key set by its own URL.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn keys(&self, url: &Url) -> Result<KeySet, FetchError> {
        KeySet::parse(&self.body(url).await?).map_err(|error| FetchError::Keys {
            url: url.clone(),
            error,
        })
    }

    async fn body(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Transport {
            url: url.clone(),
            cause: https::causes(error),
        };
        let response = self.0.get(url.clone()).send().await.map_err(failed)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status {
                url: url.clone(),
                status: response.status().as_u16(),
            });
        }
        let body = https::body(response, limits::KEY_SET_BYTES).await;
        body.map_err(failed)?
            .ok_or_else(|| FetchError::TooLarge(url.clone()))
    }
}

/// RFC 8414 section 3.1: the well-known part goes between host and path.
pub(super) fn metadata_url(issuer: &str) -> Result<Url, FetchError> {
    let mut url = https(issuer)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok(url)
}

fn https(text: &str) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|_| FetchError::Url(text.to_owned()))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if url.scheme() == "https" && plain {
        Ok(url)
    } else {
        Err(FetchError::Url(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        let url = |issuer| metadata_url(issuer).map(String::from).ok();
        let at = |rest: &str| {
            Some(format!(
                "https://example.org/.well-known/oauth-authorization-server{rest}"
            ))
        };
        assert_eq!(url("https://example.org"), at(""));
        assert_eq!(url("https://example.org/"), at(""));
        assert_eq!(url("https://example.org/team/a"), at("/team/a"));
        for bad in [
            "http://example.org",
            "https://example.org/?a",
            "https://example.org/#a",
            "https://u@example.org",
            "x",
        ] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
