//! The certificates of a development broker: one CA for its TLS name, one for its trust domain.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use time::OffsetDateTime;

/// Clocks of machines nearby may be behind.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// A certificate and its private key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A certificate authority that signs leaves.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: Timestamp,
}

impl Authority {
    /// A new authority, valid from about `now`.
    pub(super) fn new(name: &str, now: Timestamp) -> anyhow::Result<Self> {
        let mut params = params(name, now, CA_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, now })
    }

    /// The authority's own certificate, PEM: what others trust.
    pub(super) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for this machine's loopback names.
    pub(super) fn server(&self) -> anyhow::Result<Pair> {
        let mut params = params("cambist dev server", self.now, LEAF_LIFE)?;
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// An X.509-SVID (SPIFFE X509-SVID sections 2 to 4).
    pub(super) fn workload(&self, spiffe_id: &str) -> anyhow::Result<Pair> {
        let mut params = params("cambist dev workload", self.now, LEAF_LIFE)?;
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn params(name: &str, now: Timestamp, life: SignedDuration) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    // Two certificates with one distinguished name confuse path building.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.not_before = moment(now, -BACKDATED)?;
    params.not_after = moment(now, life)?;
    Ok(params)
}

fn moment(now: Timestamp, offset: SignedDuration) -> anyhow::Result<OffsetDateTime> {
    let at = now
        .checked_add(offset)
        .context("the clock is out of range")?;
    Ok(OffsetDateTime::from_unix_timestamp(at.as_second())?)
}
