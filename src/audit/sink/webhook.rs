//! Requests to a web server.
//!
//! Each batch is one POST: a JSON array of the events, or a line each. Its headers are those of Standard Webhooks:
//! `webhook-id` names the log and the first and last record, so that a copy is known as one; `webhook-timestamp` is when it was
//! sent; with a key, `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`. The key's file
//! holds `whsec_` and base64, as receivers know it.
//!
//! | answer | it is |
//! |---|---|
//! | 2xx | delivered |
//! | 400, 413, 422 | refused: the answer speaks of what was sent |
//! | any other, redirects among them | failed: the answer speaks of us, of the receiver, or of the way |

use super::{Around, Delivery, Event, Sink, TlsFiles, Undelivered};
use crate::clock::Clock;
use crate::https;
use crate::secret::Secret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Client;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// What a key's text begins with.
const KEY: &str = "whsec_";

/// A receiver of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// With TLS; without on the loopback interface only.
    pub tls: Option<TlsFiles>,
    /// The file with the bearer token.
    pub bearer: Option<PathBuf>,
    /// The file with the key that requests are signed with.
    pub key: Option<PathBuf>,
    /// How events stand in a request.
    pub body: Body,
}

/// How events stand in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// One JSON array.
    #[default]
    Array,
    /// One JSON object a line.
    Lines,
}

impl Webhook {
    pub(super) fn open(&self, around: &Around) -> Requests {
        Requests {
            to: self.clone(),
            log: String::from(around.log.id()),
            clock: Arc::clone(&around.clock),
            connection: None,
        }
    }

    /// Reads what its files hold.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn check(&self) -> Result<(), String> {
        self.connect().map(drop)
    }

    fn connect(&self) -> Result<Connection, String> {
        let mut client = https::builder();
        if let Some(tls) = &self.tls {
            let config = tls.client().map_err(|error| error.to_string())?;
            client = client.tls_backend_preconfigured(config).https_only(true);
        }
        let client = client.build().map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        if let Some(path) = &self.bearer {
            headers.insert(header::AUTHORIZATION, bearer(path)?);
        }
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(match self.body {
                Body::Array => "application/json",
                Body::Lines => "application/x-ndjson",
            }),
        );
        Ok(Connection {
            client,
            headers,
            key: self.key.as_deref().map(key).transpose()?,
        })
    }
}

/// The header of a bearer token.
pub(super) fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let unusable = |what: &str| format!("{}: {what}", path.display());
    let token = Secret::from_file(path).map_err(|error| unusable(&error.to_string()))?;
    if token.expose().is_empty() {
        return Err(unusable("holds no token"));
    }
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| unusable("not a bearer token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn key(path: &Path) -> Result<hmac::Key, String> {
    let unusable = |what: &str| format!("{}: {what}", path.display());
    let text = Secret::from_file(path).map_err(|error| unusable(&error.to_string()))?;
    let encoded = text.expose().strip_prefix(KEY);
    let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    let bytes = bytes.filter(|bytes| bytes.len() >= hmac_least());
    let bytes = Zeroizing::new(
        bytes.ok_or_else(|| unusable("not `whsec_` and the base64 of 24 bytes or more"))?,
    );
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The shortest key that Standard Webhooks allows, in bytes.
const fn hmac_least() -> usize {
    24
}

/// The sink.
#[derive(Debug)]
pub(super) struct Requests {
    to: Webhook,
    log: String,
    clock: Arc<dyn Clock>,
    /// None before the first delivery, and after each that failed: files are read anew then.
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    headers: HeaderMap,
    key: Option<hmac::Key>,
}

impl Sink for Requests {
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a> {
        Box::pin(async move {
            let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
                return Ok(0);
            };
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.to.connect().map_err(Undelivered::Failed)?,
            };
            let id = format!("{}-{}-{}", self.log, first.sequence, last.sequence);
            let at = self.clock.now().as_second();
            let request =
                connection.request(self.to.url.clone(), &id, at, self.to.body.encode(batch));
            let answer = request?.send().await;
            let answer = answer.map_err(|error| Undelivered::failed(&error.without_url()))?;
            let judged = judge(answer.status());
            if !matches!(judged, Err(Undelivered::Failed(_))) {
                self.connection = Some(connection);
            }
            judged.map(|()| 0)
        })
    }
}

impl Connection {
    fn request(
        &self,
        url: Url,
        id: &str,
        at: i64,
        body: Vec<u8>,
    ) -> Result<reqwest::RequestBuilder, Undelivered> {
        let mut headers = self.headers.clone();
        let mut say = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|error| Undelivered::failed(&error))?;
            headers.insert(name, value);
            Ok::<_, Undelivered>(())
        };
        say("webhook-id", id)?;
        say("webhook-timestamp", &at.to_string())?;
        if let Some(key) = &self.key {
            let mut signed = hmac::Context::with_key(key);
            signed.update(format!("{id}.{at}.").as_bytes());
            signed.update(&body);
            let signature = STANDARD.encode(signed.sign());
            say("webhook-signature", &format!("v1,{signature}"))?;
        }
        Ok(self.client.post(url).headers(headers).body(body))
    }
}

impl Body {
    fn encode(self, batch: &[Event]) -> Vec<u8> {
        let (begin, between, end): (&[u8], &[u8], &[u8]) = match self {
            Self::Array => (b"[", b",", b"]"),
            Self::Lines => (b"", b"\n", b"\n"),
        };
        let texts: Vec<_> = batch.iter().map(|event| event.text.as_bytes()).collect();
        [begin, &texts.join(between), end].concat()
    }
}

fn judge(status: StatusCode) -> Result<(), Undelivered> {
    let said = || format!("the answer is {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(Undelivered::Refused(said())),
        _ => Err(Undelivered::Failed(said())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_speaks_of_what_was_sent_is_a_refusal() {
        for status in 200..600 {
            let judged = judge(StatusCode::from_u16(status).unwrap());
            match (status, judged) {
                (200..=299, Ok(())) | (400 | 413 | 422, Err(Undelivered::Refused(_))) => {}
                (400 | 413 | 422, _) | (200..=299, _) => panic!("{status}"),
                (_, judged) => assert!(matches!(judged, Err(Undelivered::Failed(_))), "{status}"),
            }
        }
    }

    #[test]
    fn a_key_is_as_long_as_receivers_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (text, is_key) in [
            (format!("{KEY}{}", STANDARD.encode([7; hmac_least()])), true),
            (
                format!("{KEY}{}\n", STANDARD.encode([7; hmac_least()])),
                true,
            ),
            (
                format!("{KEY}{}", STANDARD.encode([7; hmac_least() - 1])),
                false,
            ),
            (STANDARD.encode([7; hmac_least()]), false),
            (format!("{KEY}?"), false),
            (String::new(), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            let read = key(&path);
            assert_eq!(read.is_ok(), is_key, "{text}");
            if let Err(said) = read {
                assert!(text.is_empty() || !said.contains(text.trim()), "{said}");
            }
        }
    }

    #[test]
    fn a_token_is_sent_as_a_header_that_is_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "canary-7\n").unwrap();
        let value = bearer(&path).unwrap();
        assert_eq!(value, "Bearer canary-7");
        assert!(!format!("{value:?}").contains("canary"));
        for bad in ["", "\n", "a\nb"] {
            std::fs::write(&path, bad).unwrap();
            assert!(bearer(&path).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_bodies_hold_the_same() {
        let event = |text: &str| Event {
            sequence: 0,
            time: jiff::Timestamp::UNIX_EPOCH,
            kind: String::new(),
            code: None,
            weight: super::super::Weight::Notice,
            text: text.to_owned(),
        };
        let batch = [event("{\"a\":1}"), event("{}")];
        assert_eq!(Body::Array.encode(&batch), b"[{\"a\":1},{}]");
        assert_eq!(Body::Lines.encode(&batch), b"{\"a\":1}\n{}\n");
    }
}
