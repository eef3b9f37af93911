//! What can go wrong on the users' side, and the one place where the broker's answers become that.

use crate::limits;
use crate::refusal::{Code, Fault};
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic_types::StatusExt as _;

/// The domain of the broker's `google.rpc.ErrorInfo`.
const DOMAIN: &str = "cambist";

/// Why the broker gave no answer that can be used. Cheap to clone, so that all who wait learn the same.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An address, a file's content or an ask that can never work.
    #[error("{0}")]
    Invalid(Arc<str>),
    /// A file that holds a credential or TLS material cannot be read or used.
    #[error("cannot use {}: {cause}", path.display())]
    File {
        /// Which file.
        path: Arc<Path>,
        /// What is wrong with it. Quotes nothing of the content.
        cause: Arc<str>,
    },
    /// Nobody answered, or not in time.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// The connection was there and ended before an answer came. With TLS 1.3 this is also how a refused
    /// client certificate may show, where the end of the connection overtakes the alert.
    #[error("the connection ended before an answer came: {0}")]
    Lost(Arc<str>),
    /// The peer's certificate does not show that it is the broker.
    #[error("the broker's certificate is not trusted: {0}")]
    Certificate(Arc<str>),
    /// No connection that both sides trust.
    #[error("no trusted connection: {0}")]
    Tls(Arc<str>),
    /// The answer is "no".
    #[error("refused: {message} ({code})")]
    Refused {
        /// The refusal's stable code, or a gRPC code's name where no broker answered.
        code: Arc<str>,
        /// The reason in words.
        message: Arc<str>,
        /// How long to stay away, where the broker says so.
        retry_after: Option<Duration>,
    },
    /// The broker failed.
    #[error("the broker failed: {message} ({code})")]
    Fault {
        /// The fault's stable code.
        code: Arc<str>,
        /// The failure in words.
        message: Arc<str>,
        /// How long to stay away, where the broker says so.
        retry_after: Option<Duration>,
    },
    /// Whoever answered does not speak this protocol, or answered nonsense.
    #[error("unusable answer: {0}")]
    Protocol(Arc<str>),
    /// The broker does not offer this call.
    #[error("the broker does not offer this call")]
    Unimplemented,
    /// These [`Tokens`](super::Tokens) were closed.
    #[error("closed")]
    Closed,
}

impl Error {
    pub(super) fn file(path: &Path, cause: impl Into<Arc<str>>) -> Self {
        Self::File {
            path: path.into(),
            cause: cause.into(),
        }
    }

    /// Whether the same request may succeed a moment later, with nobody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Fault { .. } | Self::Protocol(_) => true,
            Self::Refused { code, .. } => **code == *Code::TooBusy.code(),
            Self::Invalid(_)
            | Self::File { .. }
            | Self::Certificate(_)
            | Self::Tls(_)
            | Self::Unimplemented
            | Self::Closed => false,
        }
    }

    /// Whether the broker said "no" and will say so again until somebody changes something there.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. }) && !self.is_transient()
    }

    /// The refusal's code, if this is a refusal with a code that this version knows.
    #[must_use]
    pub fn refusal(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Code::ALL.iter().copied().find(|c| *c.code() == **code),
            _ => None,
        }
    }

    /// How long the broker asks us to stay away.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Fault { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Why a connection could not be made, from what the sockets or TLS say.
    pub(super) fn from_handshake(error: &std::io::Error) -> Self {
        match connection_cause(error) {
            // There was no connection yet that could have been lost.
            Some(Self::Lost(why)) => Self::Unreachable(why),
            Some(cause) => cause,
            None => Self::Unreachable(foreign(&error.to_string())),
        }
    }

    /// Why a channel could not be opened. What our connector does not say happened on an open connection.
    pub(super) fn from_transport(error: &tonic::transport::Error) -> Self {
        connection_cause(error).unwrap_or_else(|| {
            Self::Lost(foreign(
                &causes(error)
                    .last()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ))
        })
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::from(&status)
    }
}

impl From<&tonic::Status> for Error {
    fn from(status: &tonic::Status) -> Self {
        let retry_after = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let message = foreign(status.message());
        if let Some(info) = status.get_details_error_info()
            && info.domain == DOMAIN
        {
            return answered(&info.reason, message, retry_after, status.code());
        }
        if let Some(source) = status.source() {
            if let Some(cause) = connection_cause(source) {
                return cause;
            }
            if causes(source).any(|cause| cause.is::<tonic::TimeoutExpired>()) {
                return Self::Unreachable("no answer in time".into());
            }
            if causes(source).any(|cause| cause.is::<tonic::transport::Error>()) {
                return Self::Lost(message);
            }
        }
        without_details(status, message, retry_after)
    }
}

/// The broker's own answer: a code that this version does not know is sorted by the gRPC code.
fn answered(
    reason: &str,
    message: Arc<str>,
    retry_after: Option<Duration>,
    grpc: tonic::Code,
) -> Error {
    let code = foreign(reason);
    let refused = Code::ALL.iter().any(|c| c.code() == reason);
    let failed = Fault::ALL.iter().any(|f| f.code() == reason);
    let by_grpc = matches!(
        grpc,
        tonic::Code::Unavailable
            | tonic::Code::Internal
            | tonic::Code::Unknown
            | tonic::Code::DataLoss
    );
    if failed || (!refused && by_grpc) {
        Error::Fault {
            code,
            message,
            retry_after,
        }
    } else {
        Error::Refused {
            code,
            message,
            retry_after,
        }
    }
}

/// An answer without the broker's mark: from our own stack, a proxy, or another server altogether.
fn without_details(
    status: &tonic::Status,
    message: Arc<str>,
    retry_after: Option<Duration>,
) -> Error {
    use tonic::Code as Grpc;
    match status.code() {
        Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled | Grpc::Aborted => {
            Error::Unreachable(message)
        }
        Grpc::Unimplemented => Error::Unimplemented,
        Grpc::ResourceExhausted => Error::Refused {
            code: Code::TooBusy.code().into(),
            message,
            retry_after,
        },
        Grpc::PermissionDenied
        | Grpc::Unauthenticated
        | Grpc::InvalidArgument
        | Grpc::FailedPrecondition
        | Grpc::NotFound
        | Grpc::AlreadyExists => Error::Refused {
            code: name(status.code()).into(),
            message,
            retry_after,
        },
        Grpc::Ok | Grpc::Unknown | Grpc::OutOfRange | Grpc::Internal | Grpc::DataLoss => {
            Error::Protocol(message)
        }
    }
}

/// The name of a gRPC code as its specification writes it, in lower case.
fn name(code: tonic::Code) -> &'static str {
    use tonic::Code as Grpc;
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

/// Our connector's error, or TLS's own, anywhere in the chain of causes.
fn connection_cause(error: &(dyn StdError + 'static)) -> Option<Error> {
    for error in causes(error) {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours.clone());
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(match tls {
                rustls::Error::InvalidCertificate(cause) => {
                    Error::Certificate(cause.to_string().into())
                }
                // Not a record of TLS at all, such as an HTTP server's complaint: the wrong port.
                rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                    Error::Unreachable("whoever answers there does not speak TLS".into())
                }
                other => Error::Tls(other.to_string().into()),
            });
        }
        // The source of an `io::Error` is the source of what it wraps, so the latter must be asked for.
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            if let Some(found) = io.get_ref().and_then(|inner| connection_cause(inner)) {
                return Some(found);
            }
            let text = io.to_string().into();
            // HTTP/2 keeps an error's kind and text only; this kind is what TLS gives its own.
            return Some(match io.kind() {
                std::io::ErrorKind::InvalidData => Error::Tls(text),
                _ => Error::Lost(text),
            });
        }
    }
    None
}

/// An error and what caused it, innermost last.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Text that another party wrote: bounded, and with nothing in it that a terminal would obey.
fn foreign(text: &str) -> Arc<str> {
    text.chars()
        .take(limits::FOREIGN_TEXT)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn status(grpc: tonic::Code, reason: &str, domain: &str) -> tonic::Status {
        let details = ErrorDetails::with_error_info(reason, domain, [("k", "v")].map(own));
        tonic::Status::with_error_details(grpc, "words", details)
    }

    fn own((k, v): (&str, &str)) -> (String, String) {
        (k.to_owned(), v.to_owned())
    }

    #[test]
    fn each_code_comes_back_as_what_it_is() {
        for code in Code::ALL {
            let error = Error::from(status(tonic::Code::Unknown, code.code(), DOMAIN));
            assert_eq!(error.refusal(), Some(*code));
            assert_eq!(error.is_transient(), *code == Code::TooBusy);
        }
        for fault in Fault::ALL {
            let error = Error::from(status(tonic::Code::PermissionDenied, fault.code(), DOMAIN));
            assert!(
                matches!(&error, Error::Fault { code, .. } if **code == *fault.code()),
                "{error}"
            );
            assert!(error.is_transient());
        }
    }

    #[test]
    fn codes_of_a_later_version_are_sorted_by_the_grpc_code() {
        let refused = Error::from(status(tonic::Code::PermissionDenied, "new_rule", DOMAIN));
        assert!(refused.is_refusal(), "{refused}");
        let failed = Error::from(status(tonic::Code::Unavailable, "new_fault", DOMAIN));
        assert!(matches!(failed, Error::Fault { .. }), "{failed}");
    }

    #[test]
    fn details_of_another_domain_are_not_ours() {
        let error = Error::from(status(
            tonic::Code::Unavailable,
            "policy_denied",
            "example.org",
        ));
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }

    #[test]
    fn foreign_text_is_bounded_and_cannot_drive_a_terminal() {
        let n = limits::FOREIGN_TEXT;
        assert_eq!(foreign(&"a".repeat(n)).chars().count(), n);
        assert_eq!(foreign(&"a".repeat(n + 1)).chars().count(), n);
        assert_eq!(&*foreign("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn a_tls_error_is_found_inside_an_io_error() {
        let tls = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
        assert!(matches!(Error::from_handshake(&io), Error::Tls(_)));
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
        let wrapped = std::io::Error::other(io);
        assert!(matches!(
            Error::from_handshake(&wrapped),
            Error::Certificate(_)
        ));
    }

    #[test]
    fn a_peer_without_tls_is_not_a_matter_of_trust() {
        let tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
        assert!(matches!(Error::from_handshake(&io), Error::Unreachable(_)));
    }

    #[test]
    fn a_connection_is_lost_only_where_there_was_one() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(
            Error::from_handshake(&io()),
            Error::Unreachable(_)
        ));
        let mut status = tonic::Status::unknown("transport error");
        status.set_source(Arc::new(io()));
        assert!(matches!(Error::from(status), Error::Lost(_)));
    }
}
