//! What a leaf must look like to be an X.509-SVID, before any signature is checked.

use super::refusal::CertificateRefusal as Refusal;
use crate::id::SpiffeId;
use crate::limits;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// Room that the encoding of an RSA key takes beside its modulus: headers and an exponent.
const KEY_ENCODING: usize = 32;

/// What a leaf of the right form says about itself. Not yet believed.
pub(super) struct Claimed {
    pub(super) spiffe_id: SpiffeId,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Checks sizes and the form of the leaf: all that costs no cryptography.
pub(super) fn check(chain: &[CertificateDer<'_>]) -> Result<Claimed, Refusal> {
    if chain.len() > limits::CHAIN {
        return Err(Refusal::ChainTooLong);
    }
    if chain.iter().any(|der| der.len() > limits::CERTIFICATE) {
        return Err(Refusal::TooLarge);
    }
    let (leaf, authorities) = chain.split_first().ok_or(Refusal::Missing)?;
    let leaf = parse(leaf)?;
    for der in authorities {
        parse(der)?;
    }
    let spiffe_id = spiffe_id(&leaf)?;
    check_usage(&leaf)?;
    let (not_before, not_after) = validity(&leaf)?;
    Ok(Claimed {
        spiffe_id,
        not_before,
        not_after,
    })
}

/// Parses a whole certificate and bounds its key.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Refusal::Malformed)?;
    if !rest.is_empty() {
        return Err(Refusal::Malformed);
    }
    check_key_size(&certificate)?;
    Ok(certificate)
}

/// First and last valid second.
pub(super) fn validity(
    certificate: &X509Certificate<'_>,
) -> Result<(Timestamp, Timestamp), Refusal> {
    let validity = certificate.validity();
    let at = |second| Timestamp::from_second(second).map_err(|_| Refusal::Malformed);
    Ok((
        at(validity.not_before.timestamp())?,
        at(validity.not_after.timestamp())?,
    ))
}

fn check_key_size(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    let spki = certificate.public_key();
    if spki.subject_public_key.data.len() > limits::CERTIFICATE_RSA_BITS / 8 + KEY_ENCODING {
        return Err(Refusal::KeyTooLarge);
    }
    let Ok(PublicKey::RSA(key)) = spki.parsed() else {
        return Ok(());
    };
    let digits = key.modulus.iter().skip_while(|byte| **byte == 0);
    let bits = digits.clone().count() * 8
        - digits
            .clone()
            .next()
            .map_or(0, |first| first.leading_zeros() as usize);
    if bits > limits::CERTIFICATE_RSA_BITS {
        return Err(Refusal::KeyTooLarge);
    }
    Ok(())
}

fn spiffe_id(leaf: &X509Certificate<'_>) -> Result<SpiffeId, Refusal> {
    let names = leaf
        .subject_alternative_name()
        .map_err(|_| Refusal::Malformed)?
        .ok_or(Refusal::NoUri)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name {
            Some(*uri)
        } else {
            None
        }
    });
    let uri = uris.next().ok_or(Refusal::NoUri)?;
    if uris.next().is_some() {
        return Err(Refusal::SeveralUris);
    }
    let id = SpiffeId::parse(uri).map_err(Refusal::NotASpiffeId)?;
    if id.path().is_empty() {
        return Err(Refusal::NoPath);
    }
    Ok(id)
}

fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), Refusal> {
    let malformed = |_| Refusal::Malformed;
    let constraints = leaf.basic_constraints().map_err(malformed)?;
    if constraints.is_some_and(|extension| extension.value.ca) {
        return Err(Refusal::Authority);
    }
    let usage = leaf
        .key_usage()
        .map_err(malformed)?
        .ok_or(Refusal::NoKeyUsage)?;
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(Refusal::SigningKeyUsage);
    }
    if !usage.critical {
        return Err(Refusal::KeyUsageNotCritical);
    }
    if !usage.value.digital_signature() {
        return Err(Refusal::NoDigitalSignature);
    }
    match leaf.extended_key_usage().map_err(malformed)? {
        Some(extended) if !(extended.value.server_auth && extended.value.client_auth) => {
            Err(Refusal::ExtendedKeyUsage)
        }
        _ => Ok(()),
    }
}
