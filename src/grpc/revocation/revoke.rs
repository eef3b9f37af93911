//! `Revocation.Revoke`: what is asked for, by whom, and the answer.

use super::{RevocationService, marker};
use crate::administration::{Author, InHand, Precondition, Reach, Revocable, Revoked, Who};
use crate::audit::{Aim, Good, Hit};
use crate::authn::{Credential, Peer, TokenType};
use crate::grpc::convert::{instant, invalid, no_key, not_ours, open, reason};
use crate::grpc::status::on_record;
use crate::grpc::{audit, context, peer, precondition};
use crate::id::{CredentialId, KeyId, KeyPublicId, Owner, SpiffeId, TokenId, TrustDomain};
use crate::inventory::Shown;
use crate::limits;
use crate::marker::Thing as Mark;
use crate::proto::revoke_request::Thing;
use crate::proto::{self as pb};
use crate::refusal::Refusal;
use crate::secret::{Secret, api_key};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Request, Status};

/// What is asked for.
struct Asked {
    thing: Thing,
    reach: Reach,
    reason: String,
    on: Precondition,
}

impl RevocationService {
    pub(super) async fn revoked(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<pb::RevokeResponse, Status> {
        let peer = peer(&request)?;
        let administrator = self.gate.administrator(&peer);
        let now = self.gate.exchange.guard.wall();
        let pb::RevokeRequest {
            thing,
            before,
            ban,
            reason: why,
            dry_run,
            idempotency_key,
        } = request.into_inner();
        let shows = thing.as_ref().is_some_and(|thing| shown(thing).is_some());
        if let Err(refusal) = &administrator
            && (dry_run || !shows)
        {
            return Err(self.gate.refused(refusal.clone(), &context(peer, None)));
        }
        let asked = Asked {
            thing: thing.ok_or_else(|| invalid("thing", "missing"))?,
            // What has a later `iat` was issued by a clock that stepped back since.
            reach: reach(before, ban, self.gate.exchange.guard.latest())?,
            reason: reason(&why)?.to_owned(),
            on: precondition(&idempotency_key, 0)?,
        };
        if !takes_a_reach(&asked.thing) && (before.is_some() || ban) {
            return Err(match ban {
                true => invalid("ban", "only of subjects and trust domains"),
                false => invalid("before", "only of subjects, trust domains and issuers"),
            }
            .into());
        }
        let is_anothers = |issuer: &String| issuer.as_str() != &**self.gate.exchange.mint.issuer();
        if matches!(&asked.thing, Thing::Issuer(issuer) if ban || is_anothers(issuer)) {
            return Err(invalid("issuer", "only this broker's, and up to a time").into());
        }
        match administrator {
            Ok(author) if dry_run => {
                let what = self.revocable(asked.thing, asked.reach, &author, now)?;
                Ok(pb::RevokeResponse {
                    hit: Some(self.hit(&what, &author, now).await?),
                    ..pb::RevokeResponse::default()
                })
            }
            Ok(author) => {
                let what = self.revocable(asked.thing, asked.reach, &author, now)?;
                let revoke = self
                    .revocations
                    .revoke(&what, &asked.reason, &author, &asked.on);
                Ok(answer(revoke.await?))
            }
            Err(refusal) => match shown(&asked.thing) {
                Some(credential) => self.given_up(credential, asked, peer, now).await,
                None => {
                    let context = context(peer, None);
                    Err(self.gate.refused(refusal, &context))
                }
            },
        }
    }

    /// A holder gives up what it shows.
    async fn given_up(
        &self,
        credential: Credential,
        asked: Asked,
        peer: Arc<Peer>,
        now: Timestamp,
    ) -> Result<pb::RevokeResponse, Status> {
        let context = context(Arc::clone(&peer), None);
        let exchange = &self.gate.exchange;
        let held = exchange.authn.held(credential, &peer, now);
        let held = held.map_err(|rejected| on_record(exchange.rejected(rejected, &context)))?;
        let author = Author {
            who: Who::Holder(Arc::clone(held.sub())),
            context,
        };
        let give_up = self
            .revocations
            .give_up(&held, &asked.reason, &author, &asked.on);
        Ok(answer(give_up.await?))
    }

    /// The thing that an administrator names.
    fn revocable(
        &self,
        thing: Thing,
        reach: Reach,
        author: &Author,
        now: Timestamp,
    ) -> Result<Revocable, Status> {
        let at = match reach {
            Reach::Before(at) => at,
            Reach::Ban => now,
        };
        Ok(match thing {
            Thing::Token(text) => {
                let exchange = &self.gate.exchange;
                let (authn, text) = (&exchange.authn, Secret::new(text));
                // One that a clock issued which was ahead is good when its time comes.
                let token = authn
                    .recognise(&text, now)
                    .or_else(|_| authn.recognise(&text, exchange.guard.latest()));
                let token = token.map_err(|refusal| invalid("token", refusal.detail()))?;
                let claims = token.claims();
                let known = InHand {
                    end: claims.expires_at,
                    root: claims.lineage.credentials.first().copied(),
                };
                Revocable::Token(claims.id, Some(known))
            }
            Thing::TokenId(id) => {
                let id = TokenId::parse(open("token_id", &id)?);
                Revocable::Token(id.map_err(|error| invalid("token_id", error))?, None)
            }
            Thing::ApiKey(text) => {
                let key = api_key::parse(&text).map_err(|_| invalid("api_key", "not a key"))?;
                match self.revocations.keys().recognise(&key) {
                    Shown::Ours(_) => Revocable::ApiKey(key.id),
                    Shown::Wrong => return Err(not_ours(true).into()),
                    Shown::Unknown => return Err(not_ours(false).into()),
                }
            }
            Thing::CredentialId(id) => {
                let id = CredentialId::parse(open("credential_id", &id)?);
                match id.map_err(|error| invalid("credential_id", error))? {
                    CredentialId::ApiKey(id) if self.revocations.keys().find(&id).is_none() => {
                        return Err(no_key().into());
                    }
                    CredentialId::ApiKey(id) => Revocable::ApiKey(id),
                    CredentialId::Certificate(digest) => {
                        let shown = author.context.peer.certificate.as_ref();
                        let shown = shown.filter(|shown| *shown.fingerprint() == digest);
                        Revocable::Certificate(digest, shown.map(|shown| shown.not_after()))
                    }
                }
            }
            Thing::Certificate(der) => certificate(&der)?,
            Thing::PeerCertificate(pb::PeerCertificateOfCaller {}) => {
                let shown = author.context.peer.certificate.as_ref();
                let shown = shown.ok_or_else(|| invalid("peer_certificate", "none was shown"))?;
                Revocable::Certificate(*shown.fingerprint(), Some(shown.not_after()))
            }
            Thing::Subject(sub) => {
                let sub = open("subject", &sub)?;
                if sub.is_empty() || sub.len() > limits::SPIFFE_ID {
                    return Err(invalid("subject", "empty or too long").into());
                }
                // One that nobody can be would be in force and cover nobody.
                if sub.trim() != sub {
                    return Err(invalid("subject", "begins or ends with white space").into());
                }
                if sub.to_ascii_lowercase().starts_with("spiffe://") {
                    SpiffeId::parse(sub).map_err(|error| invalid("subject", error))?;
                }
                Revocable::Subject(sub.to_owned(), reach)
            }
            Thing::Issuer(_) => Revocable::Issuer(at),
            Thing::TrustDomain(domain) => {
                let domain = TrustDomain::parse(open("trust_domain", &domain)?);
                let domain = domain.map_err(|error| invalid("trust_domain", error))?;
                Revocable::TrustDomain(domain, reach)
            }
            Thing::SigningKey(kid) => {
                let kid = KeyId::parse(open("signing_key", &kid)?);
                Revocable::SigningKey(kid.map_err(|error| invalid("signing_key", error))?)
            }
            Thing::Owner(owner) => {
                let owner = Owner::parse(open("owner", &owner)?);
                Revocable::Owner(owner.map_err(|error| invalid("owner", error))?)
            }
        })
    }

    /// What it would hit, as the record shows.
    async fn hit(
        &self,
        what: &Revocable,
        author: &Author,
        now: Timestamp,
    ) -> Result<pb::Hit, Status> {
        if let Revocable::SigningKey(id) = what {
            self.revocations.knows_signing(id)?;
        }
        let who = author.who.to_string();
        let (what, revocations) = (what.clone(), Arc::clone(&self.revocations));
        let exchange = Arc::clone(&self.gate.exchange);
        let find = audit::read(&self.reading, &self.gate, &who, move |reading, left| {
            // Here, since an owner may have very many keys: as few at a time as may read, and in a thread that may block.
            let issuer = exchange.mint.issuer();
            let ending = revocations.keys_that_end(&what);
            let aim = aim(&what, &ending, issuer, now);
            let good = Good {
                issuer,
                hot: exchange.authn.markers(),
                now,
            };
            let hit = reading.hit(&aim, good, move || !left.is_cancelled())?;
            Ok((hit, ending))
        });
        let ((hit, ending), _seat) = find.await?;
        let Hit {
            tokens,
            token_ids,
            credentials,
            subjects,
            complete,
        } = hit;
        // First what ends itself: the others are those of tokens that are counted.
        let named = ending
            .iter()
            .map(|id| CredentialId::ApiKey(*id).to_string());
        let mut credential_ids: Vec<_> = named.take(limits::HIT_NAMES).collect();
        for id in credentials {
            if credential_ids.len() < limits::HIT_NAMES && !credential_ids.contains(&id) {
                credential_ids.push(id);
            }
        }
        Ok(pb::Hit {
            tokens,
            token_ids,
            credential_ids,
            subjects: subjects.into_iter().collect(),
            complete,
            keys: ending.len() as u64,
        })
    }
}

/// The issues that a revocation would hit. An owner's are those of the keys that it would revoke, wherever they stand in the
/// ancestry: a record's owner is that of the root alone.
fn aim(what: &Revocable, ending: &BTreeSet<KeyPublicId>, issuer: &str, now: Timestamp) -> Aim {
    let at = |reach: &Reach| match reach {
        Reach::Before(at) => *at,
        Reach::Ban => now,
    };
    match what {
        Revocable::Token(id, _) => {
            let id = id.to_string();
            let marker = Mark::Token(issuer, &id).id();
            Aim::Token(id, marker)
        }
        Revocable::Certificate(digest, _)
        | Revocable::TokensOf(CredentialId::Certificate(digest), _) => {
            let id = CredentialId::Certificate(*digest);
            Aim::Certificate(id.to_string(), Mark::Credential(id).id())
        }
        Revocable::Subject(sub, reach) => Aim::Subject(sub.clone(), at(reach)),
        Revocable::Issuer(before) => Aim::All(*before),
        Revocable::TrustDomain(domain, reach) => {
            Aim::TrustDomain(domain.as_str().to_owned(), at(reach))
        }
        Revocable::ApiKey(id)
        | Revocable::LeakedKey(id, _)
        | Revocable::TokensOf(CredentialId::ApiKey(id), _) => {
            Aim::Credential(CredentialId::ApiKey(*id).to_string())
        }
        Revocable::SigningKey(id) => Aim::SigningKey(id.clone()),
        Revocable::Owner(_) => Aim::Keys(ending.clone()),
    }
}

fn takes_a_reach(thing: &Thing) -> bool {
    matches!(
        thing,
        Thing::Subject(_) | Thing::TrustDomain(_) | Thing::Issuer(_)
    )
}

fn reach(
    before: Option<prost_types::Timestamp>,
    ban: bool,
    now: Timestamp,
) -> Result<Reach, Refusal> {
    let at = before.map(|at| instant("before", &at)).transpose()?;
    match (at, ban) {
        (Some(_), true) => Err(invalid("ban", "together with a time")),
        (Some(at), false) if at > now => Err(invalid("before", "in the future; a ban covers that")),
        (Some(at), false) => Ok(Reach::Before(at)),
        (None, false) => Ok(Reach::Before(now)),
        (None, true) => Ok(Reach::Ban),
    }
}

/// What proves that its bearer may give it up.
fn shown(thing: &Thing) -> Option<Credential> {
    match thing {
        Thing::Token(text) => Some(Credential::Token(
            Secret::new(text.clone()),
            TokenType::AccessToken,
        )),
        Thing::ApiKey(text) => Some(Credential::ApiKey(Secret::new(text.clone()))),
        Thing::PeerCertificate(_) => Some(Credential::PeerCertificate),
        _ => None,
    }
}

/// A certificate in somebody's hand: its hash and its end.
fn certificate(der: &[u8]) -> Result<Revocable, Refusal> {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    if der.len() > limits::CERTIFICATE {
        return Err(invalid("certificate", "too large"));
    }
    let malformed = || invalid("certificate", "not a certificate in DER");
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    if parsed.is_ca() {
        let detail = "that of an authority, which no marker takes along: take it out of the trust bundle, or revoke the trust domain";
        return Err(invalid("certificate", detail));
    }
    let end = Timestamp::from_second(parsed.validity().not_after.timestamp());
    let hash = digest(&SHA256, der);
    let fingerprint = hash.as_ref().try_into().map_err(|_| malformed())?;
    Ok(Revocable::Certificate(fingerprint, end.ok()))
}

fn answer(revoked: Revoked) -> pb::RevokeResponse {
    let Revoked { markers, revision } = revoked;
    let durable = revision.is_some();
    let markers = markers.iter().take(limits::PAGE);
    pb::RevokeResponse {
        markers: markers.map(|stored| marker(stored, durable)).collect(),
        durable,
        revision: revision.map(|at| at.to_string()).unwrap_or_default(),
        hit: None,
    }
}
