//! Whose exchange is explained, where nobody presents a credential.

use super::ceiling::Settings;
use super::grant::Ask;
use super::input::{AudienceFacts, Ceilings, Context, Input, Principal, Wanted};
use crate::authn::{CredentialKind, Reach};
use crate::id::{CredentialId, Owner, SpiffeId, Tenant};
use crate::inventory::{ApiKey, AudienceSpec};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// A credential that is talked about, not presented: enough to explain, and never to grant.
#[derive(Clone, Copy, Debug)]
pub enum Candidate<'a> {
    /// A registered API key.
    Key {
        /// The key.
        key: &'a ApiKey,
        /// The `sub` that its tokens have.
        sub: &'a str,
        /// Whether to suppose that a client certificate comes with it, to bind the token to.
        with_certificate: bool,
    },
    /// A workload with a certificate.
    Workload {
        /// Its SPIFFE ID.
        id: &'a SpiffeId,
        /// The team that answers for it, where one is registered.
        owner: Option<&'a Owner>,
        /// Its tenant.
        tenant: Option<&'a Tenant>,
    },
}

impl Input {
    /// What a decision would depend on if the candidate asked.
    #[must_use]
    pub fn supposed(
        candidate: &Candidate<'_>,
        ask: &Ask,
        audience: &AudienceSpec,
        source: Option<IpAddr>,
        settings: &Settings,
    ) -> Self {
        let (principal, audiences, scopes, not_after, proves_key) = match candidate {
            Candidate::Key {
                key,
                sub,
                with_certificate,
            } => (
                Principal {
                    sub: Arc::from(*sub),
                    credential: CredentialId::ApiKey(key.id),
                    kind: CredentialKind::ApiKey,
                    owner: Some(key.spec.owner.clone()),
                    tenant: key.spec.tenant.clone(),
                    labels: Arc::new(key.spec.labels.clone()),
                },
                Reach::Listed(key.spec.audiences.as_slice().into()),
                Reach::Listed(key.spec.scopes.clone()),
                key.spec.expires,
                *with_certificate,
            ),
            Candidate::Workload { id, owner, tenant } => (
                Principal {
                    sub: Arc::from(id.as_str()),
                    // Which certificate it would be decides nothing.
                    credential: CredentialId::Certificate([0; 32]),
                    kind: CredentialKind::Certificate,
                    owner: owner.cloned(),
                    tenant: tenant.cloned(),
                    labels: Arc::default(),
                },
                Reach::Policy,
                Reach::Policy,
                Timestamp::MAX,
                true,
            ),
        };
        Self {
            principal,
            audience: AudienceFacts::of(audience),
            ask: Wanted::of(ask),
            ceilings: Ceilings {
                exchange: audiences.clone(),
                audiences,
                scopes,
                not_after,
                must_bind: false,
                default_lifetime: settings.default_lifetime.as_secs(),
                max_lifetime: settings.max_lifetime.as_secs(),
            },
            context: Context {
                source,
                proves_key,
                actors: Vec::new(),
            },
        }
    }
}
