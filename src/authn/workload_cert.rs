//! Workload certificates: X.509-SVIDs that the TLS handshake verified.

use super::{
    Authn, Began, Ceiling, CredentialKind, Lineage, MadeFrom, Peer, Reach, Rejected, Uses, Verified,
};
use crate::id::CredentialId;
use crate::marker::{Fence, Kind, Part, Thing, subject};
use crate::refusal::{Code, Refusal};
use crate::trust::WorkloadCertificate;
use jiff::Timestamp;
use std::sync::Arc;

pub(super) fn verify(authn: &Authn, peer: &Peer, now: Timestamp) -> Result<Verified, Rejected> {
    let certificate = recheck(authn, peer, now)?;
    let credential = CredentialId::Certificate(*certificate.fingerprint());
    let sub: Arc<str> = certificate.spiffe_id().as_str().into();
    Ok(Verified {
        kind: CredentialKind::Certificate,
        sub: Arc::clone(&sub),
        client_id: sub,
        credential,
        owner: None,
        tenant: None,
        labels: Arc::clone(&authn.no_labels),
        ceiling: Ceiling {
            audiences: Reach::Policy,
            scopes: Reach::Policy,
            not_after: certificate.not_after(),
        },
        confirmation: Some(*certificate.fingerprint()),
        must_bind: false,
        uses: Uses::Unlimited,
        lineage: Lineage {
            credentials: vec![credential],
            ancestors: Vec::new(),
            exchange: Reach::Policy,
        },
        may_act: None,
        actor: None,
        made_from: MadeFrom::default(),
        began: Began::alone(certificate.not_before()),
        fence: fence(authn, certificate).clone(),
    })
}

/// The peer's certificate, still good: a connection outlives a certificate, a bundle and a CRL.
pub(super) fn recheck<'a>(
    authn: &Authn,
    peer: &'a Peer,
    now: Timestamp,
) -> Result<&'a WorkloadCertificate, Rejected> {
    let certificate = recognise(authn, peer, now)?;
    if let Some(part) = authn.hot.covered(fence(authn, certificate)) {
        let cause = format!(
            "the certificate is revoked, by a marker of its {}",
            part.kind.name()
        );
        return Err(refused(certificate, cause));
    }
    Ok(certificate)
}

/// The peer's certificate in the hand of who gives it up, which is no use of it and only takes away: as its authority has it,
/// whatever is revoked here.
pub(super) fn recognise<'a>(
    authn: &Authn,
    peer: &'a Peer,
    now: Timestamp,
) -> Result<&'a WorkloadCertificate, Rejected> {
    let missing = || {
        Rejected::anonymous(Refusal::new(
            Code::CertificateMissing,
            "the peer showed no certificate",
        ))
    };
    let certificate = peer.certificate.as_deref().ok_or_else(missing)?;
    authn
        .trust
        .recheck(certificate, now)
        .map_err(|error| refused(certificate, error.to_string()))?;
    Ok(certificate)
}

fn refused(certificate: &WorkloadCertificate, cause: String) -> Rejected {
    let credential = CredentialId::Certificate(*certificate.fingerprint());
    Rejected::registered(Refusal::new(Code::CredentialRefused, cause), credential)
}

/// What comes of `verified` is bound to the certificate, and stands or falls with it and with its twin: one that is revoked
/// could otherwise be shown as the other.
pub(super) fn bind(authn: &Authn, verified: &mut Verified, certificate: &WorkloadCertificate) {
    let parts = fence(authn, certificate).parts().iter().copied();
    let mut credentials = parts.filter(|part| part.kind == Kind::Credential);
    // A token names the certificate itself; the twin goes along as a marker that the token falls with.
    verified.fence.extend(credentials.next());
    for twin in credentials {
        verified.fence.push(twin);
        verified.lineage.descend_from(twin.id);
    }
}

/// A certificate, its twin, and its workload since the beginning of its validity.
fn fence<'a>(authn: &Authn, certificate: &'a WorkloadCertificate) -> &'a Fence {
    certificate.fence(|| {
        let (issuer, sub) = (authn.tokens.issuer(), certificate.spiffe_id().as_str());
        let credentials = std::iter::once(certificate.fingerprint()).chain(certificate.twin());
        let credentials = credentials.map(|fingerprint| {
            let id = CredentialId::Certificate(*fingerprint);
            Part::absolute(Thing::Credential(id))
        });
        let subject = subject(issuer, sub, certificate.not_before());
        credentials.chain(subject).collect()
    })
}
