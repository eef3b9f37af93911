//! One line of a summary of refusals.

use crate::refusal::Code;
use ipnet::IpNet;
use serde::{Serialize, Serializer};

/// Refusals with the same reason from the same network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(in crate::audit) struct Group {
    /// The reason.
    #[serde(serialize_with = "code")]
    pub(in crate::audit) code: Code,
    /// The source: a /24 or /48; none for local callers, and for networks past the table's bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::audit) network: Option<IpNet>,
    /// How many.
    pub(in crate::audit) count: u64,
}

// The signature is serde's.
fn code<S: Serializer>(code: &Code, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(code.code())
}
