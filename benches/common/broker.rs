//! The broker as it is served, and the folder that it is served from.

use super::role::tell;
use cambist::app::{self, World};
use cambist::audit::Device;
use cambist::client::Endpoint;
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::config::Config;
use cambist::keys::Kek;
use cambist::lifecycle::{Ended, Lifecycle, from_os};
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::{CreateKeyRequest, CreateKeyResponse, KeySpec};
use cambist::telemetry::{LogFormat, init};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tonic::transport::Channel;

/// The `iss` of the tokens of both sides.
pub const ISSUER: &str = "https://cambist.example.org";
/// The caller with a certificate.
pub const WORKLOAD: &str = "spiffe://example.org/ns/shop/sa/web";

const POLICY: &str = r#"
@id("shop")
permit (principal, action == Action::"exchange", resource == Audience::"shop")
when { ["orders:read", "orders:write"].containsAll(context.scopes) };
"#;

/// Everything that a run leaves on disk; gone with it. On the disk that `target/` is on, since records must really be synced.
pub struct Folder {
    disk: TempDir,
    /// Elsewhere, since the path of a socket has to be short.
    socket: TempDir,
}

impl Folder {
    /// Certificates, keys, a policy and a configuration, of which `log` is what it says of the log.
    pub fn new(log: &str) -> Self {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let folder = Self {
            disk,
            socket: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(folder.tls()).unwrap();
        folder.certify();
        Kek::create(
            &folder.disk.path().join("seal.key"),
            &*SystemRandomness::shared(),
        )
        .unwrap();
        folder.write("policy.cedar", POLICY);
        folder.write("cambist.toml", &folder.configuration(log));
        folder
    }

    /// The folder of certificates and keys.
    pub fn tls(&self) -> PathBuf {
        self.disk.path().join("tls")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.disk.path().join("cambist.toml")
    }

    /// The running broker's socket: whoever calls there administers it.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::unix(self.socket.path().join("socket")).unwrap();
        endpoint.channel().await.unwrap()
    }

    /// Has the running broker create an API key.
    pub async fn key(&self) -> CreateKeyResponse {
        let spec = KeySpec {
            owner: "team-shop".to_owned(),
            purpose: "load bench".to_owned(),
            audiences: vec!["shop".to_owned()],
            scopes: vec!["orders:read".to_owned()],
            expires_at: Some((SystemTime::now() + Duration::from_hours(24)).into()),
            ..KeySpec::default()
        };
        let request = CreateKeyRequest {
            spec: Some(spec),
            idempotency_key: "bench".to_owned(),
        };
        let mut inventory = InventoryClient::new(self.channel().await);
        inventory.create_key(request).await.unwrap().into_inner()
    }

    fn write(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(self.disk.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn certify(&self) {
        let server = Authority::new();
        self.write("tls/ca.pem", &server.pem);
        let (certificate, key) = server.sign(|params| {
            params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        self.write("tls/server.pem", &certificate);
        self.write("tls/server.key", &key);
        let workloads = Authority::new();
        self.write("tls/workload-ca.pem", &workloads.pem);
        let (certificate, key) = workloads.sign(|params| {
            params.subject_alt_names = vec![SanType::URI(WORKLOAD.try_into().unwrap())];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
        });
        self.write("tls/workload.pem", &certificate);
        self.write("tls/workload.key", &key);
    }

    fn configuration(&self, log: &str) -> String {
        let socket = self.socket.path().display();
        format!(
            r#"
issuer = "{ISSUER}"
node = "bench"
data = "."
tls = {{ certificate = "tls/server.pem", key = "tls/server.key" }}
keys = {{ seal_key_file = "seal.key" }}
ops = {{ address = "127.0.0.1:0" }}
policy = {{ files = ["policy.cedar"] }}
log = {{ {log} }}

[[listener]]
address = "127.0.0.1:0"

[[listener]]
address = "unix:{socket}/socket"
faces = ["grpc"]

[[audience]]
name = "shop"
owner = "team-shop"
servers = ["{WORKLOAD}"]
scopes = ["orders:read", "orders:write"]

[[trust_domain]]
name = "example.org"
bundle = "tls/workload-ca.pem"
"#
        )
    }
}

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate and its key.
    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "process");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Serves as `cambist serve` does, until the process is ended; its records go to `records`, if that is something.
pub async fn serve(config: &Path, records: Option<Arc<dyn Device>>) {
    let config = Config::load(config).unwrap();
    let problems = config.check_files();
    assert!(problems.is_empty(), "{problems:#?}");
    init("warn", LogFormat::of_a_service()).unwrap();
    let lifecycle = Lifecycle::new();
    let signals = from_os(lifecycle.quiet().clone()).unwrap();
    let world = World {
        clock: SystemClock::shared(),
        random: SystemRandomness::shared(),
        lifecycle: lifecycle.clone(),
        accept_rollback: false,
        records,
    };
    let running = app::start(&config, &world).await.unwrap();
    tell("ready", &running.addresses[0].to_string());
    tell("operations", &running.ops.to_string());
    let ended = lifecycle.run(signals, config.limits.drain).await;
    assert_eq!(ended, Ended::Stopped);
}
