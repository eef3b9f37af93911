//! API keys as messages.

use crate::grpc::convert::{audience, instant, invalid, open, scope_set, timestamp};
use crate::id::{Label, Owner, Purpose, Tenant};
use crate::inventory::{KeyEntry, KeySpec};
use crate::limits;
use crate::proto;
use crate::refusal::Refusal;
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// What a caller wants a key to be.
pub(super) fn spec(message: Option<proto::KeySpec>) -> Result<KeySpec, Refusal> {
    let message = message.ok_or_else(|| invalid("spec", "missing"))?;
    let proto::KeySpec {
        owner,
        purpose,
        audiences,
        scopes,
        expires_at,
        networks,
        uses,
        tenant,
        labels,
    } = message;
    let expires =
        expires_at.ok_or_else(|| invalid("expires_at", "missing: every key has an expiry"))?;
    Ok(KeySpec {
        owner: Owner::parse(open("owner", &owner)?).map_err(|error| invalid("owner", error))?,
        purpose: Purpose::parse(open("purpose", &purpose)?)
            .map_err(|error| invalid("purpose", error))?,
        audiences: list("audiences", &audiences, limits::KEY_AUDIENCES, |text| {
            audience("audiences", text)
        })?,
        scopes: scope_set(scopes)?,
        expires: instant("expires_at", &expires)?,
        networks: list("networks", &networks, limits::NETWORKS, |text| {
            text.parse::<IpNet>()
                .map_err(|error| invalid("networks", error))
        })?,
        uses: Some(uses).filter(|uses| *uses != 0),
        tenant: match tenant.as_str() {
            "" => None,
            text => Some(
                Tenant::parse(open("tenant", text)?).map_err(|error| invalid("tenant", error))?,
            ),
        },
        labels: label_map(labels)?,
    })
}

fn list<T>(
    field: &str,
    texts: &[String],
    limit: usize,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    if texts.len() > limit {
        return Err(invalid(field, format!("more than {limit}")));
    }
    texts.iter().map(|text| parse(text)).collect()
}

pub(super) fn label_map(
    labels: HashMap<String, String>,
) -> Result<BTreeMap<Label, Label>, Refusal> {
    if labels.len() > limits::LABELS {
        return Err(invalid("labels", format!("more than {}", limits::LABELS)));
    }
    let parse = |text: &String| {
        let text = open("labels", text)?;
        Label::parse(text).map_err(|error| invalid("labels", error))
    };
    labels
        .iter()
        .map(|(name, value)| Ok((parse(name)?, parse(value)?)))
        .collect()
}

/// A key as a message; never holds the secret or its hash.
pub(super) fn message(entry: &KeyEntry, uses_left: Option<u32>, now: Timestamp) -> proto::Key {
    let key = entry.key();
    let KeySpec {
        owner,
        purpose,
        audiences,
        scopes,
        expires,
        networks,
        uses,
        tenant,
        labels,
    } = &key.spec;
    proto::Key {
        id: key.id.to_string(),
        spec: Some(proto::KeySpec {
            owner: owner.to_string(),
            purpose: purpose.to_string(),
            audiences: audiences.iter().map(ToString::to_string).collect(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            expires_at: Some(timestamp(*expires)),
            networks: networks.iter().map(ToString::to_string).collect(),
            uses: uses.unwrap_or_default(),
            tenant: tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            labels: labels
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }),
        created_at: Some(timestamp(key.created)),
        state: entry.standing(now).name().to_owned(),
        successor: key.successor.map(|id| id.to_string()).unwrap_or_default(),
        uses_left: uses_left.unwrap_or_default(),
        last_used_at: entry.usage().last().map(timestamp),
        use_count: entry.usage().count(),
        revision: entry.revision(),
    }
}
