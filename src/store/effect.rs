//! Lasting changes as they stand in the log, so that they can be done again.

use super::{Key, Op, OutboxEntry, Revision, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A change that must never be lost. In JSON: `{"put":KEY,"value":BASE64}` or `{"delete":KEY}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect(pub Op);

/// The `store` member of a log record: at which revision the change was committed, and its effects.
///
/// ```
/// # use cambist::store::StoreMember;
/// let text = r#"{"rev":"000102030405060708090a0b0c0d0e0f.7","effect":[{"put":"revoked/x","value":"AQ=="},{"delete":"y"}]}"#;
/// let member: StoreMember = serde_json::from_str(text)?;
/// assert_eq!(serde_json::to_string(&member)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreMember {
    /// The revision.
    #[serde(with = "revision_text")]
    pub rev: Revision,
    /// The lasting changes; empty for most records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effect: Vec<Effect>,
}

impl From<&OutboxEntry> for StoreMember {
    fn from(entry: &OutboxEntry) -> Self {
        Self {
            rev: entry.revision,
            effect: entry.effects.clone(),
        }
    }
}

impl Effect {
    /// An upper bound of its size in JSON, in bytes.
    #[must_use]
    pub fn encoded_size(op: &Op) -> usize {
        const FRAME: usize = r#"{"put":"","value":""},"#.len();
        // RFC 8259 section 7: a control character takes six bytes, a quote or backslash two.
        let key = op.key().as_str().bytes().fold(0_usize, |sum, byte| {
            sum.saturating_add(match byte {
                0..0x20 => 6,
                b'"' | b'\\' => 2,
                _ => 1,
            })
        });
        let value = match op {
            Op::Put(_, value) => value.as_bytes().len().div_ceil(3).saturating_mul(4),
            Op::Delete(_) => 0,
        };
        FRAME.saturating_add(key).saturating_add(value)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Wire {
    Put { put: String, value: String },
    Delete { delete: String },
}

impl Serialize for Effect {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Op::Put(key, value) => Wire::Put {
                put: key.as_str().to_owned(),
                value: STANDARD.encode(value.as_bytes()),
            },
            Op::Delete(key) => Wire::Delete {
                delete: key.as_str().to_owned(),
            },
        }
        .serialize(out)
    }
}

impl<'de> Deserialize<'de> for Effect {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Self(match Wire::deserialize(input)? {
            Wire::Put { put, value } => {
                let bytes = STANDARD.decode(value).map_err(de::Error::custom)?;
                Op::Put(
                    Key::new(&put).map_err(de::Error::custom)?,
                    Value::new(bytes).map_err(de::Error::custom)?,
                )
            }
            Wire::Delete { delete } => Op::Delete(Key::new(&delete).map_err(de::Error::custom)?),
        }))
    }
}

/// A revision as its text.
mod revision_text {
    use super::Revision;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(revision: &Revision, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(revision)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Revision, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}
