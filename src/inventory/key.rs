//! API keys as governed things. The secret itself is never here, only its hash.

use crate::id::{Audience, KeyPublicId, Label, Owner, Purpose, ScopeSet, Tenant};
use crate::limits;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a key is for and how far it reaches: everything its creator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    /// The team that answers for it.
    pub owner: Owner,
    /// What it is for.
    pub purpose: Purpose,
    /// Audiences it may ask for, by registered name; at least one.
    pub audiences: Vec<Audience>,
    /// Scopes it may ask for; empty means none.
    pub scopes: ScopeSet,
    /// When it lapses.
    pub expires: Timestamp,
    /// Networks it may be used from; empty means any.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// How many times it may be used; absent means without limit.
    #[serde(default)]
    pub uses: Option<u32>,
    /// The tenant it belongs to.
    #[serde(default)]
    pub tenant: Option<Tenant>,
    /// Free labels for search and policy.
    #[serde(default)]
    pub labels: BTreeMap<Label, Label>,
}

/// Where a key is in its life. Lapsing is told by [`KeySpec::expires`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Usable.
    Active,
    /// Not usable until resumed.
    Suspended,
    /// Never usable again.
    Revoked,
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Format version of this value; 1.
    pub version: u8,
    /// The public id.
    pub id: KeyPublicId,
    /// SHA-256 of the secret part.
    #[serde(with = "digest_text")]
    pub digest: [u8; 32],
    /// What it may do.
    pub spec: KeySpec,
    /// When it was created.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: KeyState,
    /// The key that replaced it, when it was rotated.
    #[serde(default)]
    pub successor: Option<KeyPublicId>,
}

impl ApiKey {
    /// When no token that was made from it can be alive. That is later than its expiry: a rotation brings that forward, never
    /// to before the rotation itself, and what was issued until then keeps its end, which is no later than that of any token.
    #[must_use]
    pub fn end_of_tokens(&self) -> Timestamp {
        let end = self.spec.expires.saturating_add(limits::LONGEST_LIFETIME);
        end.unwrap_or(Timestamp::MAX)
    }
}

/// Fixed-length digests as base64url text.
mod digest_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&URL_SAFE_NO_PAD.encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(input)?;
        let mut digest = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(&text, &mut digest) {
            Ok(32) => Ok(digest),
            _ => Err(serde::de::Error::custom(
                "not a SHA-256 digest in base64url",
            )),
        }
    }
}
