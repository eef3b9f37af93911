//! A key as people and programs see it.

use crate::cli::time::{from_proto, relative};
use crate::proto::{Key, KeySpec};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(in crate::cli) struct View {
    pub(super) id: String,
    state: String,
    owner: String,
    purpose: String,
    audiences: Vec<String>,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    networks: Vec<String>,
    /// Absent: without limit.
    uses: Option<u32>,
    uses_left: Option<u32>,
    tenant: Option<String>,
    labels: BTreeMap<String, String>,
    created_at: Option<Timestamp>,
    successor: Option<String>,
    last_used_at: Option<Timestamp>,
    use_count: u64,
    revision: u64,
}

impl From<Key> for View {
    fn from(key: Key) -> Self {
        let Key {
            id,
            spec,
            created_at,
            state,
            successor,
            uses_left,
            last_used_at,
            use_count,
            revision,
        } = key;
        let KeySpec {
            owner,
            purpose,
            audiences,
            scopes,
            expires_at,
            networks,
            uses,
            tenant,
            labels,
        } = spec.unwrap_or_default();
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let limited = uses > 0;
        Self {
            id,
            state,
            owner,
            purpose,
            audiences,
            scopes,
            expires_at: from_proto(expires_at),
            networks,
            uses: limited.then_some(uses),
            uses_left: limited.then_some(uses_left),
            tenant: some(tenant),
            labels: labels.into_iter().collect(),
            created_at: from_proto(created_at),
            successor: some(successor),
            last_used_at: from_proto(last_used_at),
            use_count,
            revision,
        }
    }
}

impl View {
    pub(super) const HEADER: [&'static str; 7] = [
        "ID",
        "STATE",
        "OWNER",
        "AUDIENCES",
        "EXPIRES",
        "LAST USED",
        "PURPOSE",
    ];

    pub(super) fn row(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.clone(),
            self.owner.clone(),
            self.audiences.join(" "),
            relative(self.expires_at, now),
            relative(self.last_used_at, now),
            self.purpose.clone(),
        ]
    }

    pub(in crate::cli) fn fields(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let uses = match (self.uses, self.uses_left) {
            (Some(uses), Some(left)) => format!("{left} of {uses} left"),
            _ => "without limit".to_owned(),
        };
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        vec![
            ("id", self.id.clone()),
            ("state", self.state.clone()),
            ("owner", self.owner.clone()),
            ("purpose", self.purpose.clone()),
            ("audiences", self.audiences.join(" ")),
            ("scopes", none_or(&self.scopes, "none")),
            ("networks", none_or(&self.networks, "any")),
            ("uses", uses),
            ("expires", relative(self.expires_at, now)),
            ("created", relative(self.created_at, now)),
            ("last used", relative(self.last_used_at, now)),
            ("used", format!("{} times", self.use_count)),
            ("tenant", self.tenant.clone().unwrap_or_default()),
            ("labels", labels.join(" ")),
            ("successor", self.successor.clone().unwrap_or_default()),
            ("revision", self.revision.to_string()),
        ]
    }
}

fn none_or(items: &[String], none: &str) -> String {
    if items.is_empty() {
        none.to_owned()
    } else {
        items.join(" ")
    }
}
