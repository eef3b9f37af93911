//! Generated code for `proto/cambist/v1`. Imported only by `grpc`, `client`, `verify` and `cli`.

#![expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

tonic::include_proto!("cambist.v1");

/// The file descriptors of this package, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");

/// Prints a message without the field that is a secret.
macro_rules! redacted {
    ($message:ty, $secret:ident, $($field:ident),*) => {
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let Self { $secret: _, $($field,)* } = self;
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), $field))*
                    .finish_non_exhaustive()
            }
        }
    };
}

redacted!(Token, value, r#type);
redacted!(
    ExchangeResponse,
    access_token,
    token_type,
    expires_at,
    expires_in,
    scopes,
    token_id,
    credential_id,
    bound,
    receipt
);
redacted!(CreateKeyResponse, secret, key, already_delivered);
redacted!(RotateKeyResponse, secret, key, already_delivered);
redacted!(ReportLeakRequest, secret, url, reason, idempotency_key);
redacted!(CheckRequest, token, presenter_certificate_sha256);

impl std::fmt::Debug for RevokeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            thing,
            before,
            ban,
            reason,
            dry_run,
            idempotency_key,
        } = self;
        f.debug_struct("RevokeRequest")
            .field("thing", thing)
            .field("before", before)
            .field("ban", ban)
            .field("reason", reason)
            .field("dry_run", dry_run)
            .field("idempotency_key", idempotency_key)
            .finish()
    }
}

/// What is revoked may be named by a secret.
impl std::fmt::Debug for revoke_request::Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, shown) = match self {
            Self::Token(_) => ("Token", ""),
            Self::ApiKey(_) => ("ApiKey", ""),
            Self::Certificate(_) => ("Certificate", ""),
            Self::PeerCertificate(_) => ("PeerCertificate", ""),
            Self::TokenId(text) => ("TokenId", text.as_str()),
            Self::CredentialId(text) => ("CredentialId", text.as_str()),
            Self::Subject(text) => ("Subject", text.as_str()),
            Self::Issuer(text) => ("Issuer", text.as_str()),
            Self::TrustDomain(text) => ("TrustDomain", text.as_str()),
            Self::SigningKey(text) => ("SigningKey", text.as_str()),
            Self::Owner(text) => ("Owner", text.as_str()),
        };
        f.debug_tuple(kind).field(&shown).finish()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::fmt::Debug for credential::Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(..)",
            Self::Token(_) => "Token(..)",
            Self::PeerCertificate(_) => "PeerCertificate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_prints_its_secret() {
        let canary = || "canary-9b1f".to_owned();
        let token = Token {
            value: canary(),
            r#type: String::new(),
        };
        let credential = |kind| Credential { kind: Some(kind) };
        let revocation = |thing| RevokeRequest {
            thing: Some(thing),
            ..RevokeRequest::default()
        };
        let shown = [
            format!("{:?}", credential(credential::Kind::ApiKey(canary()))),
            format!("{:?}", credential(credential::Kind::Token(token))),
            format!(
                "{:?}",
                ExchangeResponse {
                    access_token: canary(),
                    ..ExchangeResponse::default()
                }
            ),
            format!(
                "{:?}",
                CreateKeyResponse {
                    secret: canary(),
                    ..CreateKeyResponse::default()
                }
            ),
            format!(
                "{:?}",
                RotateKeyResponse {
                    secret: canary(),
                    ..RotateKeyResponse::default()
                }
            ),
            format!("{:?}", revocation(revoke_request::Thing::Token(canary()))),
            format!("{:?}", revocation(revoke_request::Thing::ApiKey(canary()))),
            format!(
                "{:?}",
                CheckRequest {
                    token: canary(),
                    ..CheckRequest::default()
                }
            ),
            format!(
                "{:?}",
                ReportLeakRequest {
                    secret: canary(),
                    ..ReportLeakRequest::default()
                }
            ),
        ];
        assert!(
            shown.iter().all(|text| !text.contains("canary")),
            "{shown:?}"
        );
    }
}
