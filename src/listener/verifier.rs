//! TLS settings, and the check of client certificates within the handshake.

use super::identity::ServerIdentity;
use super::settings::ClientCertificates;
use crate::clock::Clock;
use crate::trust::{CertificateRefusal, TrustStore, WorkloadCertificate};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::cell::RefCell;
use std::sync::Arc;

/// What the verifier found in the handshake that is being polled.
pub(super) type Verdict = Result<WorkloadCertificate, CertificateRefusal>;

tokio::task_local! {
    /// Carries the verdict out of rustls, which only keeps bytes. Only a verifier that ran in this very
    /// handshake fills it, so no other path (a resumed session, say) can put a certificate on a connection.
    pub(super) static VERDICT: RefCell<Option<Verdict>>;
}

/// The one cryptographic provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// TLS 1.3 and 1.2, HTTP/2 and HTTP/1.1, no resumption.
pub(super) fn server_config(
    mode: ClientCertificates,
    identity: Arc<ServerIdentity>,
    trust: Arc<TrustStore>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match mode {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional | ClientCertificates::Required => builder
            .with_client_cert_verifier(Arc::new(WorkloadVerifier {
                trust,
                clock,
                provider,
                required: mode == ClientCertificates::Required,
            })),
    };
    let mut config = builder.with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would skip the check of the client certificate, and outlive its revocation.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct WorkloadVerifier {
    trust: Arc<TrustStore>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    required: bool,
}

impl ClientCertVerifier for WorkloadVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// None: the names of the authorities that are believed are nobody's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _rustls_now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let leaf = std::iter::once(end_entity.clone());
        let chain: Vec<_> = leaf.chain(intermediates.iter().cloned()).collect();
        let verdict = self.trust.verify(&chain, self.clock.now());
        let answer = match &verdict {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(rustls::Error::InvalidCertificate(alert(refusal))),
        };
        VERDICT
            .try_with(|slot| slot.replace(Some(verdict)))
            .map_err(|_| {
                rustls::Error::General("a handshake without a place for its verdict".into())
            })?;
        answer
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What the client is told: the TLS alert nearest to the cause, no more.
fn alert(refusal: &CertificateRefusal) -> CertificateError {
    match refusal {
        CertificateRefusal::Expired => CertificateError::Expired,
        CertificateRefusal::NotYetValid => CertificateError::NotValidYet,
        CertificateRefusal::Revoked => CertificateError::Revoked,
        CertificateRefusal::UnknownIssuer | CertificateRefusal::UnknownTrustDomain(_) => {
            CertificateError::UnknownIssuer
        }
        CertificateRefusal::BadSignature => CertificateError::BadSignature,
        CertificateRefusal::Malformed => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}
