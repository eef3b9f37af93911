//! An audience as people and programs see it.

use crate::cli::time::length_from_proto;
use crate::config::duration;
use crate::proto::Audience;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct View {
    name: String,
    aliases: Vec<String>,
    owner: String,
    servers: Vec<String>,
    scopes: Vec<String>,
    bound: bool,
    /// Absent: the broker's own ceiling.
    max_lifetime_seconds: Option<u64>,
    tenant: Option<String>,
    from_configuration: bool,
    revision: u64,
}

impl From<Audience> for View {
    fn from(audience: Audience) -> Self {
        let Audience {
            name,
            aliases,
            owner,
            servers,
            scopes,
            bound,
            max_lifetime,
            tenant,
            from_configuration,
            revision,
        } = audience;
        Self {
            name,
            aliases,
            owner,
            servers,
            scopes,
            bound,
            max_lifetime_seconds: length_from_proto(max_lifetime),
            tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
            from_configuration,
            revision,
        }
    }
}

impl View {
    pub(super) const HEADER: [&'static str; 6] =
        ["NAME", "OWNER", "SCOPES", "BOUND", "CEILING", "FROM"];

    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.owner.clone(),
            self.scopes.join(" "),
            self.bound.to_string(),
            self.ceiling(),
            self.origin().to_owned(),
        ]
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("aliases", self.aliases.join(" ")),
            ("owner", self.owner.clone()),
            ("served by", self.servers.join(" ")),
            ("scopes", self.scopes.join(" ")),
            ("bound", self.bound.to_string()),
            ("ceiling", self.ceiling()),
            ("tenant", self.tenant.clone().unwrap_or_default()),
            ("from", self.origin().to_owned()),
            ("revision", self.revision.to_string()),
        ]
    }

    fn ceiling(&self) -> String {
        let seconds = self.max_lifetime_seconds;
        seconds.map_or_else(String::new, |seconds| {
            duration::display(Duration::from_secs(seconds))
        })
    }

    fn origin(&self) -> &'static str {
        if self.from_configuration {
            "configuration"
        } else {
            "api"
        }
    }
}
