//! A copy of the last checkpoint on a server: put there, and got from there.

use super::{Web, WebError};
use crate::secret::Secret;
use http::{HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use std::fmt;
use std::io;
use std::path::PathBuf;
use url::Url;

/// Keeps a checkpoint at a URL.
#[derive(Clone, Debug)]
pub struct WebKeeper {
    /// How it is reached.
    pub web: Web,
    /// Where.
    pub url: Url,
    /// The file with the bearer token, if one is asked for. Read each time: tokens are renewed.
    pub token: Option<PathBuf>,
}

impl WebKeeper {
    pub(in crate::audit) async fn keep(&self, note: &str) -> Result<(), WebError> {
        let request = self.web.0.put(self.url.clone()).body(note.to_owned());
        let request = request.header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        match Web::answer(self.authorised(request)?).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(WebError::Status(status)),
        }
    }

    pub(in crate::audit) async fn kept(&self) -> Result<Option<Vec<u8>>, WebError> {
        let request = self.web.0.get(self.url.clone());
        match Web::answer(self.authorised(request)?).await? {
            (StatusCode::OK, note) => Ok(Some(note)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(WebError::Status(status)),
        }
    }

    fn authorised(&self, request: RequestBuilder) -> Result<RequestBuilder, WebError> {
        let Some(path) = &self.token else {
            return Ok(request);
        };
        let token = Secret::from_file(path).map_err(WebError::Token)?;
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| {
            let what = "it holds what cannot be sent as a token";
            WebError::Token(io::Error::new(io::ErrorKind::InvalidData, what))
        })?;
        value.set_sensitive(true);
        Ok(request.header(header::AUTHORIZATION, value))
    }
}

impl fmt::Display for WebKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
