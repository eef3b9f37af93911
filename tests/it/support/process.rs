//! The real broker as a process of its own, in a folder that outlives it.

use super::svid::{Authority, DAY, Identity, pem, shift};
use cambist::audit::{Disk, read};
use cambist::clock::SystemRandomness;
use cambist::keys::Kek;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::fs::{Permissions, set_permissions, write};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tower::service_fn;

/// Long enough for the slowest machine, short enough to notice what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that announces nothing.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

const CONFIG: &str = r#"
issuer = "https://cambist.example.org"
node = "node-1"
data = "data"
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "unix:cambist.sock"
faces = ["grpc"]
[tls]
certificate = "server.pem"
key = "server.key"
[ops]
address = "127.0.0.1:0"
[keys]
seal_key_file = "seal.key"
[[audience]]
name = "https://shop.example.org"
aliases = ["shop"]
owner = "team-shop"
servers = ["spiffe://example.org/web"]
scopes = ["orders:read"]
[[trust_domain]]
name = "example.org"
bundle = "bundle.pem"
[policy]
files = ["policies"]
[log]
segment_bytes = 1_048_576
[limits]
drain = "10s"
"#;

/// What a broker needs to run: configuration, certificates, keys, policies, data.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    authority: Authority,
    web: Identity,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = Authority::new("example.org");
        // The process looks at the machine's clock, not at the tests'.
        let web = authority.issue(|params| shift(params, -3650 * DAY, 3650 * DAY));
        let server = authority.server();
        write(at("server.pem"), server.chain_pem()).unwrap();
        write(at("server.key"), &server.key_pem).unwrap();
        set_permissions(at("server.key"), Permissions::from_mode(0o600)).unwrap();
        write(at("bundle.pem"), pem("CERTIFICATE", &authority.certificate)).unwrap();
        Kek::create(&at("seal.key"), &*SystemRandomness::shared()).unwrap();
        std::fs::create_dir(at("policies")).unwrap();
        write(
            at("policies/all.cedar"),
            "@id(\"all\")\npermit (principal, action, resource);\n",
        )
        .unwrap();
        write(at("cambist.toml"), CONFIG).unwrap();
        Self {
            folder,
            authority,
            web,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the configuration's text.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("cambist.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        write(self.path("cambist.toml"), text.replace(from, to)).unwrap();
    }

    /// The command that serves this site, to be changed before it is started.
    pub(crate) fn command(&self) -> Command {
        self.wrapped(&[])
    }

    /// The same, run by another program that ends by executing its arguments.
    pub(crate) fn wrapped(&self, by: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_cambist");
        let mut words: Vec<&str> = by.to_vec();
        words.push(binary);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["serve", "--log", "info,cambist=debug", "--config"])
            .arg(self.path("cambist.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn start(&self) -> Broker {
        Broker::start(self, self.command()).await
    }

    /// How a broker of this site is reached that listens at `address` and `ops`.
    pub(crate) fn reach(&self, address: SocketAddr, ops: SocketAddr) -> Reach {
        Reach {
            address,
            ops,
            socket: self.path("cambist.sock"),
            ca: pem("CERTIFICATE", &self.authority.certificate),
            web: (self.web.chain_pem(), self.web.key_pem.clone()),
        }
    }

    /// Runs a broker that is expected not to start: its exit code and what it says.
    pub(crate) async fn fails(&self, args: &[&str]) -> (i32, String) {
        let mut command = self.command();
        let child = command.args(args).spawn().unwrap();
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        let ended = ended.expect("it started, or hangs").unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        (ended.status.code().unwrap(), said)
    }

    /// Every record of a log that nobody has open, in order; panics where one is missing.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.records_from(0)
    }

    pub(crate) fn records_from(&self, from: u64) -> Vec<Value> {
        let device = Arc::new(Disk::open(&self.path("data/log"), 0).unwrap());
        read::records(device, from)
            .unwrap()
            .zip(from..)
            .map(|(entry, expected)| {
                let entry = entry.unwrap();
                assert_eq!(entry.sequence, expected);
                let record: Value = serde_json::from_slice(&entry.line).unwrap();
                assert_eq!(record["seq"], expected);
                record
            })
            .collect()
    }
}

/// How a broker is reached.
pub(crate) struct Reach {
    address: SocketAddr,
    ops: SocketAddr,
    socket: PathBuf,
    ca: String,
    web: (String, String),
}

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    said: watch::Receiver<Vec<String>>,
    reach: Reach,
}

impl Deref for Broker {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.reach
    }
}

impl Broker {
    /// Starts `command` and waits until the broker is ready.
    pub(crate) async fn start(site: &Site, command: Command) -> Self {
        let broker = Self::start_unready(site, command).await;
        broker.until_ready(true).await;
        broker
    }

    /// Starts `command` and waits until the broker listens.
    pub(crate) async fn start_unready(site: &Site, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, mut said) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|all: &mut Vec<String>| all.push(line));
            }
        });
        let address = listens(&mut said, "listening").await;
        let ops = listens(&mut said, "operations listening").await;
        Self {
            child,
            said,
            reach: site.reach(address, ops),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn kill9(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end: {:#?}", self.said()))
            .unwrap()
    }

    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// What it wrote on standard error so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.borrow().clone()
    }

    /// Waits until it has written a line with `text`.
    pub(crate) async fn says(&self, text: &str) {
        let mut said = self.said.clone();
        let heard = said.wait_for(|lines| lines.iter().any(|line| line.contains(text)));
        let heard = timeout(PATIENCE, heard).await.map(|heard| heard.is_ok());
        assert_eq!(heard, Ok(true), "never said {text}: {:#?}", self.said());
    }
}

impl Reach {
    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("https://{}", self.address)).unwrap()
    }

    /// A connection over TLS without a client certificate; it is made at the first call.
    pub(crate) fn tls(&self) -> Channel {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .domain_name("localhost");
        self.endpoint().tls_config(tls).unwrap().connect_lazy()
    }

    /// The same as the workload `web`.
    pub(crate) fn mtls(&self) -> Channel {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(TlsIdentity::from_pem(&self.web.0, &self.web.1))
            .domain_name("localhost");
        self.endpoint().tls_config(tls).unwrap().connect_lazy()
    }

    /// An administrator's connection over the Unix socket.
    pub(crate) fn socket(&self) -> Channel {
        let path = self.socket.clone();
        let open = move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        };
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(service_fn(open))
    }

    /// Status and body of a path on the operations listener.
    pub(crate) async fn ops(&self, path: &str) -> std::io::Result<(u16, String)> {
        http_get(TcpStream::connect(self.ops).await?, path).await
    }

    /// Waits until `/readyz` says so; its last answer.
    pub(crate) async fn until_ready(&self, ready: bool) -> String {
        let looking = async {
            loop {
                match self.ops("/readyz").await {
                    Ok((200, body)) if ready => return body,
                    Ok((503, body)) if !ready => return body,
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        };
        let seen = timeout(PATIENCE, looking).await;
        seen.unwrap_or_else(|_| panic!("never ready == {ready}"))
    }

    /// A path of the HTTP face, over TLS.
    pub(crate) async fn https(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config));
        http_get(tls.connect(name, stream).await?, path).await
    }
}

async fn http_get<S>(mut stream: S, path: &str) -> std::io::Result<(u16, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, body.to_owned()))
}

/// Waits for the TCP address in the line that says `message`.
async fn listens(said: &mut watch::Receiver<Vec<String>>, message: &str) -> SocketAddr {
    let find = |lines: &Vec<String>| {
        lines.iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let fields = &line["fields"];
            (fields["message"] == message)
                .then(|| fields["address"].as_str()?.parse().ok())
                .flatten()
        })
    };
    let heard = timeout(PATIENCE, said.wait_for(|lines| find(lines).is_some())).await;
    let found = heard
        .ok()
        .and_then(Result::ok)
        .and_then(|lines| find(&lines));
    found.unwrap_or_else(|| panic!("it does not start: {:#?}", said.borrow()))
}
