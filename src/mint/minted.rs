//! A token on its way: written, then signed, and not on the record yet.

use crate::id::{KeyId, TokenId};
use crate::keys::SigningKey;
use crate::marker::{Fence, Part};
use crate::policy::Grant;
use crate::refusal::{Denial, Fault};
use crate::secret::Secret;
use jiff::Timestamp;
use std::sync::Arc;

/// A token whose claims are written and that nobody has signed.
#[derive(Debug)]
pub struct Draft {
    pub(super) grant: Grant,
    pub(super) text: Text,
}

/// What is written of a draft.
#[derive(Debug)]
pub(super) struct Text {
    /// Header and claims, with room for the signature.
    pub(super) signing_input: String,
    pub(super) id: TokenId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) key: Arc<SigningKey>,
    /// The parts that its issuer is of what a marker can cover.
    pub(super) issuer: [Part; 2],
    /// The parts that it is as a token of its credentials.
    pub(super) of: Vec<Part>,
}

/// Why there is no draft, and of what.
#[derive(Debug)]
pub struct Unminted {
    /// Why.
    pub denial: Denial,
    /// What was granted.
    pub grant: Grant,
}

impl Draft {
    /// What it was granted by.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`Fault::Internal`] when the key fails.
    pub fn sign(self) -> Result<Minted, Denial> {
        let Self { grant, text } = self;
        let mut fence = grant.verified().fence().clone();
        fence.push(text.key.part());
        fence.extend(text.issuer);
        fence.extend(text.of);
        let token = text
            .key
            .sign_jws(text.signing_input)
            .map_err(|fault| Denial::failed(Fault::Internal, fault.to_string()))?;
        Ok(Minted {
            grant,
            token: Secret::new(token),
            id: text.id,
            issued_at: text.issued_at,
            expires_at: text.expires_at,
            key: text.key.id().clone(),
            fence: Arc::new(fence),
        })
    }
}

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
    /// What markers can cover of it.
    pub(super) fence: Arc<Fence>,
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

    /// What markers are checked against once more right before its record is written.
    #[must_use]
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
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
use crate::marker::Thing;

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
        let mut fence = grant.verified().fence().clone();
        fence.push(Part::absolute(Thing::SigningKey(&key)));
        fence.push(Part::dated(
            Thing::Issuer("https://issuer.example"),
            issued_at,
        ));
        Self {
            grant,
            fence: Arc::new(fence),
            token: Secret::new(token.to_owned()),
            id,
            issued_at,
            expires_at: issued_at + std::time::Duration::from_secs(900),
            key,
        }
    }
}
