//! Certificate authorities and certificates, good and bad.

use cambist::id::TrustDomain;
use cambist::limits;
use cambist::trust::BundleMaterial;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use time::OffsetDateTime;

/// The tests' present: 2027-01-15T08:00:00Z.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn now() -> Timestamp {
    at(0)
}

pub(crate) fn at(offset: i64) -> Timestamp {
    Timestamp::from_second(NOW + offset).unwrap()
}

fn date(offset: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + offset).unwrap()
}

/// A chain, leaf first, and the leaf's key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) key_pem: String,
}

impl Identity {
    pub(crate) fn clone_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }

    pub(crate) fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect()
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).collect();
    let body = lines.join(&b'\n');
    let body = String::from_utf8(body).unwrap();
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A certificate authority of one trust domain.
pub(crate) struct Authority {
    pub(crate) domain: TrustDomain,
    pub(crate) certificate: CertificateDer<'static>,
    /// What its certificates' chains go on with: the authorities below the root.
    above: Vec<CertificateDer<'static>>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        Self::with(domain, |_| {})
    }

    pub(crate) fn with(domain: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(&format!("root of {domain}"));
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            certificate,
            above: Vec::new(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        self.below_with(name, |_| {})
    }

    pub(crate) fn below_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let above = std::iter::once(certificate.clone()).chain(self.above.clone());
        Self {
            domain: self.domain.clone(),
            above: above.collect(),
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A link certificate: the root's name and key, signed by another root.
    pub(crate) fn linked_by(&self, other: &Self) -> CertificateDer<'static> {
        let params = ca_params(&format!("root of {}", self.domain));
        let link = params.signed_by(self.issuer.key(), &other.issuer).unwrap();
        link.der().clone()
    }

    /// A good workload certificate: `/web` of this domain.
    pub(crate) fn workload(&self) -> Identity {
        self.issue(|_| {})
    }

    /// A workload certificate with something changed.
    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&format!("spiffe://{}/web", self.domain));
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        self.identity(leaf.der().clone(), &key)
    }

    /// A certificate for a key of which only the public half is at hand.
    pub(crate) fn issue_for(&self, public: &impl PublicKeyData) -> Vec<CertificateDer<'static>> {
        let params = leaf_params(&format!("spiffe://{}/web", self.domain));
        let leaf = params.signed_by(public, &self.issuer).unwrap();
        std::iter::once(leaf.der().clone())
            .chain(self.above.clone())
            .collect()
    }

    /// A certificate of exactly `size` bytes.
    pub(crate) fn issue_sized(&self, size: usize) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut padding = size - 700;
        // A signature's length varies by a byte or two, and padding makes up for the rest.
        loop {
            let mut params = leaf_params(&format!("spiffe://{}/web", self.domain));
            let oid = [1, 3, 6, 1, 4, 1, 99_999, 1];
            let content = vec![0; padding];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&oid, content)];
            let leaf = params.signed_by(&key, &self.issuer).unwrap();
            if leaf.der().len() == size {
                return self.identity(leaf.der().clone(), &key);
            }
            padding = padding + size - leaf.der().len();
        }
    }

    /// A server certificate for `localhost` and 127.0.0.1.
    pub(crate) fn server(&self) -> Identity {
        self.issue(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("localhost".try_into().unwrap()),
                SanType::IpAddress("127.0.0.1".parse().unwrap()),
            ];
            // The clients of the tests look at the machine's clock, the server at the tests'.
            params.not_before = date(-3650 * DAY);
            params.not_after = date(3650 * DAY);
        })
    }

    fn identity(&self, leaf: CertificateDer<'static>, key: &KeyPair) -> Identity {
        let chain = std::iter::once(leaf).chain(self.above.clone());
        Identity {
            chain: chain.collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A revocation list that names `serials`, from `this` to `next` seconds from the present.
    pub(crate) fn crl(
        &self,
        serials: &[u64],
        this: i64,
        next: i64,
    ) -> CertificateRevocationListDer<'static> {
        let params = CertificateRevocationListParams {
            this_update: date(this),
            next_update: date(next),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(|serial| revoked(*serial)).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub(crate) fn bundle(&self) -> BundleMaterial {
        self.bundle_with(Vec::new())
    }

    pub(crate) fn bundle_with(
        &self,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> BundleMaterial {
        BundleMaterial {
            trust_domain: self.domain.clone(),
            roots: vec![self.certificate.clone()],
            crls,
        }
    }
}

fn revoked(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date(-DAY),
        reason_code: None,
        invalidity_date: None,
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(-3650 * DAY);
    params.not_after = date(3650 * DAY);
    params
}

fn leaf_params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "workload");
    params.subject_alt_names = vec![uri_name(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.not_before = date(-DAY);
    params.not_after = date(DAY);
    params
}

pub(crate) fn uri_name(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

/// The certificate of a root that is not valid any more, or not yet.
pub(crate) fn shift(params: &mut CertificateParams, from: i64, until: i64) {
    params.not_before = date(from);
    params.not_after = date(until);
}

/// An RSA public key with a modulus of `bits` bits. Nobody has its private half.
#[derive(Debug)]
pub(crate) struct RsaKey(Vec<u8>);

impl RsaKey {
    pub(crate) fn new(bits: usize) -> Self {
        let bytes = bits.div_ceil(8);
        let mut modulus = vec![0xff; bytes];
        modulus[0] >>= bytes * 8 - bits;
        if modulus[0] & 0x80 != 0 {
            modulus.insert(0, 0);
        }
        let content = [tlv(2, &modulus), tlv(2, &[1, 0, 1])].concat();
        Self(tlv(0x30, &content))
    }
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [head, content.to_vec()].concat()
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// One way for a certificate to be bad: its name, what is presented, and the code of the refusal.
pub(crate) type BadCase = (&'static str, Identity, &'static str);

/// Everything that [`bad_cases`] is judged against.
pub(crate) struct World {
    pub(crate) home: Authority,
    /// Believed as well, for its own domain.
    pub(crate) neighbour: Authority,
    pub(crate) stale: Authority,
    pub(crate) lapsed: Authority,
}

pub(crate) const REVOKED_SERIAL: u64 = 666;

impl World {
    pub(crate) fn new() -> Self {
        Self {
            home: Authority::new("example.org"),
            neighbour: Authority::new("neighbour.example.org"),
            stale: Authority::new("stale.example.org"),
            lapsed: Authority::with("lapsed.example.org", |ca| shift(ca, -30 * DAY, -DAY)),
        }
    }

    pub(crate) fn bundles(&self) -> Vec<BundleMaterial> {
        vec![
            self.home
                .bundle_with(vec![self.home.crl(&[REVOKED_SERIAL], -DAY, DAY)]),
            self.stale
                .bundle_with(vec![self.stale.crl(&[], -2 * DAY, -1)]),
            self.lapsed.bundle(),
            self.neighbour.bundle(),
        ]
    }

    /// Every way that is refused within a handshake.
    pub(crate) fn bad_cases(&self) -> Vec<BadCase> {
        let home = &self.home;
        let foreign = Authority::new("example.com");
        let twin = Authority::new("example.org");
        let renamed = Authority::with("example.org", |ca| {
            ca.distinguished_name.push(DnType::CommonName, "somebody");
        });
        let below = home.below("intermediate");
        let constrained = home.below_with("constrained", |ca| {
            ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        let expired_below = home.below_with("expired", |ca| shift(ca, -9 * DAY, -DAY));
        let mut long = home.below("1");
        for n in 2..=limits::CHAIN {
            long = long.below(&n.to_string());
        }
        vec![
            (
                "expired",
                home.issue(|c| shift(c, -2 * DAY, -1)),
                "certificate_expired",
            ),
            (
                "not yet valid",
                home.issue(|c| shift(c, 1, DAY)),
                "certificate_not_yet_valid",
            ),
            (
                "expired intermediate",
                expired_below.workload(),
                "certificate_expired",
            ),
            ("unknown domain", foreign.workload(), "unknown_trust_domain"),
            (
                "one known domain's authority speaks for another",
                self.neighbour
                    .issue(|c| name(c, "spiffe://example.org/web")),
                "unknown_issuer",
            ),
            ("unknown authority", renamed.workload(), "unknown_issuer"),
            (
                "the right name, another key",
                twin.workload(),
                "bad_signature",
            ),
            (
                "two URI names",
                home.issue(|c| {
                    c.subject_alt_names
                        .push(uri_name("spiffe://example.org/admin"));
                }),
                "several_uri_names",
            ),
            ("no URI name", home.server(), "no_uri_name"),
            (
                "no names",
                home.issue(|c| c.subject_alt_names.clear()),
                "no_uri_name",
            ),
            (
                "not SPIFFE",
                home.issue(|c| name(c, "https://example.org/web")),
                "not_a_spiffe_id",
            ),
            (
                "no path",
                home.issue(|c| name(c, "spiffe://example.org")),
                "spiffe_id_without_path",
            ),
            (
                "an authority",
                home.issue(|c| c.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
                "certificate_authority",
            ),
            (
                "keyCertSign",
                home.issue(|c| c.key_usages.push(KeyUsagePurpose::KeyCertSign)),
                "signing_key_usage",
            ),
            (
                "cRLSign",
                home.issue(|c| c.key_usages.push(KeyUsagePurpose::CrlSign)),
                "signing_key_usage",
            ),
            (
                "no key usage",
                home.issue(|c| c.key_usages.clear()),
                "key_usage_missing",
            ),
            (
                "key usage not critical",
                home.issue(|c| {
                    c.key_usages.clear();
                    let usage =
                        CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]);
                    c.custom_extensions.push(usage);
                }),
                "key_usage_not_critical",
            ),
            (
                "no digitalSignature",
                home.issue(|c| c.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
                "no_digital_signature",
            ),
            (
                "client authentication only",
                home.issue(|c| c.extended_key_usages.truncate(1)),
                "extended_key_usage",
            ),
            (
                "revoked",
                home.issue(|c| c.serial_number = Some(SerialNumber::from(REVOKED_SERIAL))),
                "certificate_revoked",
            ),
            (
                "stale revocation list",
                self.stale.workload(),
                "revocation_list_stale",
            ),
            ("expired root", self.lapsed.workload(), "root_expired"),
            (
                "path length",
                constrained.below("too deep").workload(),
                "path_too_complex",
            ),
            (
                "intermediate left out",
                leaf_only(below.workload()),
                "unknown_issuer",
            ),
            ("too long a chain", long.workload(), "chain_too_long"),
            (
                "too large a certificate",
                home.issue_sized(limits::CERTIFICATE + 1),
                "certificate_too_large",
            ),
        ]
    }
}

fn name(params: &mut CertificateParams, uri: &str) {
    params.subject_alt_names = vec![uri_name(uri)];
}

fn leaf_only(mut identity: Identity) -> Identity {
    identity.chain.truncate(1);
    identity
}
