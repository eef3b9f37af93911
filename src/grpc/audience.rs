//! Audiences as messages.

use super::convert::{duration, invalid, scope_set};
use crate::id::{Audience, Owner, Tenant};
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
    let aliases: Result<_, _> = aliases.iter().map(|alias| Audience::parse(alias)).collect();
    let seconds = match max_lifetime {
        None => None,
        Some(lifetime) => {
            let seconds = duration("max_lifetime", &lifetime)?.as_secs();
            Some(u32::try_from(seconds).map_err(|_| invalid("max_lifetime", "too long"))?)
        }
    };
    Ok(AudienceSpec {
        name: Audience::parse(&name).map_err(|error| invalid("name", error))?,
        aliases: aliases.map_err(|error| invalid("aliases", error))?,
        owner: Owner::parse(&owner).map_err(|error| invalid("owner", error))?,
        servers,
        scopes: scope_set(scopes)?,
        bound,
        max_lifetime_seconds: seconds,
        tenant: match tenant.as_str() {
            "" => None,
            tenant => Some(Tenant::parse(tenant).map_err(|error| invalid("tenant", error))?),
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
