//! API keys.
//!
//! A key whose text passes its checksum is refused alike whether it is unknown, wrong, expired,
//! suspended, revoked or off its network (invariant 4): every check runs, in one order, and one
//! answer comes out.

use super::steps::step;
use super::{
    Authn, Began, Ceiling, CredentialKind, Lineage, MadeFrom, Peer, Reach, Rejected, Uses, Verified,
};
use crate::id::CredentialId;
use crate::inventory::{KeyEntry, KeyState, Standing};
use crate::marker::{Kind, MarkerId, Part, Second};
use crate::refusal::{Code, Refusal};
use crate::secret::{Secret, api_key};
use ipnet::IpNet;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// What is checked of a key.
struct Facts<'a> {
    digest: &'a [u8; 32],
    state: KeyState,
    expires: Timestamp,
    networks: &'a [IpNet],
    parts: &'a [Part],
}

impl<'a> From<&'a KeyEntry> for Facts<'a> {
    fn from(entry: &'a KeyEntry) -> Self {
        let key = entry.key();
        Self {
            digest: &key.digest,
            state: key.state,
            expires: key.spec.expires,
            networks: &key.spec.networks,
            parts: entry.parts(),
        }
    }
}

/// What an unknown id is checked against, so that it takes the steps that a known one does.
const NOBODY: Facts<'static> = Facts {
    digest: &[0; 32],
    state: KeyState::Active,
    expires: Timestamp::MAX,
    networks: &[],
    parts: &NO_PARTS,
};

/// As many as a key has; no marker has these ids.
const NO_PARTS: [Part; KeyEntry::PARTS] =
    [Part::known(MarkerId::new([0; 16]), Kind::Credential, Second::NEVER); KeyEntry::PARTS];

pub(super) fn verify(
    authn: &Authn,
    text: &Secret,
    peer: &Peer,
    now: Timestamp,
) -> Result<Verified, Rejected> {
    let entry = find(authn, text, peer, now, Checks::passed)?;
    entry.usage().note(now);
    Ok(verified(&entry, peer))
}

/// A key in the hand of who gives it up, which is no use of it and only takes away: whoever has its secret may, from
/// anywhere, whatever the key is good for. Takes the steps of any other look at a key.
pub(super) fn recognise(
    authn: &Authn,
    text: &Secret,
    peer: &Peer,
    now: Timestamp,
) -> Result<Arc<KeyEntry>, Rejected> {
    find(authn, text, peer, now, |_| true)
}

fn find(
    authn: &Authn,
    text: &Secret,
    peer: &Peer,
    now: Timestamp,
    is_accepted: fn(&Checks) -> bool,
) -> Result<Arc<KeyEntry>, Rejected> {
    let malformed = |_| Refusal::new(Code::CredentialMalformed, "not of an API key's form");
    let parsed = api_key::parse(text.expose())
        .map_err(malformed)
        .map_err(Rejected::anonymous)?;
    let credential = CredentialId::ApiKey(parsed.id);
    step("find");
    let entry = authn.keys.find(&parsed.id);

    let facts = entry.as_deref().map_or(NOBODY, Facts::from);
    step("compare");
    let is_right = bool::from(facts.digest.ct_eq(&parsed.digest)) & entry.is_some();
    let checks = Checks::of(authn, &facts, peer, now);
    match entry {
        Some(entry) if is_right & is_accepted(&checks) => Ok(entry),
        entry => {
            let cause = match entry {
                None => "no key of this id",
                Some(_) if !is_right => "the secret is wrong",
                Some(_) => checks.cause(),
            };
            Err(Rejected {
                refusal: Refusal::new(Code::CredentialRefused, cause),
                named: Some(credential),
                is_registered: entry.is_some(),
                key: entry,
                made_from: MadeFrom::default(),
            })
        }
    }
}

/// Whether a key that is presented rightly would be accepted.
pub(super) fn admissible(
    authn: &Authn,
    entry: &KeyEntry,
    peer: &Peer,
    now: Timestamp,
) -> Result<(), Refusal> {
    let checks = Checks::of(authn, &Facts::from(entry), peer, now);
    if checks.passed() {
        Ok(())
    } else {
        Err(Refusal::new(Code::CredentialRefused, checks.cause()))
    }
}

/// Everything but the secret. All of it is looked at, whatever comes out first.
struct Checks {
    standing: Standing,
    is_unmarked: bool,
    is_at_home: bool,
}

impl Checks {
    fn of(authn: &Authn, facts: &Facts<'_>, peer: &Peer, now: Timestamp) -> Self {
        Self {
            standing: standing(facts, now),
            is_unmarked: !is_marked(authn, facts.parts),
            is_at_home: is_in_network(facts.networks, peer.address),
        }
    }

    fn passed(&self) -> bool {
        (self.standing == Standing::Active) & self.is_unmarked & self.is_at_home
    }

    /// For records and for those who may ask; never for the caller.
    fn cause(&self) -> &'static str {
        match self.standing {
            Standing::Revoked => "the key is revoked",
            Standing::Suspended => "the key is suspended",
            Standing::Lapsed => "the key has lapsed",
            Standing::Active if !self.is_unmarked => "a marker covers the key",
            Standing::Active => "the caller is outside the key's networks",
        }
    }
}

fn standing(facts: &Facts<'_>, now: Timestamp) -> Standing {
    step("standing");
    Standing::of(facts.state, facts.expires, now)
}

fn is_marked(authn: &Authn, parts: &[Part]) -> bool {
    step("marker");
    let is_covered = |part| authn.hot.markers().covers(part);
    parts.iter().fold(false, |any, part| any | is_covered(part))
}

/// A key without networks is used from anywhere; one with networks never over a transport
/// that has no address.
fn is_in_network(networks: &[IpNet], address: Option<IpAddr>) -> bool {
    step("network");
    networks.is_empty()
        || address.is_some_and(|address| networks.iter().any(|net| net.contains(&address)))
}

pub(super) fn verified(entry: &KeyEntry, peer: &Peer) -> Verified {
    let key = entry.key();
    let credential = CredentialId::ApiKey(key.id);
    let confirmation = peer
        .certificate
        .as_ref()
        .map(|certificate| *certificate.fingerprint());
    Verified {
        kind: CredentialKind::ApiKey,
        sub: Arc::clone(entry.sub()),
        client_id: Arc::clone(entry.sub()),
        credential,
        owner: Some(key.spec.owner.clone()),
        tenant: key.spec.tenant.clone(),
        labels: Arc::clone(entry.labels()),
        ceiling: Ceiling {
            audiences: Reach::Listed(Arc::clone(entry.audiences())),
            scopes: Reach::Listed(key.spec.scopes.clone()),
            not_after: key.spec.expires,
        },
        confirmation,
        must_bind: false,
        uses: key
            .spec
            .uses
            .map_or(Uses::Unlimited, |limit| Uses::Limited {
                key: key.id,
                limit,
            }),
        lineage: Lineage {
            credentials: vec![credential],
            ancestors: Vec::new(),
            exchange: Reach::Listed(Arc::clone(entry.audiences())),
        },
        may_act: None,
        actor: None,
        made_from: MadeFrom::default(),
        began: Began::alone(key.created),
        fence: entry.parts().iter().copied().collect(),
    }
}
