//! The claims of an access token (RFC 9068 section 2.2), as they are written: from borrowed values, into one buffer.
//!
//! Beside the registered claims there is one of our own, `cmb`, by which a token can be exchanged again and revoked with
//! its ancestry:
//!
//! ```json
//! "cmb": {
//!   "c": ["key:4kJx…", "x509:…"],      // every credential in the ancestry, actors included
//!   "l": ["mRz0…"],                    // 128-bit digests of all subject and actor ancestor tokens
//!   "x": {"aud": ["https://shop…"]}    // audiences that tokens made from it may be for …
//!   "x": {"any": true}                 // … or: those that policy allows. Never said by leaving something out.
//! }
//! ```

use crate::authn::{Actor, Lineage, Reach};
use crate::id::{Audience, CredentialId, ScopeSet, TokenId};
use crate::marker::MarkerId;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// All claims of a token, in the order of the text.
#[derive(Serialize)]
pub(super) struct Claims<'a> {
    pub(super) iss: &'a str,
    pub(super) sub: &'a str,
    pub(super) aud: &'a str,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) jti: Shown<TokenId>,
    pub(super) client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Shown<&'a ScopeSet>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<Acting<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) may_act: Option<MayAct<'a>>,
    pub(super) cmb: Ancestry<'a>,
}

/// A value that is written as its `Display` text, without a string in between.
pub(super) struct Shown<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// Bytes as base64url text.
struct Encoded<'a>(&'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base64::display::Base64Display::new(self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

/// `cnf` (RFC 8705 section 3.1).
#[derive(Serialize)]
pub(super) struct Confirmation<'a> {
    #[serde(rename = "x5t#S256", serialize_with = "encoded")]
    pub(super) certificate: &'a [u8; 32],
}

fn encoded<S: Serializer>(bytes: &&[u8; 32], out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&Encoded(*bytes))
}

/// `act` (RFC 8693 section 4.1).
pub(super) struct Acting<'a>(pub(super) &'a Actor);

impl Serialize for Acting<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("sub", &*self.0.sub)?;
        if let Some(previous) = self.0.previous.as_deref() {
            map.serialize_entry("act", &Acting(previous))?;
        }
        map.end()
    }
}

/// `may_act` (RFC 8693 section 4.4).
#[derive(Serialize)]
pub(super) struct MayAct<'a> {
    pub(super) sub: &'a str,
}

/// `cmb`.
pub(super) struct Ancestry<'a> {
    pub(super) lineage: &'a Lineage,
    /// What policy left of the lineage's own ceiling.
    pub(super) exchange: &'a Reach<Arc<[Audience]>>,
}

impl Serialize for Ancestry<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(3))?;
        map.serialize_entry("c", &Credentials(&self.lineage.credentials))?;
        map.serialize_entry("l", &Ancestors(&self.lineage.ancestors))?;
        map.serialize_entry("x", &Exchange(self.exchange))?;
        map.end()
    }
}

struct Credentials<'a>(&'a [CredentialId]);

impl Serialize for Credentials<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Shown))
    }
}

struct Ancestors<'a>(&'a [MarkerId]);

impl Serialize for Ancestors<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Shown))
    }
}

struct Exchange<'a>(&'a Reach<Arc<[Audience]>>);

impl Serialize for Exchange<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(1))?;
        match self.0 {
            Reach::Policy => map.serialize_entry("any", &true)?,
            Reach::Listed(audiences) => map.serialize_entry("aud", &Names(audiences))?,
        }
        map.end()
    }
}

struct Names<'a>(&'a [Audience]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Audience::as_str))
    }
}
