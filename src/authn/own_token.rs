//! Own tokens, exchanged again (DESIGN.md section 3).
//!
//! Only the party that a token was issued to may present it, or a principal that serves its audience, who
//! then becomes the actor. What comes out reaches no further than what went in: scopes, audiences, lifetime,
//! binding. All of it is decided by what the verified token says, never by which parameters came.

mod claims;
mod verifier;

pub use claims::{MayAct, OwnClaims};
pub use verifier::OwnTokens;

use super::{
    Actor, Authn, Began, Beginning, Ceiling, Credential, CredentialKind, Lineage, MadeFrom, Peer,
    Reach, Rejected, Uses, Verified, api_key, workload_cert,
};
use crate::id::{Audience, CredentialId, Tenant, TokenId};
use crate::inventory::{KeyEntry, Standing};
use crate::jose::VerifiedJwt;
use crate::limits;
use crate::marker::{Fence, TokenParts};
use crate::refusal::{Code, Refusal};
use crate::secret::Secret;
use jiff::Timestamp;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// A token of ours whose signature, issuer, type and times were verified.
type OwnToken = VerifiedJwt<OwnClaims>;

pub(super) fn verify(
    authn: &Authn,
    text: &Secret,
    actor: Option<&Credential>,
    peer: &Peer,
    now: Timestamp,
) -> Result<Verified, Rejected> {
    let token = authn
        .tokens
        .verify(text.expose(), now)
        .map_err(Rejected::anonymous)?;
    let root = root(&token);
    let mut made_from = MadeFrom {
        subject: Some(token.claims().id),
        actor: None,
    };
    let presenter = match actor {
        Some(credential) => presenter(authn, credential, peer, now),
        None if peer.certificate.is_some() => {
            presenter(authn, &Credential::PeerCertificate, peer, now)
        }
        None => {
            let cause = "a token alone does not say who presents it";
            let refusal = Refusal::new(Code::PresenterNotAllowed, cause);
            return Err(authn.rejected(refusal, root, made_from));
        }
    };
    // It was presented with the token, whatever is wrong with it.
    let presenter = presenter.map_err(|mut rejected| {
        rejected.made_from.subject = made_from.subject;
        rejected
    })?;
    made_from.actor = presenter.token;
    let rejected = |refusal| authn.rejected(refusal, root, made_from);
    let ancestry = living_ancestry(authn, &token, now).map_err(rejected)?;
    let relation = relation(authn, &token, &presenter).map_err(rejected)?;
    build(authn, &token, ancestry, presenter, relation, peer).map_err(rejected)
}

/// Who presents the token, verified.
struct Presenter {
    sub: Arc<str>,
    not_after: Timestamp,
    lineage: Lineage,
    began: Beginning,
    fence: Fence,
    tenant: Option<Tenant>,
    /// Which token it is, if it is one.
    token: Option<TokenId>,
}

fn presenter(
    authn: &Authn,
    credential: &Credential,
    peer: &Peer,
    now: Timestamp,
) -> Result<Presenter, Rejected> {
    let verified = match credential {
        Credential::ApiKey(text) => api_key::verify(authn, text, peer, now)?,
        Credential::PeerCertificate => workload_cert::verify(authn, peer, now)?,
        Credential::Token(text, _) => return actor_token(authn, text, peer, now),
    };
    if matches!(verified.uses, Uses::Limited { .. }) {
        // A use is spent for a token of the key's own, which acting for another is not.
        let refusal = Refusal::new(
            Code::CombinationNotAllowed,
            "a key of finite use cannot act for another",
        );
        return Err(authn.rejected(refusal, Some(verified.credential), MadeFrom::default()));
    }
    Ok(Presenter {
        sub: verified.sub,
        not_after: verified.ceiling.not_after,
        lineage: verified.lineage,
        began: verified.began.subject,
        fence: verified.fence,
        tenant: verified.tenant,
        token: None,
    })
}

/// An actor token stands for its subject only in the hands of the party it was issued to.
fn actor_token(
    authn: &Authn,
    text: &Secret,
    peer: &Peer,
    now: Timestamp,
) -> Result<Presenter, Rejected> {
    let token = authn
        .tokens
        .verify(text.expose(), now)
        .map_err(Rejected::anonymous)?;
    let root = root(&token);
    let made_from = MadeFrom {
        subject: None,
        actor: Some(token.claims().id),
    };
    let rejected = |code, cause| authn.rejected(Refusal::new(code, cause), root, made_from);
    let holder = workload_cert::recheck(authn, peer, now)?;
    if &*token.claims().client_id != holder.spiffe_id().as_str() {
        return Err(rejected(
            Code::PresenterNotAllowed,
            "the actor token was issued to another party",
        ));
    }
    if !is_held(&token, Some(holder.fingerprint())) {
        return Err(rejected(
            Code::BindingRequired,
            "the actor token is bound to another key",
        ));
    }
    if token.claims().actor.is_some() {
        return Err(rejected(
            Code::ActorNotAllowed,
            "an actor token cannot itself be one of delegation",
        ));
    }
    let ancestry = living_ancestry(authn, &token, now)
        .map_err(|refusal| authn.rejected(refusal, root, made_from))?;
    let lineage = descend(&token);
    Ok(Presenter {
        sub: Arc::clone(&token.claims().sub),
        not_after: token.claims().expires_at,
        lineage,
        began: beginning(&token),
        fence: ancestry.fence,
        tenant: ancestry.tenant,
        token: made_from.actor,
    })
}

/// What the credentials of a token's ancestry are now.
struct Living {
    /// The first of them, when it is an API key.
    root: Option<Arc<KeyEntry>>,
    /// The tenant of those that have one.
    tenant: Option<Tenant>,
    /// What markers can cover of the token.
    fence: Fence,
}

/// The one tenant of a lineage. No lineage crosses tenants.
fn one_tenant(its: Option<Tenant>, more: Option<&Tenant>) -> Result<Option<Tenant>, Refusal> {
    match (its, more) {
        (Some(its), Some(more)) if its != *more => Err(Refusal::new(
            Code::PresenterNotAllowed,
            "credentials of two tenants would meet in one lineage",
        )),
        (its, more) => Ok(its.or_else(|| more.cloned())),
    }
}

/// Nothing that the token comes from is revoked or has lapsed.
pub(super) fn living(authn: &Authn, token: &OwnToken, now: Timestamp) -> Result<(), Refusal> {
    living_ancestry(authn, token, now).map(drop)
}

/// Every credential and key in the ancestry must still be good.
fn living_ancestry(authn: &Authn, token: &OwnToken, now: Timestamp) -> Result<Living, Refusal> {
    let refused = |cause| Err(Refusal::new(Code::TokenRefused, cause));
    let fence = fence(token);
    if authn.hot.covered(&fence).is_some() {
        return refused("the token, or something that it comes from, is revoked");
    }
    let (mut root, mut tenant) = (None, None);
    for (place, credential) in token.claims().lineage.credentials.iter().enumerate() {
        let CredentialId::ApiKey(id) = credential else {
            continue;
        };
        match authn.keys.find(id) {
            Some(entry) if entry.standing(now) == Standing::Active => {
                tenant = one_tenant(tenant, entry.key().spec.tenant.as_ref())?;
                if place == 0 {
                    root = Some(entry);
                }
            }
            _ => return refused("an API key in the token's ancestry is no longer active"),
        }
    }
    Ok(Living {
        root,
        tenant,
        fence,
    })
}

/// How the presenter stands to the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It was issued to the presenter.
    Party,
    /// The presenter serves its audience, and becomes the actor.
    Server,
}

fn relation(authn: &Authn, token: &OwnToken, presenter: &Presenter) -> Result<Relation, Refusal> {
    if token.claims().client_id == presenter.sub {
        return Ok(Relation::Party);
    }
    let audience = authn.audiences.find(&token.claims().audience);
    if !audience.is_some_and(|entry| entry.spec.is_served_by(&presenter.sub)) {
        let cause = "the presenter is neither the token's party nor serves its audience";
        return Err(Refusal::new(Code::PresenterNotAllowed, cause));
    }
    // RFC 8693 section 4.4: what the token says about who may act is decisive.
    if token.claims().may_be_acted_for_by(&presenter.sub) {
        Ok(Relation::Server)
    } else {
        Err(Refusal::new(
            Code::ActorNotAllowed,
            "the token's may_act names another party",
        ))
    }
}

/// Whether the key that the token is bound to, if it is to any, was proven.
pub(super) fn is_held(token: &OwnToken, proven: Option<&[u8; 32]>) -> bool {
    let bound = token.claims().bound_to;
    bound.is_none_or(|bound| proven.is_some_and(|proven| bound.ct_eq(proven).into()))
}

fn build(
    authn: &Authn,
    token: &OwnToken,
    ancestry: Living,
    presenter: Presenter,
    relation: Relation,
    peer: &Peer,
) -> Result<Verified, Refusal> {
    let proven = peer
        .certificate
        .as_ref()
        .map(|certificate| *certificate.fingerprint());
    let must_bind = token.claims().bound_to.is_some();
    if relation == Relation::Party && !is_held(token, proven.as_ref()) {
        return Err(Refusal::new(
            Code::BindingRequired,
            "the token is bound to a key that the caller did not prove",
        ));
    }
    one_tenant(ancestry.tenant, presenter.tenant.as_ref())?;
    let root_key = ancestry.root.as_deref();
    let mut lineage = descend(token);
    let mut fence = ancestry.fence;
    fence.extend(presenter.fence.parts().iter().copied());
    // Whatever part the presenter has, what comes of this is made from what it presents, too, and falls with that;
    merge(&mut lineage.credentials, presenter.lineage.credentials);
    merge(&mut lineage.ancestors, presenter.lineage.ancestors);
    // and it vouches no longer than its own credential does.
    let mut not_after = token.claims().expires_at.min(presenter.not_after);
    let (client_id, actor) = match relation {
        Relation::Party => (
            Arc::clone(&token.claims().client_id),
            token.claims().actor.clone(),
        ),
        Relation::Server => {
            // An actor's key or token that does not reach an audience does not reach it for another either.
            let actors = match &presenter.lineage.exchange {
                Reach::Listed(audiences) => Some(audiences),
                Reach::Policy => None,
            };
            lineage.exchange = within(&lineage.exchange, actors);
            let actor = Actor {
                sub: Arc::clone(&presenter.sub),
                previous: token.claims().actor.clone(),
            };
            (presenter.sub, Some(Arc::new(actor)))
        }
    };
    if !lineage.fits() {
        return Err(Refusal::new(
            Code::LineageFull,
            "more credentials or ancestors than a token can carry",
        ));
    }
    if actor
        .as_ref()
        .is_some_and(|actor| actor.depth() > limits::ACTORS)
    {
        return Err(Refusal::new(
            Code::LineageFull,
            "more actors than a token can carry",
        ));
    }
    let root =
        root(token).ok_or_else(|| Refusal::new(Code::TokenRefused, "the token has no ancestry"))?;
    if let Some(key) = root_key {
        not_after = not_after.min(key.key().spec.expires);
    }
    let kept = token
        .claims()
        .may_act
        .as_ref()
        .filter(|_| relation == Relation::Party);
    Ok(Verified {
        kind: CredentialKind::OwnToken,
        sub: Arc::clone(&token.claims().sub),
        client_id,
        credential: root,
        owner: root_key.map(|key| key.key().spec.owner.clone()),
        tenant: root_key.and_then(|key| key.key().spec.tenant.clone()),
        labels: root_key.map_or_else(
            || Arc::clone(&authn.no_labels),
            |key| Arc::clone(key.labels()),
        ),
        ceiling: Ceiling {
            audiences: within(&lineage.exchange, root_key.map(KeyEntry::audiences)),
            scopes: Reach::Listed(token.claims().scopes.clone()),
            not_after,
        },
        confirmation: proven,
        must_bind,
        uses: Uses::Unlimited,
        lineage,
        // Under delegation it has done its work: the actor is the one that was named.
        may_act: kept.map(|named| named.sub.as_str().into()),
        actor,
        made_from: MadeFrom {
            subject: Some(token.claims().id),
            actor: presenter.token,
        },
        began: Began {
            subject: beginning(token),
            actor: Some(presenter.began),
        },
        fence,
    })
}

fn beginning(token: &OwnToken) -> Beginning {
    Beginning {
        at: token.claims().issued_at,
        key: Some(token.key().clone()),
    }
}

/// What a token made from this one descends from: also the certificate that this one is bound to, which need not be among what
/// it was made from, and under delegation is not what the next one is bound to.
fn descend(token: &OwnToken) -> Lineage {
    let claims = token.claims();
    let mut lineage = claims.lineage.clone();
    let bound_to = claims.bound_to.map(CredentialId::Certificate);
    merge(&mut lineage.credentials, bound_to);
    merge(&mut lineage.ancestors, [claims.marker()]);
    lineage
}

/// The credential that the ancestry begins with.
fn root(token: &OwnToken) -> Option<CredentialId> {
    token.claims().lineage.credentials.first().copied()
}

fn fence(token: &OwnToken) -> Fence {
    let claims = token.claims();
    let parts = TokenParts {
        issuer: &claims.issuer,
        id: &claims.id.to_string(),
        issued_at: claims.issued_at,
        key: token.key(),
        bound_to: claims.bound_to,
        credentials: &claims.lineage.credentials,
        ancestors: &claims.lineage.ancestors,
    };
    let actors = std::iter::successors(claims.actor.as_deref(), |actor| actor.previous.as_deref());
    Fence::of_token(
        &parts,
        actors.map(|actor| &*actor.sub).chain([&*claims.sub]),
    )
}

fn merge<T: PartialEq>(into: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for item in more {
        if !into.contains(&item) {
            into.push(item);
        }
    }
}

/// The audiences that both a token's exchange ceiling and another list allow: its root key's of today, or its actor's.
fn within(
    ceiling: &Reach<Arc<[Audience]>>,
    list: Option<&Arc<[Audience]>>,
) -> Reach<Arc<[Audience]>> {
    match (ceiling, list) {
        (Reach::Policy, None) => Reach::Policy,
        (Reach::Policy, Some(list)) => Reach::Listed(Arc::clone(list)),
        (Reach::Listed(ceiling), None) => Reach::Listed(Arc::clone(ceiling)),
        (Reach::Listed(ceiling), Some(list)) => Reach::Listed(
            ceiling
                .iter()
                .filter(|audience| list.contains(audience))
                .cloned()
                .collect(),
        ),
    }
}
