//! The one mapping from the broker's answers to messages and exit codes.

use super::Failure;
use super::advice;
use crate::cli::exit::Exit;
use crate::refusal::{Code, Fault};
use tonic::{Code as Grpc, Status};
use tonic_types::StatusExt as _;

/// The domain of the broker's own error details.
const DOMAIN: &str = "cambist";

impl Failure {
    /// What a failed call means.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let reason = info
            .filter(|info| info.domain == DOMAIN)
            .map(|info| info.reason);
        let Some(reason) = reason else {
            return Self::without_details(status);
        };
        let known = Code::ALL.iter().find(|code| code.code() == reason);
        if let Some(code) = known {
            return Self::new(Exit::Refused, reason, format!("refused: {code}"))
                .why(said(status, code.text()))
                .next(advice::after_refusal(*code));
        }
        let fault = Fault::ALL.iter().find(|fault| fault.code() == reason);
        if let Some(fault) = fault {
            return Self::new(Exit::Fault, reason, format!("the broker failed: {fault}"))
                .why(said(status, fault.text()))
                .next(advice::after_fault(*fault));
        }
        // A newer broker's code: the gRPC code still tells a refusal from a failure.
        match exit_of(status.code()) {
            Exit::Refused => Self::new(Exit::Refused, reason, "refused"),
            exit => Self::new(exit, reason, "the broker failed"),
        }
        .why(status.message())
    }

    /// A peer that is no broker, or a connection that broke.
    fn without_details(status: &Status) -> Self {
        let exit = if broken_connection(status) {
            Exit::Unreachable
        } else {
            exit_of(status.code())
        };
        let code = name(status.code());
        match exit {
            Exit::Unreachable => Self::broken(status),
            Exit::Fault => Self::new(exit, code, "the call failed")
                .why(status.message())
                .next("check that --server names a broker of this version; its own log says more"),
            _ => Self::new(exit, code, "refused").why(status.message()),
        }
    }

    fn broken(status: &Status) -> Self {
        // With TLS 1.3 a refused client certificate shows at the first call: as an alert, or, where the
        // end of the connection overtakes it, as nothing but that.
        const CERTIFICATE: &str =
            "check --cert and --key: the broker may demand a certificate, or not believe this one";
        let failure = |code, what| Self::new(Exit::Unreachable, code, what);
        if let Some(alert) = alert(status) {
            return failure("tls_alert", "the broker ended the TLS connection")
                .why(format!("it sent the alert {alert}"))
                .next(CERTIFICATE);
        }
        if broken_connection(status) {
            return failure(
                "connection_closed",
                "the connection ended before an answer came",
            )
            .why(status.message())
            .next(CERTIFICATE);
        }
        failure(name(status.code()), "the broker cannot be reached")
            .why(status.message())
            .next("check that the broker runs, and --server")
    }
}

/// What the broker said beyond its code's own text.
fn said<'s>(status: &'s Status, text: &str) -> &'s str {
    let message = status.message();
    if message == text { "" } else { message }
}

fn exit_of(code: Grpc) -> Exit {
    match code {
        Grpc::Ok => Exit::Ok,
        Grpc::Unavailable | Grpc::DeadlineExceeded => Exit::Unreachable,
        Grpc::InvalidArgument
        | Grpc::NotFound
        | Grpc::AlreadyExists
        | Grpc::PermissionDenied
        | Grpc::ResourceExhausted
        | Grpc::FailedPrecondition
        | Grpc::Aborted
        | Grpc::OutOfRange
        | Grpc::Unauthenticated => Exit::Refused,
        Grpc::Cancelled | Grpc::Unknown | Grpc::Unimplemented | Grpc::Internal | Grpc::DataLoss => {
            Exit::Fault
        }
    }
}

fn name(code: Grpc) -> &'static str {
    match code {
        Grpc::Ok => "ok",
        Grpc::Cancelled => "cancelled",
        Grpc::Unknown => "unknown",
        Grpc::InvalidArgument => "invalid_argument",
        Grpc::DeadlineExceeded => "deadline_exceeded",
        Grpc::NotFound => "not_found",
        Grpc::AlreadyExists => "already_exists",
        Grpc::PermissionDenied => "permission_denied",
        Grpc::ResourceExhausted => "resource_exhausted",
        Grpc::FailedPrecondition => "failed_precondition",
        Grpc::Aborted => "aborted",
        Grpc::OutOfRange => "out_of_range",
        Grpc::Unimplemented => "unimplemented",
        Grpc::Internal => "internal",
        Grpc::Unavailable => "unavailable",
        Grpc::DataLoss => "data_loss",
        Grpc::Unauthenticated => "unauthenticated",
    }
}

/// Whether the answer was made here, because the connection broke, and not by the peer.
fn broken_connection(status: &Status) -> bool {
    causes(status)
        .any(|cause| cause.is::<std::io::Error>() || cause.is::<tonic::transport::Error>())
}

/// The name of the TLS alert that ended the connection. HTTP/2 keeps only the text of what broke it.
fn alert(status: &Status) -> Option<String> {
    causes(status).find_map(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>()?.to_string();
        let alert = cause.strip_prefix("received fatal alert: ")?;
        Some(alert.to_owned())
    })
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    fn status(code: Grpc, domain: &str, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, domain, HashMap::new());
        Status::with_error_details(code, "words", details)
    }

    #[test]
    fn every_refusal_and_fault_has_its_exit_and_advice() {
        for code in Code::ALL {
            let failure =
                Failure::from_status(&status(Grpc::PermissionDenied, DOMAIN, code.code()));
            assert_eq!(
                (failure.exit(), failure.code()),
                (Exit::Refused, code.code())
            );
            assert!(!failure.next.is_empty(), "{code:?}");
        }
        for fault in Fault::ALL {
            // The broker answered: it is not unreachable, whatever the gRPC code says.
            let failure = Failure::from_status(&status(Grpc::Unavailable, DOMAIN, fault.code()));
            assert_eq!(
                (failure.exit(), failure.code()),
                (Exit::Fault, fault.code())
            );
            assert!(!failure.next.is_empty(), "{fault:?}");
        }
    }

    #[test]
    fn others_details_are_not_taken_for_ours() {
        let failure = Failure::from_status(&status(
            Grpc::Unavailable,
            "proxy.example.org",
            "policy_denied",
        ));
        assert_eq!(
            (failure.exit(), failure.code()),
            (Exit::Unreachable, "unavailable")
        );
        let failure = Failure::from_status(&status(Grpc::PermissionDenied, DOMAIN, "of_tomorrow"));
        assert_eq!(
            (failure.exit(), failure.code()),
            (Exit::Refused, "of_tomorrow")
        );
    }

    #[test]
    fn grpc_codes_alone_decide_the_exit() {
        for (code, exit) in [
            (Grpc::Unavailable, Exit::Unreachable),
            (Grpc::DeadlineExceeded, Exit::Unreachable),
            (Grpc::PermissionDenied, Exit::Refused),
            (Grpc::NotFound, Exit::Refused),
            (Grpc::Unimplemented, Exit::Fault),
            (Grpc::Internal, Exit::Fault),
        ] {
            assert_eq!(
                Failure::from_status(&Status::new(code, "words")).exit(),
                exit
            );
        }
    }
}
