//! DPoP: whether the caller has the key that its token is bound to (RFC 9449).
//!
//! What a request shows ([`Shown`]) becomes a [`Proof`] by section 4.3 of the RFC, once the token that it is for is believed; and
//! the proof is spent when nothing else stands against the request.

mod error;
mod place;
mod seen;
#[cfg(test)]
pub(in crate::verify) mod testing;
#[cfg(test)]
mod tests;

pub use error::ProofError;
pub use place::PlaceError;

use super::cache::Print;
use super::error::VerifyError;
use crate::jose::{Algorithm, JoseError, NumericDate, SelfSigned, non_null};
use crate::limits;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use jiff::Timestamp;
use place::Place;
use seen::{Id, Key, Seen};
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// The signatures that proofs may have, Ed25519 by both of its names.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Es256,
    Algorithm::Ed25519,
    Algorithm::Ps256,
    Algorithm::Rs256,
];

/// Their names, as challenges list them (RFC 9449 section 7.1).
pub(super) const ALGORITHM_NAMES: &str = "ES256 EdDSA Ed25519 PS256 RS256";

/// The header that brings a proof (RFC 9449 section 4.1).
const HEADER: &str = "dpop";

/// Checks proofs of possession for one server (RFC 9449 section 4.3), and remembers those that passed. Cheap to clone: clones
/// remember together.
///
/// A proof is a JWT that the caller signs for each request: with the key that its token is bound to, for the method and the
/// URL of the request, and for the token. It says nothing of the query, the headers and the body: who gets hold of a proof
/// before it arrives can send it with others. It passes once, and only while it is new, signed by ES256, Ed25519, PS256 or
/// RS256: for [`limits::DPOP_AGE`] from when it says that it was made, which may be [`limits::DPOP_AHEAD`] ahead, so for 90
/// seconds at most. Nonces of the server (sections 8 and 9), by which a
/// client could be kept from making proofs in advance, are not asked for.
///
/// What is remembered is bounded ([`limits::DPOP_SEEN`], or less) and only in this process, for as long as that runs: after
/// a restart a proof that passed before it passes once more, if it is still new. Where that is full, no proof
/// passes until some of what is remembered is too old to pass again: forgetting one would let it pass twice. It takes good
/// tokens to fill it, since nothing else is remembered, and tokens of several keys, since one key has only its share
/// ([`limits::DPOP_SEEN_SHARE`]); past that its own proofs do not pass, and others do. Servers that stand in for one another under one URL
/// do not know of each other's: a proof that was caught on its way passes once at each of them.
#[derive(Clone)]
pub struct Proofs(Arc<Inner>);

struct Inner {
    place: Place,
    seen: Seen,
}

/// The proof that a request brings, or that it brings none: not checked.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    proofs: &'a Proofs,
    text: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    spent: Option<&'a Spent>,
}

/// A proof that is good for its request, its token and the key that the token is bound to, and has yet to be spent. Only
/// [`Shown::check`] makes one.
#[must_use = "a proof that is not spent passes again"]
pub(super) struct Proof<'a> {
    proofs: &'a Proofs,
    id: Id,
    issued: NumericDate,
    /// It was spent for this very request before.
    is_spent: bool,
}

/// That a proof was spent for a request: in the extensions of that request, where nobody else can put one. A second check of
/// the request (a layer within a layer) is not refused what the first one took, and checks all else anew.
#[derive(Clone)]
pub(super) struct Spent {
    proofs: Proofs,
    id: Id,
}

/// What a proof says (RFC 9449 section 4.2). `exp` and `nbf` are in none that libraries make, and mean what they mean in
/// any JWT.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: NumericDate,
    ath: String,
    #[serde(default, deserialize_with = "non_null")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "non_null")]
    nbf: Option<NumericDate>,
}

impl Proofs {
    /// For a server that callers reach by this URL, since a server does not know what it is called from outside: scheme,
    /// host and port, and the path that is taken off before requests arrive, if any is, such as
    /// `https://shop.example.org` or `https://example.org/shop`.
    ///
    /// # Errors
    /// [`PlaceError`] where it is no such URL.
    pub fn at(url: &str) -> Result<Self, PlaceError> {
        Self::remembering(url, limits::DPOP_SEEN)
    }

    /// As [`Proofs::at`], and remembers so many at most; more than [`limits::DPOP_SEEN`] is cut to it, and none is raised to
    /// one. One key has at most one in [`limits::DPOP_SEEN_SHARE`] of them.
    ///
    /// So that no good proof is turned away for want of room, it has to be at least the good requests of a second times the
    /// seconds of [`limits::DPOP_AGE`] and [`limits::DPOP_AHEAD`] together, 90; and [`limits::DPOP_SEEN_SHARE`] times as many
    /// as that of the one key that asks most.
    ///
    /// # Errors
    /// As [`Proofs::at`].
    pub fn remembering(url: &str, most: usize) -> Result<Self, PlaceError> {
        Ok(Self(Arc::new(Inner {
            place: Place::parse(url)?,
            seen: Seen::new(most.min(limits::DPOP_SEEN)),
        })))
    }

    /// What a request brings, by its one `DPoP` header. Its `Host` and its scheme are not looked at.
    #[must_use]
    pub fn shown<'a>(&'a self, request: &'a Parts) -> Shown<'a> {
        let mut all = request.headers.get_all(HEADER).iter();
        let text = match (all.next(), all.next()) {
            (Some(one), None) => one.to_str().ok(),
            (None, _) | (Some(_), Some(_)) => None,
        };
        Shown {
            proofs: self,
            text,
            method: request.method.as_str(),
            path: request.uri.path(),
            spent: request.extensions.get(),
        }
    }

    /// How many proofs are remembered: those that might pass again, and some that are too old to, until others come.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.0.seen.len()
    }
}

impl<'a> Shown<'a> {
    /// Checks it by RFC 9449 section 4.3 (by its numbers there), for a token with this SHA-256 that is bound to the key with
    /// this thumbprint. The signature comes late: whoever has no good token has nothing verified by a key of its own making.
    pub(super) fn check(
        &self,
        token: &Print,
        bound_to: &[u8; 32],
        now: Timestamp,
    ) -> Result<Proof<'a>, VerifyError> {
        // 1, 2: one header with one JWT; 5, 7: its algorithm, and a key that is not private.
        let text = self.text.ok_or(ProofError::NotOne)?;
        if text.len() > limits::DPOP_PROOF {
            return Err(ProofError::TooLarge.into());
        }
        let signed = SelfSigned::parse(text, &ALGORITHMS).map_err(ProofError::Jwt)?;
        // 12b: the key that the token is bound to.
        if !bool::from(signed.thumbprint().ct_eq(bound_to)) {
            return Err(VerifyError::Confirmation);
        }
        // 6, 4, 3: its signature, its type, and all that it has to say.
        let verified = signed.verify().and_then(|jws| jws.into_jwt("dpop+jwt"));
        let claims: Claims = verified.map_err(ProofError::Jwt)?.into_claims();
        self.check_request(&claims)?;
        check_times(&claims, now)?;
        // 12a: for this token.
        let hash = URL_SAFE_NO_PAD.decode(&claims.ath).unwrap_or_default();
        if !bool::from(hash.as_slice().ct_eq(token)) {
            return Err(ProofError::Token.into());
        }
        if claims.jti.is_empty() || claims.jti.len() > limits::DPOP_ID {
            return Err(ProofError::Jwt(JoseError::BadClaims("jti")).into());
        }
        let id = id(bound_to, &claims.jti);
        Ok(Proof {
            proofs: self.proofs,
            id,
            issued: claims.iat,
            is_spent: self.spent.is_some_and(|spent| spent.is(self.proofs, id)),
        })
    }

    /// 8, 9: for this method, to the letter, and this URL.
    fn check_request(&self, claims: &Claims) -> Result<(), ProofError> {
        if claims.htm != self.method {
            return Err(ProofError::Method);
        }
        if !self.proofs.0.place.is_named(&claims.htu, self.path) {
            return Err(ProofError::Url);
        }
        Ok(())
    }
}

impl Proof<'_> {
    /// Remembers it. It passes if it has not passed before (RFC 9449 section 11.1), but for the same request.
    pub(super) fn spend(self, now: Timestamp) -> Result<Spent, ProofError> {
        let Self { proofs, id, .. } = self;
        if !self.is_spent {
            proofs.0.seen.spend(id, second(self.issued), now)?;
        }
        let proofs = proofs.clone();
        Ok(Spent { proofs, id })
    }
}

impl Spent {
    /// Whether it is this proof, and was spent where these are remembered: to others it may be new.
    fn is(&self, proofs: &Proofs, id: Id) -> bool {
        Arc::ptr_eq(&self.proofs.0, &proofs.0) && self.id == id
    }
}

/// 11: made a moment ago.
fn check_times(claims: &Claims, now: Timestamp) -> Result<(), ProofError> {
    let ahead = |date: NumericDate| second(date).saturating_sub(now.as_second());
    let most = i64::try_from(limits::DPOP_AHEAD.as_secs()).unwrap_or_default();
    if seen::is_too_old(second(claims.iat), now) || claims.exp.is_some_and(|end| ahead(end) <= 0) {
        return Err(ProofError::Old);
    }
    let starts = [Some(claims.iat), claims.nbf];
    if starts
        .into_iter()
        .flatten()
        .any(|start| ahead(start) > most)
    {
        return Err(ProofError::Early);
    }
    Ok(())
}

fn second(date: NumericDate) -> i64 {
    date.timestamp().as_second()
}

/// A proof's id is its own among those of one key: what others call theirs is nothing to it.
fn id(thumbprint: &[u8; 32], jti: &str) -> Id {
    let hash = digest(&SHA256, &[thumbprint, jti.as_bytes()].concat());
    Id {
        key: first(thumbprint),
        name: first(hash.as_ref()),
    }
}

fn first(bytes: &[u8]) -> Key {
    bytes.first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { place, seen } = &*self.0;
        let mut shown = f.debug_struct("Proofs");
        shown.field("place", place).field("remembered", &seen.len());
        shown.finish()
    }
}

/// Without the proof: until it is spent, whoever reads it could.
impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Shown");
        shown
            .field("method", &self.method)
            .field("path", &self.path);
        shown.finish_non_exhaustive()
    }
}
