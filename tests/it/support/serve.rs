//! `cambist serve` as a process of its own, and what it needs around it.

use super::command::{Ran, cambist};
use super::pki;
use super::svid::{Authority, NOW, pem, shift, uri_name};
use cambist::clock::{Clock as _, SystemClock};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(60);

const POLICIES: &str = r#"
@id("keys")
permit (principal is ApiKey, action, resource);

@id("workloads")
@exchange_to("shop")
permit (principal in TrustDomain::"example.org", action, resource == Audience::"shop");
"#;

/// A running broker. It is killed when this is dropped.
pub(crate) struct Serve {
    /// `https://localhost:PORT`, where it listens.
    pub(crate) issuer: String,
    /// Where it listens as well, for administrators.
    pub(crate) socket: String,
    folder: TempDir,
    process: Child,
}

impl Serve {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("c").tempdir();
        let folder = folder.unwrap();
        let [address, ops] = [free_address(), free_address()];
        write(folder.path(), address, ops);
        let mut broker = Self {
            issuer: format!("https://localhost:{}", address.port()),
            socket: format!("unix://{}/s", folder.path().display()),
            process: spawn(folder.path()),
            folder,
        };
        broker.answers().await;
        broker
    }

    /// A file of this broker, or one that a test puts beside them.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Runs a command as an administrator, over the Unix socket.
    pub(crate) async fn admin(&self, args: &[&str]) -> Ran {
        cambist(args, &[("CAMBIST_SERVER", &self.socket)], b"").await
    }

    /// Runs a command as anybody, over TLS.
    pub(crate) async fn anybody(&self, args: &[&str]) -> Ran {
        let ca = self.path("ca.pem");
        let variables = [("CAMBIST_SERVER", &*self.issuer), ("CAMBIST_CA", &ca)];
        cambist(args, &variables, b"").await
    }

    /// Runs a command as `spiffe://example.org/web`, over TLS.
    pub(crate) async fn workload(&self, args: &[&str]) -> Ran {
        let (cert, key) = (self.path("web.pem"), self.path("web.key"));
        let certificate = ["--cert", &cert, "--cert-key", &key];
        let (verb, rest) = args.split_first().unwrap();
        self.anybody(&[&[*verb], &certificate[..], rest].concat())
            .await
    }

    /// Stops it in good order.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        ended.expect("the broker does not end").unwrap()
    }

    /// Starts it again on what is there now.
    pub(crate) async fn again(&mut self) {
        self.process = spawn(self.folder.path());
        self.answers().await;
    }

    /// Waits until it accepts connections. The socket of an earlier run may still be there, and accepts none.
    async fn answers(&mut self) {
        let answers = async {
            while UnixStream::connect(self.folder.path().join("s"))
                .await
                .is_err()
            {
                if let Some(status) = self.process.try_wait().unwrap() {
                    let log = fs::read_to_string(self.folder.path().join("stderr")).unwrap();
                    panic!("the broker ended ({status}): {log}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answers = tokio::time::timeout(PATIENCE, answers).await;
        answers.expect("the broker does not answer");
    }
}

fn spawn(folder: &Path) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true).open(folder.join("stderr"));
    Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(["serve", "--config"])
        .arg(folder.join("cambist.toml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The issuer names the port, so it must be known before the broker has it.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn write(folder: &Path, address: SocketAddr, ops: SocketAddr) {
    let file = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    let authority = pki::Authority::new("server CA");
    let server = authority.server();
    file("ca.pem", authority.pem());
    file("server.pem", &server.certificate);
    file("server.key", &server.key);
    // The other tests' present is a fixed day; this broker lives in the machine's.
    let now = SystemClock::shared().now().as_second() - NOW;
    let domain = Authority::with("example.org", |params| {
        shift(params, now - 3600, now + 86_400);
    });
    let web = domain.issue(|params| {
        params.subject_alt_names = vec![uri_name("spiffe://example.org/web")];
        shift(params, now - 3600, now + 3600);
    });
    file("example.org.pem", &pem("CERTIFICATE", &domain.certificate));
    file("web.pem", &web.chain_pem());
    file("web.key", &web.key_pem);
    file("seal.key", "0123456789abcdef0123456789abcdef");
    for secret in ["seal.key", "server.key", "web.key"] {
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.join(secret), owner_only).unwrap();
    }
    file("policies.cedar", POLICIES);
    let port = address.port();
    file(
        "cambist.toml",
        &format!(
            r#"
issuer = "https://localhost:{port}"
node = "node-1"
data = "data"

[[listener]]
address = "{address}"

[[listener]]
address = "unix:s"
faces = ["grpc"]

[tls]
certificate = "server.pem"
key = "server.key"

[ops]
address = "{ops}"

[keys]
seal_key_file = "seal.key"

[[audience]]
name = "shop"
owner = "team-shop"
servers = ["spiffe://example.org/shop"]
scopes = ["read", "write"]

[[trust_domain]]
name = "example.org"
bundle = "example.org.pem"

[policy]
files = ["policies.cedar"]
"#
        ),
    );
}
