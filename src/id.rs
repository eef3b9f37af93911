//! Identifiers, parsed once at the edge: a value of one of these types is well-formed and bounded.

mod credential;
mod name;
mod scope;
mod spiffe;

pub use credential::{CredentialId, InvalidCredentialId, KeyId, KeyPublicId, TokenId};
pub use name::{Audience, IdempotencyKey, InvalidName, Label, Owner, Purpose, Reporter, Tenant};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use spiffe::{InvalidSpiffeId, SpiffeId, TrustDomain};

/// Implements text conversions, serde and printing for a newtype over `Arc<str>` with `fn parse`.
macro_rules! text_newtype {
    ($name:ident, $error:ty) => {
        impl $name {
            /// The text as it was parsed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
use text_newtype;
