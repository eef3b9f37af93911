//! A key's store entry: `signing/<kid>`, a versioned JSON object.

use super::{Kek, Life, Member, SigningAlgorithm, SigningKey};
use crate::clock::Random;
use crate::id::KeyId;
use crate::jose::{Jwk, VerifyingKey, from_slice};
use crate::keys::Sealed;
use crate::store::{Key, TooLarge, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What every entry's key starts with.
pub const PREFIX: &str = "signing/";

/// The entry that every change of a ring writes, so that two changes cannot both commit. No thumbprint is this short.
pub(super) const HEAD: &str = "signing/head";

/// What a ring's keys sign. One purpose a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Access tokens.
    AccessToken,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
        }
    }
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// Format version of this value; 1.
    version: u8,
    purpose: Purpose,
    algorithm: SigningAlgorithm,
    created: Timestamp,
    life: Life,
    /// How long it stays once it is retired.
    keep_seconds: u64,
    jwk: Jwk,
    /// The private key; gone as soon as it will sign no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
}

/// The entry that serialises a ring's changes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) version: u8,
    pub(super) changes: u64,
}

impl StoredKey {
    /// Seals a new key.
    pub(super) fn seal(
        key: &SigningKey,
        member: Member,
        kek: &Kek,
        random: &dyn Random,
    ) -> Result<Self, String> {
        let purpose = Purpose::AccessToken;
        let secret = key.to_pkcs8().map_err(|fault| fault.to_string())?;
        let context = context(purpose, key.id(), member.algorithm);
        let sealed = kek
            .seal(&secret, &context, random)
            .map_err(|fault| fault.to_string())?;
        Ok(Self {
            version: 1,
            purpose,
            algorithm: member.algorithm,
            created: member.created,
            life: member.life,
            keep_seconds: member.keep.as_secs(),
            jwk: key.jwk().clone(),
            sealed: Some(sealed),
        })
    }

    /// Reads an entry's value and checks that it belongs under its key.
    pub(super) fn read(id: &KeyId, value: &Value) -> Result<Self, String> {
        let stored: Self = from_slice(value.as_bytes()).map_err(|error| {
            format!(
                "signing key {id}: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if stored.version != 1 {
            return Err(format!(
                "signing key {id}: version {} is not known",
                stored.version
            ));
        }
        let thumbprint = stored.jwk.thumbprint();
        if thumbprint.as_deref() != Ok(id.as_str())
            || stored.jwk.kid.as_deref() != Some(id.as_str())
        {
            return Err(format!("signing key {id}: the public key is another one"));
        }
        Ok(stored)
    }

    /// The value to store.
    pub(super) fn value(&self) -> Result<Value, TooLarge> {
        // Serialising plain strings and numbers does not fail; if it did, nothing would be stored.
        Value::new(serde_json::to_vec(self).map_err(|_| TooLarge)?)
    }

    /// The same key in another state. A key that will not sign again loses its private half.
    pub(super) fn moved(&self, member: Member) -> Self {
        Self {
            life: member.life,
            keep_seconds: member.keep.as_secs(),
            sealed: self.sealed.clone().filter(|_| member.may_sign()),
            ..self.clone()
        }
    }

    /// The key as its ring sees it.
    pub(super) fn member(&self) -> Member {
        Member {
            created: self.created,
            algorithm: self.algorithm,
            life: self.life,
            keep: Duration::from_secs(self.keep_seconds),
        }
    }

    /// The public key as it was published.
    pub(super) fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public key, checked.
    pub(super) fn verifying(&self, id: &KeyId) -> Result<VerifyingKey, String> {
        let key = VerifyingKey::from_jwk(&self.jwk)
            .map_err(|error| format!("signing key {id}: {error}"))?;
        if key.algorithm() == self.algorithm.algorithm() {
            Ok(key)
        } else {
            Err(format!("signing key {id}: the algorithm is another one"))
        }
    }

    /// The private key, opened and checked against the public one.
    pub(super) fn open(&self, id: &KeyId, kek: &Kek) -> Result<SigningKey, String> {
        let sealed = self
            .sealed
            .as_ref()
            .ok_or_else(|| format!("signing key {id}: the private key is missing"))?;
        let secret = kek
            .open(sealed, &context(self.purpose, id, self.algorithm))
            .map_err(|fault| format!("signing key {id}: {fault}"))?;
        let key = SigningKey::from_pkcs8(self.algorithm, &secret)
            .map_err(|fault| format!("signing key {id}: {fault}"))?;
        if key.jwk() == &self.jwk {
            Ok(key)
        } else {
            Err(format!("signing key {id}: the private key is another one"))
        }
    }
}

/// The store key of a signing key.
pub(super) fn entry_key(id: &KeyId) -> Result<Key, TooLarge> {
    Key::new(&format!("{PREFIX}{id}"))
}

/// The id in an entry's key; `None` for the head.
pub(super) fn entry_id(key: &Key) -> Result<Option<KeyId>, String> {
    let foreign = || format!("{key} is not a signing key's entry");
    if key.as_str() == HEAD {
        return Ok(None);
    }
    let id = key.as_str().strip_prefix(PREFIX).ok_or_else(foreign)?;
    KeyId::parse(id).map(Some).map_err(|_| foreign())
}

/// What a sealed key is bound to: it opens nowhere else.
pub(super) fn context(purpose: Purpose, id: &KeyId, algorithm: SigningAlgorithm) -> String {
    format!(
        "cambist/signing/v1|{}|{}|{id}",
        purpose.name(),
        algorithm.algorithm().name()
    )
}
