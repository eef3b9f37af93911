//! What configuration governs: audiences, trust domains, administrators.

use super::check::Check;
use super::duration;
use super::issuance::whole_seconds;
use super::problem::KeyPath;
use crate::id::{Audience, Owner, ScopeSet, SpiffeId, Tenant, TrustDomain};
use crate::inventory::{AudienceSpec, InvalidAudience, check_alone};
use crate::limits;
use serde::Deserialize;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudience {
    name: Audience,
    #[serde(default)]
    aliases: Vec<Audience>,
    owner: Owner,
    #[serde(default)]
    servers: Vec<String>,
    #[serde(default)]
    scopes: ScopeSet,
    #[serde(default)]
    bound: bool,
    #[serde(default, deserialize_with = "duration::deserialize_some")]
    max_lifetime: Option<Duration>,
    tenant: Option<Tenant>,
}

/// Checks all audiences against each other and the global ceiling.
pub(super) fn audiences(
    raw: Vec<Spanned<RawAudience>>,
    ceiling: Duration,
    check: &mut Check<'_, '_>,
) -> Vec<AudienceSpec> {
    let mut names = HashSet::new();
    let mut audiences = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let audience = audience(raw.into_inner(), &at, ceiling, check);
        let own = std::iter::once(("name", &audience.name));
        for (key, name) in own.chain(audience.aliases.iter().map(|alias| ("aliases", alias))) {
            if !names.insert(name.clone()) {
                check.refuse(
                    &at.key(key),
                    format_args!("`{name}` names an audience already"),
                );
            }
        }
        audiences.push(audience);
    }
    audiences
}

fn audience(
    raw: RawAudience,
    at: &KeyPath,
    ceiling: Duration,
    check: &mut Check<'_, '_>,
) -> AudienceSpec {
    let RawAudience {
        name,
        aliases,
        owner,
        servers,
        scopes,
        bound,
        max_lifetime,
        tenant,
    } = raw;
    if let Some(lifetime) = max_lifetime {
        let path = at.key("max_lifetime");
        check.time(&path, lifetime, Duration::from_secs(1)..=ceiling);
        whole_seconds(&path, lifetime, check);
    }
    let lifetime_seconds = |lifetime: Duration| u32::try_from(lifetime.as_secs());
    let audience = AudienceSpec {
        name,
        aliases,
        owner,
        servers,
        scopes,
        bound,
        // Zero is refused above already, where the file says so.
        max_lifetime_seconds: max_lifetime
            .map(|lifetime| lifetime_seconds(lifetime).unwrap_or(u32::MAX).max(1)),
        tenant,
    };
    if let Err(error) = check_alone(&audience) {
        let crowded = audience.aliases.len() > limits::AUDIENCE_LINKS;
        let key = match &error {
            InvalidAudience::TooManyLinks(_) if crowded => "aliases",
            InvalidAudience::TooManyLinks(_) | InvalidAudience::Server(..) => "servers",
            InvalidAudience::NoLifetime(_) => "max_lifetime",
            InvalidAudience::Ambiguous(_) | InvalidAudience::TooLarge(_) => "name",
        };
        check.refuse(&at.key(key), error);
    }
    audience
}

/// One `[[trust_domain]]`: whose workload certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomainFiles {
    /// The trust domain.
    pub name: TrustDomain,
    /// Its own roots, in PEM.
    pub bundle: PathBuf,
    /// Its certificate revocation lists.
    pub crls: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrustDomain {
    name: TrustDomain,
    bundle: PathBuf,
    #[serde(default)]
    crls: Vec<PathBuf>,
}

/// Checks all trust domains.
pub(super) fn trust_domains(
    raw: Vec<Spanned<RawTrustDomain>>,
    check: &mut Check<'_, '_>,
) -> Vec<TrustDomainFiles> {
    let mut names = HashSet::new();
    let mut domains = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let RawTrustDomain { name, bundle, crls } = raw.into_inner();
        if !names.insert(name.clone()) {
            // Merged bundles would let one domain's authority speak for another.
            check.refuse(
                &at.key("name"),
                format_args!("`{name}` has a section already"),
            );
        }
        domains.push(TrustDomainFiles {
            name,
            bundle: check.resolve(&bundle),
            crls: crls.iter().map(|crl| check.resolve(crl)).collect(),
        });
    }
    domains
}

impl Check<'_, '_> {
    /// That certificates of `id` can be believed.
    pub(super) fn known_domain(&mut self, at: &KeyPath, id: &SpiffeId, all: &[TrustDomainFiles]) {
        let domain = id.trust_domain();
        let known = all.iter().any(|known| known.name == domain);
        if !known && !self.is_set_aside(&KeyPath::default().key("trust_domain")) {
            let message = format!("`{id}` is in `{domain}`, which has no [[trust_domain]]");
            self.refuse(at, message);
        }
    }
}

/// `[admin]`: who may administer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Users who may, over the Unix socket.
    pub uids: Vec<u32>,
    /// Workloads that may, by certificate.
    pub spiffe_ids: Vec<SpiffeId>,
    /// Workloads that may ask for explanations and nothing else.
    pub explain: Vec<SpiffeId>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAdmin {
    uids: Option<Vec<u32>>,
    spiffe_ids: Vec<SpiffeId>,
    explain: Vec<SpiffeId>,
}

impl Admin {
    pub(super) fn check(
        raw: RawAdmin,
        domains: &[TrustDomainFiles],
        check: &mut Check<'_, '_>,
    ) -> Self {
        let at = KeyPath::default().key("admin");
        for (key, ids) in [("spiffe_ids", &raw.spiffe_ids), ("explain", &raw.explain)] {
            for id in ids {
                check.known_domain(&at.key(key), id, domains);
            }
        }
        Self {
            uids: raw
                .uids
                .unwrap_or_else(|| vec![rustix::process::geteuid().as_raw()]),
            spiffe_ids: raw.spiffe_ids,
            explain: raw.explain,
        }
    }
}
