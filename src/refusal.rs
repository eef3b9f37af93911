//! Why a request is refused, with stable codes; and our own failures, which are another thing.

use std::borrow::Cow;
use std::fmt;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, for tables and for metrics.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code: on the wire, in records, as a metric label. Never changes.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What the caller is told. Says nothing that the caller may not know.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.text()) }
        }
    };
}

codes! {
    /// Why the answer is "no".
    Code {
        /// A field is missing, malformed or over its bound.
        InvalidRequest = "invalid_request", "the request is not valid";
        /// The credentials presented do not form an allowed combination.
        CombinationNotAllowed = "combination_not_allowed", "these credentials cannot be presented together";
        /// The credential's text is not of its format: it dies before any look-up.
        CredentialMalformed = "credential_malformed", "the credential is malformed";
        /// Unknown, wrong, expired, suspended, revoked or off its network: all alike (invariant 4).
        CredentialRefused = "credential_refused", "the credential is not accepted";
        /// A finite-use key has no use left.
        CredentialSpent = "credential_spent", "the credential has no uses left";
        /// The subject is the peer's certificate, and the peer showed none.
        CertificateMissing = "certificate_missing", "no client certificate was presented";
        /// A presented token does not verify, is expired, revoked or of the wrong kind.
        TokenRefused = "token_refused", "the token is not accepted";
        /// A token is presented by a party that it was neither issued to nor meant for.
        PresenterNotAllowed = "presenter_not_allowed", "the token may not be presented by this caller";
        /// The subject token says who may act, and the actor is not among them (RFC 8693 section 4.4).
        ActorNotAllowed = "actor_not_allowed", "the actor may not act for this subject";
        /// No such audience is registered.
        AudienceUnknown = "audience_unknown", "the audience is not registered";
        /// The credential does not extend to the audience.
        AudienceNotAllowed = "audience_not_allowed", "the credential does not extend to this audience";
        /// A scope is not in the audience's vocabulary or above the credential's.
        ScopeNotAllowed = "scope_not_allowed", "a scope is not allowed";
        /// The token would have to be bound to a key that the caller did not prove.
        BindingRequired = "binding_required", "the token must be bound to a key that the caller proves";
        /// Policy does not permit it, or a policy could not be evaluated.
        PolicyDenied = "policy_denied", "policy does not permit this";
        /// The ancestry would exceed what a token can carry.
        LineageFull = "lineage_full", "the token's ancestry is too long to be exchanged again";
        /// A marker that covers this issue came into force.
        Revoked = "revoked", "the credential or its ancestry was revoked";
        /// Nothing would be left of the lifetime.
        LifetimeExhausted = "lifetime_exhausted", "no lifetime is left";
        /// The caller may not make this administrative call.
        NotAuthorised = "not_authorised", "the caller is not authorised";
        /// The named thing does not exist.
        NotFound = "not_found", "there is no such thing";
        /// The named thing exists already, or is not at the expected revision.
        Conflict = "conflict", "it conflicts with what is there";
        /// A limit on rate or on work in flight is reached.
        TooBusy = "too_busy", "too many requests; try again later";
    }
}

codes! {
    /// What failed on our side. None of these issues a token.
    Fault {
        /// The record could not be made durable.
        LogUnavailable = "log_unavailable", "the audit log cannot be written";
        /// A record in the log is not the one that was logged.
        LogChanged = "log_changed", "the audit log was changed";
        /// The store did not answer, or its answer is not known.
        StoreUnavailable = "store_unavailable", "the store is not available";
        /// The in-memory view is older than the staleness budget.
        Stale = "state_stale", "the broker's state is out of date";
        /// The clock stepped or runs behind an earlier issue.
        ClockUnsteady = "clock_unsteady", "the broker's clock cannot be trusted";
        /// No signing key is active.
        NoSigningKey = "no_signing_key", "no signing key is active";
        /// The node is shutting down.
        Draining = "draining", "the broker is shutting down";
        /// A defect of ours.
        Internal = "internal", "internal error";
    }
}

/// A "no": a stable code for the caller, and a detail that only records and `Explain` see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with the precise cause, which never reaches an unauthorised caller.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// What the caller is told.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The precise cause. Holds no secret and no unverified text longer than a name.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Why a request has no positive answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// An answer: "no".
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Our own failure, with its cause for the operator.
    #[error("{fault}")]
    Failed {
        /// What the caller is told.
        fault: Fault,
        /// The cause, for the operator's log.
        cause: Cow<'static, str>,
    },
}

impl Denial {
    /// A failure of ours.
    #[must_use]
    pub fn failed(fault: Fault, cause: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed {
            fault,
            cause: cause.into(),
        }
    }

    /// The stable code, whichever it is.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code().code(),
            Self::Failed { fault, .. } => fault.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_lower_case_names() {
        let codes = Code::ALL
            .iter()
            .map(|c| c.code())
            .chain(Fault::ALL.iter().map(|f| f.code()));
        let all: Vec<_> = codes.collect();
        let unique: HashSet<_> = all.iter().collect();
        assert_eq!(all.len(), unique.len());
        assert!(
            all.iter()
                .all(|code| code.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
        );
    }
}
