//! A token as its holder sees it.

use super::Error;
use crate::id::{InvalidScope, Scope, ScopeSet, TokenId};
use crate::limits;
use crate::proto;
use crate::secret::Secret;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// A token: opaque to its holder, good until [`Token::expires_at`]. Cheap to clone, redacted in `Debug`.
#[derive(Clone, Debug)]
pub struct Token(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    value: Secret,
    header: HeaderValue,
    expires_at: Timestamp,
    lifetime: Duration,
    scopes: ScopeSet,
    id: TokenId,
    credential_id: Box<str>,
    bound: bool,
    receipt: Option<Receipt>,
}

/// Where in the audit log the record of an issue is; not a secret. The log proves that it is there: `cambist audit prove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The log, as its checkpoints name it.
    pub origin: Box<str>,
    /// The record's index in it.
    pub index: u64,
}

impl Token {
    /// The token's text.
    #[must_use]
    pub fn value(&self) -> &Secret {
        &self.0.value
    }

    /// `Bearer <token>`, marked sensitive so that HTTP libraries neither print nor index it.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0.header
    }

    /// When it lapses, by the broker's clock.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// How long it was good for when it was issued.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }

    /// The scopes granted.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.0.scopes
    }

    /// Its `jti`: names it in the log and in a revocation; not a secret.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.0.id
    }

    /// The credential at the root of its ancestry; not a secret.
    #[must_use]
    pub fn credential_id(&self) -> &str {
        &self.0.credential_id
    }

    /// Whether only the holder of the client certificate's key can use it (RFC 8705 section 3).
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.0.bound
    }

    /// Where its record is, as far as the broker tells.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        self.0.receipt.as_ref()
    }
}

impl TryFrom<proto::ExchangeResponse> for Token {
    type Error = Error;

    fn try_from(answer: proto::ExchangeResponse) -> Result<Self, Error> {
        let proto::ExchangeResponse {
            access_token,
            token_type,
            expires_at,
            expires_in,
            scopes,
            token_id,
            credential_id,
            bound,
            receipt,
        } = answer;
        let value = Secret::new(access_token);
        if !is_token(value.expose()) {
            return Err(unusable("a token that cannot go into a header"));
        }
        if !token_type.eq_ignore_ascii_case("Bearer") {
            return Err(unusable("a token of another type than Bearer"));
        }
        if expires_in == 0 {
            return Err(unusable("a token that has lapsed already"));
        }
        if credential_id.len() > limits::NAME || credential_id.chars().any(char::is_control) {
            return Err(unusable("a malformed credential id"));
        }
        let scopes = scope_set(&scopes).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            header: header(&value)?,
            value,
            expires_at: timestamp(expires_at)?,
            lifetime: Duration::from_secs(expires_in.into()),
            scopes,
            id: TokenId::parse(&token_id).map_err(|error| unusable(&error.to_string()))?,
            credential_id: credential_id.into(),
            bound,
            receipt: receipt.map(|proto::Receipt { origin, index }| Receipt {
                origin: origin.into(),
                index,
            }),
        })))
    }
}

fn scope_set(texts: &[String]) -> Result<ScopeSet, InvalidScope> {
    if texts.len() > limits::SCOPES {
        return Err(InvalidScope::TooMany);
    }
    let scopes: Result<Vec<_>, _> = texts.iter().map(|text| Scope::parse(text)).collect();
    ScopeSet::new(scopes?)
}

fn header(value: &Secret) -> Result<HeaderValue, Error> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", value.expose()));
    let mut header = HeaderValue::from_str(&text)
        .map_err(|_| unusable("a token that cannot go into a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// `b64token` of RFC 6750 section 2.1.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    !text.is_empty() && text.len() <= limits::TOKEN && text.bytes().all(allowed)
}

pub(super) fn timestamp(time: Option<prost_types::Timestamp>) -> Result<Timestamp, Error> {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
        .ok_or_else(|| unusable("no valid time"))
}

fn unusable(what: &str) -> Error {
    Error::Protocol(what.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer as a broker gives it.
    pub(crate) fn answer(value: &str, expires_at: i64, expires_in: u32) -> proto::ExchangeResponse {
        proto::ExchangeResponse {
            access_token: value.to_owned(),
            token_type: "Bearer".to_owned(),
            expires_at: Some(prost_types::Timestamp {
                seconds: expires_at,
                nanos: 0,
            }),
            expires_in,
            scopes: vec!["deploy".to_owned()],
            token_id: TokenId::new([7; 16]).to_string(),
            credential_id: "key:0123456789abcdef".to_owned(),
            bound: false,
            receipt: Some(proto::Receipt {
                origin: "localhost/node-1".to_owned(),
                index: 42,
            }),
        }
    }

    fn refused(change: impl FnOnce(&mut proto::ExchangeResponse)) -> bool {
        let mut answer = answer("t", 100, 60);
        change(&mut answer);
        matches!(Token::try_from(answer), Err(Error::Protocol(_)))
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let token = Token::try_from(answer("canary-token", 100, 60)).unwrap();
        let shown = format!("{token:?} {:?}", token.header());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(token.header().as_bytes(), b"Bearer canary-token");
    }

    #[test]
    fn nonsense_is_not_a_token() {
        assert!(!refused(|_| ()));
        assert!(refused(|a| a.access_token.clear()));
        assert!(refused(|a| a.access_token = "a b".into()));
        assert!(refused(|a| a.access_token = "a\r\nx: y".into()));
        assert!(!refused(|a| a.access_token = "a".repeat(limits::TOKEN)));
        assert!(refused(|a| a.access_token = "a".repeat(limits::TOKEN + 1)));
        assert!(refused(|a| a.token_type = "DPoP".into()));
        assert!(refused(|a| a.expires_in = 0));
        assert!(refused(|a| a.expires_at = None));
        assert!(refused(|a| a.expires_at = Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: -1
        })));
        assert!(refused(|a| a.scopes = vec!["a b".into()]));
        assert!(refused(
            |a| a.scopes = (0..=limits::SCOPES).map(|i| format!("s{i}")).collect()
        ));
        assert!(refused(|a| a.token_id = "x".into()));
        assert!(!refused(|a| a.receipt = None));
        assert!(!refused(|a| a.credential_id = "k".repeat(limits::NAME)));
        assert!(refused(|a| a.credential_id = "k".repeat(limits::NAME + 1)));
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_no_bad_byte_reaches_a_header(
            value in ".{0,20}", seconds: i64, nanos: i32, expires_in: u32, scope in ".{0,8}", id in ".{0,24}",
        ) {
            let mut answer = answer(&value, seconds, expires_in);
            answer.scopes = vec![scope];
            answer.token_id = id;
            if let Some(time) = &mut answer.expires_at { time.nanos = nanos; }
            if let Ok(token) = Token::try_from(answer) {
                prop_assert!(token.header().as_bytes().iter().all(|b| *b == b' ' || b.is_ascii_graphic()));
            }
        }
    }
}
