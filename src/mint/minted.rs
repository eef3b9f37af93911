//! A signed token that is not on the record yet.

use crate::id::{KeyId, TokenId};
use crate::policy::Grant;
use crate::secret::Secret;
use jiff::Timestamp;

/// A token that was signed but may not leave: only [`crate::audit`] can turn it into an
/// [`crate::audit::Issued`].
///
/// ```compile_fail,E0451
/// let forged = cambist::mint::Minted { token: cambist::secret::Secret::new(String::new()), ..todo!() };
/// ```
#[derive(Debug)]
pub struct Minted {
    pub(super) grant: Grant,
    pub(super) token: Secret,
    pub(super) id: TokenId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) key: KeyId,
}

impl Minted {
    /// What it was granted by.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The token's `jti`.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// `iat`, in whole seconds.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `exp`, in whole seconds.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// The token's text, for its digest in the record and for the audit stage to release.
    pub(crate) fn token(&self) -> &Secret {
        &self.token
    }

    /// Takes the token out, which only the audit stage does, after the record is durable.
    pub(crate) fn into_token(self) -> Secret {
        self.token
    }
}

#[cfg(test)]
impl Minted {
    /// A token of fifteen minutes that nobody signed, for the tests of later stages.
    pub(crate) fn for_test(
        grant: Grant,
        token: &str,
        id: TokenId,
        issued_at: Timestamp,
        key: KeyId,
    ) -> Self {
        Self {
            grant,
            token: Secret::new(token.to_owned()),
            id,
            issued_at,
            expires_at: issued_at + std::time::Duration::from_secs(900),
            key,
        }
    }
}
