//! Messages to domain values and back: every field is decided, none is skipped.

use crate::audit::Issued;
use crate::authn::{Credential, TokenType};
use crate::id::{Audience, Scope, ScopeSet};
use crate::limits;
use crate::policy::{Ask, Binding};
use crate::proto;
use crate::refusal::{Code, Refusal};
use crate::secret::{Secret, holds_credential};
use jiff::{SignedDuration, Timestamp};
use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};
use std::fmt::Display;
use std::time::Duration;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A refusal that says which field is wrong and how.
pub(super) fn invalid(field: &str, problem: impl Display) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("{field}: {problem}"))
}

/// The refusal of a key's text that is none of ours. An id is public and anybody makes a checksum, so that a text with a
/// key's id says nothing of that key; who means the key says so.
pub(super) fn not_ours(has_id: bool) -> Refusal {
    let detail = match has_id {
        true => {
            "no key has this text: one has its id and another secret; `--credential ID` revokes it all the same"
        }
        false => {
            "no key has this text; tokens of one that was lost with a store are revoked by `--subject ISSUER/keys/ID`"
        }
    };
    Refusal::new(Code::NotFound, detail)
}

/// The refusal of a key's id that none has: it may be mistyped. Of a key that a backup did not have tokens live on where the
/// broker is not asked.
pub(super) fn no_key() -> Refusal {
    let detail = "no key has this id; tokens of one that was lost with a store are revoked by `--subject ISSUER/keys/ID`";
    Refusal::new(Code::NotFound, detail)
}

/// A text that will be kept, listed or recorded: a credential that was pasted into it would be exposed for good.
pub(super) fn open<'a>(field: &str, text: &'a str) -> Result<&'a str, Refusal> {
    match holds_credential(text) {
        true => Err(invalid(
            field,
            "holds a credential, which belongs elsewhere",
        )),
        false => Ok(text),
    }
}

/// Why an administrator does something.
pub(super) fn reason(text: &str) -> Result<&str, Refusal> {
    if text.len() > limits::PURPOSE {
        let problem = format!("longer than {} bytes", limits::PURPOSE);
        return Err(invalid("reason", problem));
    }
    open("reason", text)
}

/// An audience by name or alias.
pub(super) fn audience(field: &str, text: &str) -> Result<Audience, Refusal> {
    Audience::parse(open(field, text)?).map_err(|error| invalid(field, error))
}

/// What an exchange presents and asks for.
pub(super) struct Exchange {
    pub(super) subject: Credential,
    pub(super) actor: Option<Credential>,
    pub(super) ask: Ask,
}

impl TryFrom<proto::ExchangeRequest> for Exchange {
    type Error = Refusal;

    fn try_from(request: proto::ExchangeRequest) -> Result<Self, Refusal> {
        let proto::ExchangeRequest {
            subject,
            actor,
            audience,
            scopes,
            lifetime,
            binding,
            may_act,
        } = request;
        let subject = subject.ok_or_else(|| invalid("subject", "missing"))?;
        Ok(Self {
            subject: credential("subject", subject)?,
            actor: actor.map(|actor| credential("actor", actor)).transpose()?,
            ask: ask(&audience, scopes, lifetime, binding, &may_act)?,
        })
    }
}

pub(super) fn ask(
    audience: &str,
    scopes: Vec<String>,
    lifetime: Option<ProtoDuration>,
    binding: i32,
    may_act: &str,
) -> Result<Ask, Refusal> {
    Ok(Ask {
        audience: self::audience("audience", audience)?,
        scopes: if scopes.is_empty() {
            None
        } else {
            Some(scope_set(scopes)?)
        },
        lifetime: lifetime
            .map(|lifetime| duration("lifetime", &lifetime))
            .transpose()?,
        binding: match proto::Binding::try_from(binding) {
            Ok(proto::Binding::Unspecified) => Binding::WherePossible,
            Ok(proto::Binding::Required) => Binding::Required,
            Err(_) => return Err(invalid("binding", "not a known value")),
        },
        may_act: match may_act {
            "" => None,
            sub if sub.len() > limits::SPIFFE_ID => return Err(invalid("may_act", "too long")),
            sub => Some(open("may_act", sub)?.into()),
        },
    })
}

fn credential(field: &str, message: proto::Credential) -> Result<Credential, Refusal> {
    let proto::Credential { kind } = message;
    match kind.ok_or_else(|| invalid(field, "empty"))? {
        proto::credential::Kind::ApiKey(text) => Ok(Credential::ApiKey(Secret::new(text))),
        proto::credential::Kind::Token(proto::Token { value, r#type }) => {
            let kind = match r#type.as_str() {
                "" | ACCESS_TOKEN => TokenType::AccessToken,
                JWT => TokenType::Jwt,
                _ => return Err(invalid(field, "not a known token type")),
            };
            Ok(Credential::Token(Secret::new(value), kind))
        }
        proto::credential::Kind::PeerCertificate(proto::PeerCertificate {}) => {
            Ok(Credential::PeerCertificate)
        }
    }
}

/// Scopes of a request, bounded before each is looked at.
pub(super) fn scope_set(scopes: Vec<String>) -> Result<ScopeSet, Refusal> {
    if scopes.len() > limits::SCOPES {
        return Err(invalid("scopes", format!("more than {}", limits::SCOPES)));
    }
    let parse = |scope: &String| {
        let scope = open("scopes", scope)?;
        Scope::parse(scope).map_err(|error| invalid("scopes", error))
    };
    let parsed: Vec<_> = scopes.iter().map(parse).collect::<Result<_, _>>()?;
    ScopeSet::new(parsed).map_err(|error| invalid("scopes", error))
}

/// A positive duration.
pub(super) fn duration(field: &str, message: &ProtoDuration) -> Result<Duration, Refusal> {
    match Duration::try_from(*message) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(invalid(field, "not a positive duration")),
    }
}

/// An instant.
pub(super) fn instant(field: &str, message: &ProtoTimestamp) -> Result<Timestamp, Refusal> {
    Timestamp::new(message.seconds, message.nanos).map_err(|_| invalid(field, "not an instant"))
}

/// An instant as a message.
pub(super) fn timestamp(instant: Timestamp) -> ProtoTimestamp {
    ProtoTimestamp {
        seconds: instant.as_second(),
        nanos: instant.subsec_nanosecond(),
    }
}

/// An issued token as a reply. Only an [`Issued`] can become one.
pub(super) fn issued(issued: &Issued) -> proto::ExchangeResponse {
    let lifetime: SignedDuration = issued.expires_at().duration_since(issued.issued_at());
    proto::ExchangeResponse {
        access_token: issued.token().expose().to_owned(),
        token_type: "Bearer".to_owned(),
        expires_at: Some(timestamp(issued.expires_at())),
        expires_in: lifetime.as_secs().try_into().unwrap_or_default(),
        scopes: issued.scopes().iter().map(ToString::to_string).collect(),
        token_id: issued.id().to_string(),
        credential_id: issued.credential().to_string(),
        bound: issued.is_bound(),
        receipt: Some(proto::Receipt {
            origin: issued.receipt().origin.to_string(),
            index: issued.receipt().index,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> proto::ExchangeRequest {
        proto::ExchangeRequest {
            subject: Some(proto::Credential {
                kind: Some(proto::credential::Kind::ApiKey("k".into())),
            }),
            audience: "shop".into(),
            ..proto::ExchangeRequest::default()
        }
    }

    fn problem(request: proto::ExchangeRequest) -> String {
        Exchange::try_from(request)
            .err()
            .map(|refusal| refusal.detail().to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        assert!(Exchange::try_from(request()).is_ok());
        assert!(
            problem(proto::ExchangeRequest {
                subject: None,
                ..request()
            })
            .starts_with("subject")
        );
        let empty = Some(proto::Credential { kind: None });
        assert!(
            problem(proto::ExchangeRequest {
                actor: empty,
                ..request()
            })
            .starts_with("actor")
        );
        assert!(
            problem(proto::ExchangeRequest {
                audience: String::new(),
                ..request()
            })
            .starts_with("audience")
        );
        assert!(
            problem(proto::ExchangeRequest {
                binding: 7,
                ..request()
            })
            .starts_with("binding")
        );
        let backwards = Some(ProtoDuration {
            seconds: -1,
            nanos: 0,
        });
        assert!(
            problem(proto::ExchangeRequest {
                lifetime: backwards,
                ..request()
            })
            .starts_with("lifetime")
        );
    }

    #[test]
    fn a_reason_is_bounded_and_no_place_for_a_credential() {
        assert!(reason(&"a".repeat(limits::PURPOSE)).is_ok());
        assert!(reason(&"a".repeat(limits::PURPOSE + 1)).is_err());
        assert!(reason("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln leaked").is_err());
    }

    #[test]
    fn scopes_are_bounded_at_n_and_n_plus_one() {
        let with = |n| proto::ExchangeRequest {
            scopes: (0..n).map(|i| format!("s{i}")).collect(),
            ..request()
        };
        assert!(Exchange::try_from(with(limits::SCOPES)).is_ok());
        assert!(problem(with(limits::SCOPES + 1)).starts_with("scopes"));
    }
}
