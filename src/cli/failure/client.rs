//! The one mapping from what the client library and the broker say to messages and exit codes.

use super::{Failure, advice};
use crate::cli::exit::Exit;
use crate::client::Error;
use crate::refusal::Fault;

/// With TLS 1.3 a refused client certificate shows at the first call: as an alert, or, where the end of the
/// connection overtakes it, as nothing but that.
const CERTIFICATE: &str =
    "check --cert and --cert-key: the broker may demand a certificate, or not believe this one";

impl Failure {
    /// What a failed call means.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Self {
        Self::from_client(Error::from(status))
    }

    /// What the client library reports.
    #[must_use]
    pub fn from_client(error: Error) -> Self {
        let known = error.refusal();
        match error {
            Error::Invalid(what) => Self::usage(&*what),
            Error::File { path, cause } => {
                Self::usage(format!("{} cannot be used", path.display())).why(cause)
            }
            Error::Unreachable(why) => unreachable("unreachable", "the broker cannot be reached")
                .why(why)
                .next("check that the broker runs, and --server"),
            Error::Lost(why) => unreachable(
                "connection_closed",
                "the connection ended before an answer came",
            )
            .why(why)
            .next(CERTIFICATE),
            Error::Certificate(why) => unreachable(
                "certificate",
                "the peer is not believed to be the broker",
            )
            .why(why)
            .next("check that --ca holds the authority of the broker's certificate, and that --server is a name in it"),
            Error::Tls(why) => unreachable("tls", "no connection that both sides trust")
                .why(why)
                .next(CERTIFICATE),
            Error::Protocol(why) => Self::new(Exit::Fault, "protocol", "the answer makes no sense")
                .why(why)
                .next("check that --server names a broker of this version"),
            Error::Unimplemented => {
                Self::new(Exit::Fault, "unimplemented", "the broker does not offer this call")
                    .next("check that --server names a broker of this version")
            }
            Error::Refused { code, message, .. } => match known {
                Some(known) => Self::new(Exit::Refused, &*code, format!("refused: {known}"))
                    .why(said(&message, known.text()))
                    .next(advice::after_refusal(known)),
                None => Self::new(Exit::Refused, &*code, "refused").why(message),
            },
            Error::Fault { code, message, .. } => {
                match Fault::ALL.iter().find(|fault| *fault.code() == *code) {
                    Some(fault) => {
                        Self::new(Exit::Fault, &*code, format!("the broker failed: {fault}"))
                            .why(said(&message, fault.text()))
                            .next(advice::after_fault(*fault))
                    }
                    None => Self::new(Exit::Fault, &*code, "the broker failed").why(message),
                }
            }
            Error::Closed => Self::fault("closed"),
        }
    }
}

fn unreachable(code: &str, what: &str) -> Failure {
    Failure::new(Exit::Unreachable, code, what)
}

/// What was said beyond a code's own text.
fn said<'s>(message: &'s str, text: &str) -> &'s str {
    match message.strip_prefix(text) {
        Some("") => "",
        Some(rest) => rest.strip_prefix(": ").unwrap_or(message),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;
    use std::collections::HashMap;
    use tonic::{Code as Grpc, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    const DOMAIN: &str = "cambist";

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
    fn what_a_code_says_is_not_said_twice() {
        assert_eq!(said("not valid", "not valid"), "");
        assert_eq!(said("not valid: name: empty", "not valid"), "name: empty");
        assert_eq!(said("not validated", "not valid"), "not validated");
        assert_eq!(said("something else", "not valid"), "something else");
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
            (Exit::Unreachable, "unreachable")
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
