//! A set of public keys (RFC 7517 section 5).

use super::key::Admission;
use super::{JoseError, Jwk, VerifyingKey, from_slice};
use crate::id::KeyId;
use crate::limits;
use serde::Deserialize;
use std::collections::HashMap;

/// Public keys by id, each fit to verify.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: HashMap<KeyId, VerifyingKey>,
    refused: Vec<JoseError>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// Keys of unknown kinds and for other uses are ignored (RFC 7517 section 5); keys of a known kind that are weak or
    /// malformed are left out and listed by [`KeySet::refused`].
    ///
    /// # Errors
    /// [`JoseError::TooLarge`] over [`limits::KEY_SET_BYTES`]; [`JoseError::KeySetRefused`] when it is not a JWK set,
    /// has more than [`limits::KEY_SET`] keys, two usable keys of one `kid`, or no usable key.
    pub fn parse(text: &[u8]) -> Result<Self, JoseError> {
        if text.len() > limits::KEY_SET_BYTES {
            return Err(JoseError::TooLarge);
        }
        let document: Document =
            from_slice(text).map_err(|_| JoseError::KeySetRefused("not a JWK set"))?;
        if document.keys.len() > limits::KEY_SET {
            return Err(JoseError::KeySetRefused("too many keys"));
        }
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for value in document.keys {
            // A key whose members have other types than ours is of a kind that is not known.
            let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
                continue;
            };
            match VerifyingKey::admit(&jwk) {
                Ok(Admission::Admitted(key)) => keys.push(key),
                Ok(Admission::Ignored) => {}
                Err(error) => refused.push(error),
            }
        }
        let mut set = Self::new(keys)?;
        if set.keys.is_empty() {
            return Err(JoseError::KeySetRefused("no usable key"));
        }
        set.refused = refused;
        Ok(set)
    }

    /// A set of keys.
    ///
    /// # Errors
    /// [`JoseError::KeySetRefused`] when two have one id.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, JoseError> {
        let mut set = Self::default();
        for key in keys {
            if set.keys.insert(key.id().clone(), key).is_some() {
                return Err(JoseError::KeySetRefused("two keys have one kid"));
            }
        }
        Ok(set)
    }

    /// The key of this id; without one, the only key of a set of one.
    ///
    /// # Errors
    /// [`JoseError::UnknownKey`].
    pub fn find(&self, id: Option<&KeyId>) -> Result<&VerifyingKey, JoseError> {
        match id {
            Some(id) => self.keys.get(id),
            None if self.keys.len() == 1 => self.keys.values().next(),
            None => None,
        }
        .ok_or(JoseError::UnknownKey)
    }

    /// Whether both hold the same keys.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Why keys were left out.
    #[must_use]
    pub fn refused(&self) -> &[JoseError] {
        &self.refused
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
