//! What a broker is started with.

use crate::support::svid::{Authority, DAY, Identity, NOW, pem, shift, tlv, uri_name};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::clock::{Clock as _, SystemClock, SystemRandomness, random};
use rustls_pki_types::CertificateDer;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use x509_parser::asn1_rs::{Any, BitString, FromDer as _, Sequence};
use x509_parser::num_bigint::BigInt;

/// A workload's certificate in files.
pub(crate) struct Svid {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) serial: u64,
}

/// A configuration that can still be changed.
pub(crate) struct Setup {
    /// The whole of `cambist.toml`.
    pub(crate) config: String,
    /// The policies.
    pub(crate) policies: String,
    pub(crate) home: Authority,
    pub(crate) partner: Authority,
}

const POLICIES: &str = r#"
@id("keys-of-teams")
permit (principal is ApiKey, action == Action::"exchange", resource);

@id("workloads-of-ours")
permit (principal in TrustDomain::"example.org", action == Action::"exchange", resource);

@id("partners-shop")
permit (
  principal in TrustDomain::"partner.example.com",
  action == Action::"exchange",
  resource == Audience::"shop"
);

@id("not-on-mars")
forbid (principal is ApiKey, action, resource)
when { principal.hasTag("planet") && principal.getTag("planet") == "mars" };

@id("kiosks-stay-in-the-shop")
@exchange_to("shop")
permit (
  principal == Workload::"spiffe://example.org/kiosk",
  action == Action::"exchange",
  resource == Audience::"shop"
);
"#;

const AUDIENCES: &str = r#"
[[audience]]
name = "shop"
aliases = ["https://shop.example.org"]
owner = "team-shop"
servers = ["spiffe://example.org/shop", "spiffe://example.org/till"]
scopes = ["orders:read", "orders:write"]

[[audience]]
name = "billing"
owner = "team-billing"
servers = ["spiffe://example.org/billing"]
scopes = ["invoices:read", "orders:read"]
max_lifetime = "2m"

[[audience]]
name = "vault"
owner = "team-vault"
scopes = ["secrets:read"]
bound = true

[[audience]]
name = "ledger"
owner = "team-ledger"
tenant = "retail"
scopes = ["ledger:read"]
"#;

impl Setup {
    pub(super) fn new(port: u16, ops: u16) -> Self {
        // Segments as small as they may be, so that tests get to see more than one.
        let config = format!(
            r#"
issuer = "https://localhost:{port}"
node = "node-1"
data = "data"

[[listener]]
address = "127.0.0.1:{port}"

[[listener]]
address = "unix:s"
faces = ["grpc"]

[tls]
certificate = "server.pem"
key = "server.key"

[ops]
address = "127.0.0.1:{ops}"

[admin]
spiffe_ids = ["spiffe://example.org/admin"]
explain = ["spiffe://example.org/curious"]

[keys]
seal_key_file = "seal.key"

[[trust_domain]]
name = "example.org"
bundle = "example.org.pem"
crls = ["example.org.crl"]

[[trust_domain]]
name = "partner.example.com"
bundle = "partner.example.com.pem"

[policy]
files = ["policies"]

[log]
segment_bytes = 1_048_576
{AUDIENCES}"#
        );
        Self {
            config,
            policies: POLICIES.to_owned(),
            home: Authority::new("example.org"),
            partner: Authority::new("partner.example.com"),
        }
    }

    /// Writes everything into a folder.
    pub(super) fn write(&self, at: &Path) {
        let write = |name: &str, content: &str| fs::write(at.join(name), content).unwrap();
        let server = Authority::new("server.example.org");
        write("ca.pem", &pem("CERTIFICATE", &server.certificate));
        let identity = server.server();
        write("server.pem", &identity.chain_pem());
        write("server.key", &identity.key_pem);
        for authority in [&self.home, &self.partner] {
            let name = format!("{}.pem", authority.domain);
            write(&name, &pem("CERTIFICATE", &authority.certificate));
        }
        write("example.org.crl", &crl(&self.home, &[]));
        fs::create_dir(at.join("policies")).unwrap();
        write("policies/tests.cedar", &self.policies);
        write("cambist.toml", &self.config);
        let seal: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        fs::write(at.join("seal.key"), seal).unwrap();
        for secret in ["seal.key", "server.key"] {
            fs::set_permissions(at.join(secret), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// A revocation list of ten years around today.
pub(crate) fn crl(authority: &Authority, serials: &[u64]) -> String {
    let year = 365 * 86_400;
    pem("X509 CRL", &authority.crl(serials, -5 * year, 5 * year))
}

impl Svid {
    /// `x5t#S256` of the certificate (RFC 8705 section 3.1).
    pub(crate) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.leaf))
    }

    pub(crate) fn issue(folder: &Path, authority: &Authority, id: &str, seconds: i64) -> Self {
        Self::named(folder, authority, &[id], seconds)
    }

    /// What whoever holds this one makes of it without any other key: in the issuer's signature, one over P-256, `s` is
    /// taken from the order of the curve, and nothing else is changed.
    pub(crate) fn flipped(&self) -> Self {
        const ORDER: &[u8] = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        let (_, whole) = Sequence::from_der(&self.leaf).unwrap();
        let (rest, signed) = Any::from_der(&whole.content).unwrap();
        let (rest, algorithm) = Any::from_der(rest).unwrap();
        let (_, bits) = BitString::from_der(rest).unwrap();
        let (_, numbers) = Sequence::from_der(&bits.data).unwrap();
        let (s, r) = Any::from_der(&numbers.content).unwrap();
        let (_, s) = Any::from_der(s).unwrap();
        let order = BigInt::parse_bytes(ORDER, 16).unwrap();
        let s = order - BigInt::from_signed_bytes_be(s.data);
        let numbers = [tlv(2, r.data), tlv(2, &s.to_signed_bytes_be())].concat();
        let bits = [vec![0], tlv(0x30, &numbers)].concat();
        let parts = [
            tlv(0x30, signed.data),
            tlv(0x30, algorithm.data),
            tlv(3, &bits),
        ];
        let leaf = CertificateDer::from(tlv(0x30, &parts.concat()));
        let certificate = self.certificate.with_extension("flipped.pem");
        fs::write(&certificate, pem("CERTIFICATE", &leaf)).unwrap();
        Self {
            certificate,
            key: self.key.clone(),
            leaf,
            serial: self.serial,
        }
    }

    /// A certificate that ends in some seconds, with these names.
    pub(crate) fn named(folder: &Path, authority: &Authority, ids: &[&str], seconds: i64) -> Self {
        // The tests' authorities count from their own present, the broker from the machine's.
        let now = SystemClock::shared().now().as_second() - NOW;
        Self::from_until(folder, authority, ids, now - 60, now + seconds)
    }

    /// One that begins to be good only now, for an hour.
    pub(super) fn from_now(folder: &Path, authority: &Authority, id: &str) -> Self {
        let now = SystemClock::shared().now().as_second() - NOW;
        Self::from_until(folder, authority, &[id], now, now + 3600)
    }

    /// A certificate that is good at the machine's present and at the tests'.
    pub(super) fn lasting(folder: &Path, authority: &Authority, id: &str) -> Self {
        Self::from_until(folder, authority, &[id], -3650 * DAY, 3650 * DAY)
    }

    /// One that ends a day after the tests' present.
    pub(super) fn for_a_day(folder: &Path, authority: &Authority, id: &str) -> Self {
        Self::from_until(folder, authority, &[id], -DAY, DAY)
    }

    fn from_until(
        folder: &Path,
        authority: &Authority,
        ids: &[&str],
        from: i64,
        until: i64,
    ) -> Self {
        static ISSUED: AtomicUsize = AtomicUsize::new(1);
        let serial = u64::try_from(ISSUED.fetch_add(1, Ordering::Relaxed)).unwrap();
        let identity: Identity = authority.issue(|params| {
            params.subject_alt_names = ids.iter().copied().map(uri_name).collect();
            params.serial_number = Some(serial.into());
            shift(params, from, until);
        });
        let file = |ending| folder.join(format!("svid-{serial}.{ending}"));
        fs::write(file("pem"), identity.chain_pem()).unwrap();
        fs::write(file("key"), &identity.key_pem).unwrap();
        fs::set_permissions(file("key"), fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            certificate: file("pem"),
            key: file("key"),
            leaf: identity.chain[0].clone(),
            serial,
        }
    }
}

/// Ports that are taken at once.
const BLOCK: u16 = 100;

/// A port that nobody has, nor another run of tests on this machine, outside of the range from which the system takes ports
/// by itself: a broker that is started again needs the same.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<(Vec<UnixListener>, Range<u16>)> = Mutex::new((Vec::new(), 0..0));
    let mut taken = TAKEN.lock().unwrap();
    let (blocks, ports) = &mut *taken;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    loop {
        if let Some(port) = ports.find(is_free) {
            return port;
        }
        let [drawn]: [u8; 1] = random(&*SystemRandomness::shared()).unwrap();
        let first = 10_000 + u16::from(drawn) % 200 * BLOCK;
        // A name that one process has as long as it lives, among those that share the ports too.
        let name = format!("cambist-tests-ports-{first}");
        let name = SocketAddr::from_abstract_name(name).unwrap();
        if let Ok(block) = UnixListener::bind_addr(&name) {
            blocks.push(block);
            *ports = first..first + BLOCK;
        }
    }
}
