//! Audiences as messages.

use super::convert::{self, duration, invalid, open, scope_set};
use crate::id::{Owner, Tenant};
use crate::inventory::{AudienceEntry, AudienceSpec};
use crate::limits;
use crate::proto;
use crate::refusal::Refusal;

/// What a caller wants registered. `from_configuration` and `revision` are ours to say, not the caller's.
pub(super) fn spec(message: proto::Audience) -> Result<AudienceSpec, Refusal> {
    let proto::Audience {
        name,
        aliases,
        owner,
        servers,
        scopes,
        bound,
        max_lifetime,
        tenant,
        from_configuration: _,
        revision: _,
    } = message;
    if aliases.len() > limits::AUDIENCE_LINKS {
        return Err(invalid("aliases", "too many"));
    }
    let alias = |text: &String| convert::audience("aliases", text);
    let aliases = aliases.iter().map(alias).collect::<Result<_, _>>()?;
    for server in &servers {
        open("servers", server)?;
    }
    let seconds = match max_lifetime {
        None => None,
        Some(lifetime) => {
            let seconds = duration("max_lifetime", &lifetime)?.as_secs();
            Some(u32::try_from(seconds).map_err(|_| invalid("max_lifetime", "too long"))?)
        }
    };
    Ok(AudienceSpec {
        name: convert::audience("name", &name)?,
        aliases,
        owner: Owner::parse(open("owner", &owner)?).map_err(|error| invalid("owner", error))?,
        servers,
        scopes: scope_set(scopes)?,
        bound,
        max_lifetime_seconds: seconds,
        tenant: match tenant.as_str() {
            "" => None,
            tenant => Some(
                Tenant::parse(open("tenant", tenant)?).map_err(|error| invalid("tenant", error))?,
            ),
        },
    })
}

/// A registered audience as a message.
pub(super) fn message(entry: &AudienceEntry) -> proto::Audience {
    let AudienceSpec {
        name,
        aliases,
        owner,
        servers,
        scopes,
        bound,
        max_lifetime_seconds,
        tenant,
    } = &entry.spec;
    proto::Audience {
        name: name.to_string(),
        aliases: aliases.iter().map(ToString::to_string).collect(),
        owner: owner.to_string(),
        servers: servers.clone(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        bound: *bound,
        max_lifetime: max_lifetime_seconds.map(|seconds| prost_types::Duration {
            seconds: seconds.into(),
            nanos: 0,
        }),
        tenant: tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
        from_configuration: entry.revision.is_none(),
        revision: entry.revision.unwrap_or_default(),
    }
}
