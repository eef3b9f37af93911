//! Sealing private keys at rest: AES-256-GCM under one key-encryption key. What only the broker can have written elsewhere is told
//! by keys that are derived from it.

use crate::clock::{Random, random};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key-encryption key. Its bytes are the library's alone once it is made, which holds them as long as it lives and zeroizes
/// them then.
pub struct Kek {
    key: LessSafeKey,
    /// What other keys are derived from.
    secret: hkdf::Prk,
    id: String,
}

/// A key by which the broker knows what it wrote itself: HMAC-SHA-256 (RFC 2104). Cheap to clone.
#[derive(Clone)]
pub struct MacKey(Arc<hmac::Key>);

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The id of the key-encryption key.
    pub kek: String,
    /// 96 random bits, base64url. A ring seals a key or two a month, far from where random nonces collide.
    pub nonce: String,
    /// The ciphertext with its tag, base64url.
    pub ciphertext: String,
}

/// A secret was not sealed or not opened.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealingFault {
    /// It was sealed under another key-encryption key.
    #[error("sealed under the key-encryption key {sealed}, and this one is {held}")]
    OtherKek {
        /// The id in the value.
        sealed: String,
        /// The id of the key at hand.
        held: String,
    },
    /// It was changed, or belongs elsewhere.
    #[error("the sealed value does not open: it was changed or belongs to another key")]
    NotAuthentic,
    /// No nonce could be made, or the library failed.
    #[error("the value could not be sealed")]
    Failed,
}

impl Kek {
    /// Length in bytes.
    pub const LENGTH: usize = 32;

    /// A key from its bytes.
    ///
    /// # Errors
    /// [`SealingFault::Failed`] when the library does not take it.
    pub fn new(bytes: Zeroizing<[u8; Self::LENGTH]>) -> Result<Self, SealingFault> {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"cambist key-encryption key id\0");
        context.update(bytes.as_slice());
        // 64 bits of a digest of 256 random ones: they tell keys apart and say nothing about them.
        let digest = context.finish();
        let id = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..8).unwrap_or_default());
        let key =
            UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| SealingFault::Failed)?;
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"cambist derived keys");
        Ok(Self {
            key: LessSafeKey::new(key),
            secret: salt.extract(bytes.as_slice()),
            id,
        })
    }

    /// A key for one purpose, derived from this one (HKDF, RFC 5869).
    ///
    /// # Errors
    /// [`SealingFault::Failed`] when the library does not make it.
    pub fn mac_key(&self, purpose: &str) -> Result<MacKey, SealingFault> {
        let info = [purpose.as_bytes()];
        let okm = self.secret.expand(&info, hmac::HMAC_SHA256);
        let okm = okm.map_err(|_| SealingFault::Failed)?;
        Ok(MacKey(Arc::new(okm.into())))
    }

    /// What sealed values name it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for one place, which `context` names.
    pub(super) fn seal(
        &self,
        secret: &[u8],
        context: &str,
        source: &dyn Random,
    ) -> Result<Sealed, SealingFault> {
        let nonce: [u8; NONCE_LEN] = random(source).map_err(|_| SealingFault::Failed)?;
        // The buffer is overwritten by the ciphertext, and is too large to be moved by the tag.
        let mut buffer = Vec::with_capacity(secret.len().saturating_add(AES_256_GCM.tag_len()));
        buffer.extend_from_slice(secret);
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut buffer,
            )
            .map_err(|_| SealingFault::Failed)?;
        Ok(Sealed {
            kek: self.id.clone(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            ciphertext: URL_SAFE_NO_PAD.encode(&buffer),
        })
    }

    /// Sees that a secret was sealed under this key, without opening it.
    ///
    /// # Errors
    /// [`SealingFault::OtherKek`].
    pub(super) fn has_sealed(&self, sealed: &Sealed) -> Result<(), SealingFault> {
        if sealed.kek != self.id {
            return Err(SealingFault::OtherKek {
                sealed: sealed.kek.clone(),
                held: self.id.clone(),
            });
        }
        Ok(())
    }

    /// Opens what was sealed for the same place.
    pub(super) fn open(
        &self,
        sealed: &Sealed,
        context: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SealingFault> {
        self.has_sealed(sealed)?;
        let decode = |text| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| SealingFault::NotAuthentic)
        };
        let nonce = Nonce::try_assume_unique_for_key(&decode(&sealed.nonce)?)
            .map_err(|_| SealingFault::NotAuthentic)?;
        let mut buffer = Zeroizing::new(decode(&sealed.ciphertext)?);
        let length = self
            .key
            .open_in_place(nonce, Aad::from(context), &mut buffer)
            .map_err(|_| SealingFault::NotAuthentic)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl MacKey {
    /// The tag of a text, base64url.
    #[must_use]
    pub fn tag(&self, text: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, text))
    }

    /// Whether `tag` is the text's, in constant time.
    #[must_use]
    pub fn is_tag(&self, tag: &str, text: &[u8]) -> bool {
        let tag = URL_SAFE_NO_PAD.decode(tag);
        tag.is_ok_and(|tag| hmac::verify(&self.0, text, &tag).is_ok())
    }
}

#[cfg(test)]
impl MacKey {
    /// One that tests have in common.
    pub(crate) fn testing() -> Self {
        let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
        kek.mac_key("testing").unwrap()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kek")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
