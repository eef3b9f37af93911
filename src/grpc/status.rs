//! Denials as gRPC statuses: one exhaustive match, no wildcard.

use crate::audit::ReadError;
use crate::marker::Kind;
use crate::refusal::{Code as Refused, Denial, Fault, Refusal};
use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `google.rpc.ErrorInfo.domain` of all our errors.
pub(super) const DOMAIN: &str = "cambist";

/// The status that a caller sees. The cause of a fault stays here.
impl From<Denial> for Status {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Refused(refusal) => refusal.into(),
            Denial::Failed { fault, .. } => {
                build(fault_code(fault), fault.text().to_owned(), fault.code())
            }
        }
    }
}

/// The precise cause of a refusal stays here; only a malformed request is explained, since that says nothing but what
/// the caller sent.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let text = match code {
            Refused::InvalidRequest | Refused::Conflict | Refused::NotFound => {
                format!("{}: {}", code.text(), refusal.detail())
            }
            _ => code.text().to_owned(),
        };
        let mut status = build(refusal_code(code), text, code.code());
        // Goes no further than the face, which puts it on the record.
        status.set_source(Arc::new(refusal));
        status
    }
}

/// The status that ends a lease whose last token a marker covers, with what that marker is of: no secret to whoever holds
/// the token.
pub(super) fn withdrawn(kind: Kind) -> Status {
    let code = Refused::Revoked;
    let text = format!("{code}: by a marker of kind {}", kind.name());
    build(refusal_code(code), text, code.code())
}

/// The status of what is on the record already.
pub(super) fn on_record(refusal: impl Into<Status>) -> Status {
    let status = refusal.into();
    Status::with_details(
        status.code(),
        status.message(),
        status.details().to_vec().into(),
    )
}

/// The refusal that a status is of, if it is not on the record yet.
pub(super) fn untold(status: &Status) -> Option<&Refusal> {
    status.source()?.downcast_ref()
}

fn build(code: Code, text: String, reason: &str) -> Status {
    Status::with_error_details(
        code,
        text,
        ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()),
    )
}

/// The status of a log that cannot be read. Who may read it is told which record is not the one that was logged.
pub(super) fn unread(error: &ReadError) -> Status {
    match error {
        ReadError::Changed(_) => {
            let fault = Fault::LogChanged;
            let text = format!("{fault}: {error}");
            build(fault_code(fault), text, fault.code())
        }
        ReadError::Io(_)
        | ReadError::Damaged { .. }
        | ReadError::Missing(_)
        | ReadError::Unreadable(_) => {
            Denial::failed(Fault::LogUnavailable, error.to_string()).into()
        }
    }
}

/// Also says where in the log a caller that was told this can go on.
pub(super) fn go_on_from(next: u64, status: &Status) -> Status {
    let reason = status.get_details_error_info();
    let reason = reason.map_or_else(String::new, |info| info.reason);
    let next = HashMap::from([("next".to_owned(), next.to_string())]);
    let details = ErrorDetails::with_error_info(reason, DOMAIN, next);
    Status::with_error_details(status.code(), status.message(), details)
}

fn refusal_code(code: Refused) -> Code {
    match code {
        Refused::InvalidRequest
        | Refused::CombinationNotAllowed
        | Refused::AudienceUnknown
        | Refused::ScopeNotAllowed => Code::InvalidArgument,
        Refused::CredentialMalformed
        | Refused::CredentialRefused
        | Refused::CredentialSpent
        | Refused::CertificateMissing
        | Refused::TokenRefused
        | Refused::Revoked => Code::Unauthenticated,
        Refused::PresenterNotAllowed
        | Refused::ActorNotAllowed
        | Refused::AudienceNotAllowed
        | Refused::BindingRequired
        | Refused::PolicyDenied
        | Refused::LineageFull
        | Refused::LifetimeExhausted
        | Refused::NotAuthorised => Code::PermissionDenied,
        Refused::NotFound => Code::NotFound,
        Refused::Conflict => Code::Aborted,
        Refused::TooBusy => Code::ResourceExhausted,
    }
}

fn fault_code(fault: Fault) -> Code {
    match fault {
        Fault::LogUnavailable
        | Fault::StoreUnavailable
        | Fault::Stale
        | Fault::ClockUnsteady
        | Fault::NoSigningKey
        | Fault::Draining => Code::Unavailable,
        Fault::LogChanged => Code::DataLoss,
        Fault::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denial_carries_its_stable_code_and_hides_its_cause() {
        for code in Refused::ALL {
            let status = Status::from(Refusal::new(*code, "canary-cause"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (code.code(), DOMAIN)
            );
            let told = matches!(
                code,
                Refused::InvalidRequest | Refused::Conflict | Refused::NotFound
            );
            assert_eq!(status.message().contains("canary-cause"), told, "{code:?}");
        }
        for fault in Fault::ALL {
            let status = Status::from(Denial::failed(*fault, "canary-cause"));
            assert_eq!(
                status.get_details_error_info().unwrap().reason,
                fault.code()
            );
            assert!(!status.message().contains("canary-cause"));
        }
    }
}
