//! Signing keys as messages.

use super::InventoryService;
use crate::grpc::convert::{invalid, timestamp};
use crate::id::KeyId;
use crate::keys::{Life, Member};
use crate::proto;
use crate::refusal::Refusal;
use jiff::Timestamp;

/// The name of the state of a key that is no longer trusted, since whenever that is.
const COMPROMISED: &str = Life::Compromised {
    since: Timestamp::UNIX_EPOCH,
}
.name();

impl InventoryService {
    /// The keys as they are now. What is in force of them counts, and not what is stored.
    pub(super) fn ring(&self) -> Vec<proto::SigningKey> {
        let keys = self.signing.keys();
        let keys = keys.iter().map(|key| {
            let mut message = message(key);
            if self.revocations.is_undurable_signing(&key.0) {
                message.state = COMPROMISED.to_owned();
            }
            message
        });
        keys.collect()
    }
}

fn message((id, member): &(KeyId, Member)) -> proto::SigningKey {
    proto::SigningKey {
        kid: id.to_string(),
        algorithm: member.algorithm.algorithm().name().to_owned(),
        state: member.life.name().to_owned(),
        created_at: Some(timestamp(member.created)),
        activated_at: match member.life {
            Life::Active { since } => Some(timestamp(since)),
            Life::Prepared | Life::Retired { .. } | Life::Compromised { .. } => None,
        },
        retired_at: match member.life {
            Life::Retired { since } | Life::Compromised { since } => Some(timestamp(since)),
            Life::Prepared | Life::Active { .. } => None,
        },
    }
}

/// The key that a caller no longer trusts, if any.
pub(super) fn compromised(text: &str) -> Result<Option<KeyId>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    KeyId::parse(text)
        .map(Some)
        .map_err(|error| invalid("compromised", error))
}
