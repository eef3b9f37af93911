//! Tokens and keys: what is issued, for how long, and how it is kept.

use super::check::Check;
use super::duration;
use super::problem::KeyPath;
use crate::keys::{InvalidTiming, Timing};
use crate::limits;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `[tokens]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// What new signing keys are.
    pub algorithm: Algorithm,
    /// Lifetime where nobody asks for another.
    #[serde(deserialize_with = "duration::deserialize")]
    pub default_lifetime: Duration,
    /// Lifetime that nothing exceeds.
    #[serde(deserialize_with = "duration::deserialize")]
    pub max_lifetime: Duration,
    /// Age at which a signing key makes way for its spare.
    #[serde(deserialize_with = "duration::deserialize")]
    pub rotation_age: Duration,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Es256,
            default_lifetime: limits::DEFAULT_LIFETIME,
            max_lifetime: limits::MAX_LIFETIME,
            rotation_age: limits::ROTATE_AFTER,
        }
    }
}

/// A signature algorithm (RFC 7518 section 3.1, RFC 9864 section 2.2).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// EdDSA on Curve25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Tokens {
    pub(super) fn check(&self, check: &mut Check<'_, '_>) {
        const SECOND: Duration = Duration::from_secs(1);
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let at = KeyPath::default().key("tokens");
        check.time(
            &at.key("max_lifetime"),
            self.max_lifetime,
            SECOND..=limits::LONGEST_LIFETIME,
        );
        check.time(
            &at.key("default_lifetime"),
            self.default_lifetime,
            SECOND..=self.max_lifetime,
        );
        for (name, value) in [
            ("max_lifetime", self.max_lifetime),
            ("default_lifetime", self.default_lifetime),
        ] {
            whole_seconds(&at.key(name), value, check);
        }
        // A spare must have been published for a while, and a retired key stays until its tokens have expired.
        let least = self.max_lifetime.saturating_mul(2);
        let rotation = at.key("rotation_age");
        check.time(&rotation, self.rotation_age, least..=YEAR);
        // A lifetime of nothing is refused above already.
        if let Err(error @ InvalidTiming::RotatesTooFast) =
            Timing::new(self.rotation_age, self.max_lifetime, limits::STALENESS)
        {
            check.refuse(&rotation, error);
        }
    }
}

/// Refuses fractions of a second: `exp` and `iat` have none.
pub(super) fn whole_seconds(path: &KeyPath, value: Duration, check: &mut Check<'_, '_>) {
    if value.subsec_nanos() != 0 {
        check.refuse(path, "a lifetime is in whole seconds");
    }
}

/// `[keys]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The file with the key that seals signing keys at rest.
    pub seal_key_file: PathBuf,
    /// Life of an API key that nothing exceeds.
    pub max_key_life: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKeys {
    seal_key_file: PathBuf,
    #[serde(default = "default_max_key_life", deserialize_with = "duration::deserialize")]
    max_key_life: Duration,
}

fn default_max_key_life() -> Duration {
    limits::MAX_KEY_LIFE
}

impl Keys {
    pub(super) fn check(raw: RawKeys, check: &mut Check<'_, '_>) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        let at = KeyPath::default().key("keys").key("max_key_life");
        check.time(&at, raw.max_key_life, MINUTE..=limits::LONGEST_KEY_LIFE);
        Self {
            seal_key_file: check.resolve(&raw.seal_key_file),
            max_key_life: raw.max_key_life,
        }
    }
}
