//! The other certificate that is as good as one with an ECDSA signature.
//!
//! Where a signature (r, s) verifies, (r, n − s) does too, n being the order of the curve: verification ends with the x
//! coordinate of a point, which its negative shares (SEC 1, section 4.1.4). So whoever has such a certificate makes a second
//! one without any key: of all that it says nothing is changed but the signature, and with that its fingerprint. There is no
//! third one: the twin's twin is the certificate itself.

use x509_parser::asn1_rs::{Any, BitString, FromDer as _, Integer, Sequence, ToDer as _};
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
};
use x509_parser::x509::AlgorithmIdentifier;

const ECDSA: [Oid<'static>; 3] = [
    OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ECDSA_WITH_SHA512,
];

/// The orders of P-256, P-384 and P-521 (SP 800-186, section 3.2.1), the curves of the issuers that are believed.
const ORDERS: [&[u8]; 3] = [
    b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    b"1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
];

/// The twin of a certificate, both in DER. None where the signature is not ECDSA.
pub(super) fn twin(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, whole) = Sequence::from_der(certificate).ok()?;
    let (rest, _signed) = Any::from_der(&whole.content).ok()?;
    let (signature, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    if !ECDSA.contains(&algorithm.algorithm) {
        return None;
    }
    let before = whole.content.strip_suffix(signature)?;
    let (_, bits) = BitString::from_der(signature).ok()?;
    let (_, numbers) = Sequence::from_der(&bits.data).ok()?;
    let (second, first) = Integer::from_der(&numbers.content).ok()?;
    let (_, second) = Integer::from_der(second).ok()?;
    let (r, s) = (natural(&first), natural(&second));
    // The issuer's curve: both numbers are spread evenly below its order, so that for one of a larger curve to be below the
    // order of a smaller one has a chance of 2⁻¹²⁸.
    let orders = ORDERS.iter().filter_map(|n| BigUint::parse_bytes(n, 16));
    let order = orders.into_iter().find(|n| r < *n && s < *n)?;
    let other = (order - s).to_bytes_be();
    let sign = other.first().filter(|byte| **byte >= 0x80).map(|_| 0);
    let other: Vec<u8> = sign.into_iter().chain(other).collect();
    let numbers = [first.to_der_vec(), Integer::new(&other).to_der_vec()];
    let numbers = Sequence::new(joined(numbers)?.into()).to_der_vec().ok()?;
    let signature = BitString::new(0, &numbers).to_der_vec();
    let whole = joined([Ok(before.to_vec()), signature])?;
    Sequence::new(whole.into()).to_der_vec().ok()
}

/// A number that is not negative, as whatever verified has none.
fn natural(number: &Integer<'_>) -> BigUint {
    BigUint::from_bytes_be(number.as_ref())
}

fn joined<E>(parts: [Result<Vec<u8>, E>; 2]) -> Option<Vec<u8>> {
    let parts: Result<Vec<_>, E> = parts.into_iter().collect();
    Some(parts.ok()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrustDomain;
    use crate::trust::{BundleMaterial, TrustStore};
    use jiff::Timestamp;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519, SanType, SignatureAlgorithm,
    };
    use rustls_pki_types::CertificateDer;
    use std::collections::BTreeSet;

    /// A trust domain whose authority has such a key, and some of its workloads' certificates.
    fn domain(algorithm: &'static SignatureAlgorithm) -> (TrustStore, Vec<Vec<u8>>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = ca.self_signed(&key).unwrap();
        let store = TrustStore::new();
        let material = BundleMaterial {
            trust_domain: TrustDomain::parse("example.org").unwrap(),
            roots: vec![root.der().clone()],
            crls: Vec::new(),
        };
        store.replace(vec![material]).unwrap();
        let issuer = Issuer::new(ca, key);
        let mut leaf = CertificateParams::default();
        let id = "spiffe://example.org/web".try_into().unwrap();
        leaf.subject_alt_names = vec![SanType::URI(id)];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let own = KeyPair::generate().unwrap();
        let issue = |_| leaf.signed_by(&own, &issuer).unwrap().der().to_vec();
        (store, (0..64).map(issue).collect())
    }

    #[test]
    fn a_twin_is_as_good_and_its_twin_is_the_certificate() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ECDSA_P521_SHA512,
        ] {
            let (store, leaves) = domain(algorithm);
            let mut grown = BTreeSet::new();
            for leaf in leaves {
                let other = twin(&leaf).unwrap();
                assert_ne!(other, leaf);
                assert_eq!(twin(&other), Some(leaf.clone()));
                grown.insert(other.len().cmp(&leaf.len()));
                let verify = |der: &[u8]| {
                    let chain = [CertificateDer::from(der.to_vec())];
                    store.verify(&chain, now).unwrap()
                };
                let (own, others) = (verify(&leaf), verify(&other));
                assert_eq!(own.twin(), Some(others.fingerprint()));
                assert_eq!(others.twin(), Some(own.fingerprint()));
            }
            // The lengths of the numbers, and of all that they are in, change.
            assert!(grown.len() > 1, "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_not_ecdsa_has_no_twin() {
        let (store, leaves) = domain(&PKCS_ED25519);
        let chain = [CertificateDer::from(leaves[0].clone())];
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(store.verify(&chain, now).unwrap().twin(), None);
        assert_eq!(twin(b""), None);
    }
}
