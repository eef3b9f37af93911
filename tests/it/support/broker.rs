//! The real binary as a process of its own, with everything around it that a broker needs: certificates, trust,
//! policies, audiences, a folder.

mod caller;
mod setup;

pub(crate) use caller::{Caller, api_key, ask, claims, delegated, peer, refusal, reply, token};
pub(crate) use setup::{Setup, Svid, crl};

use super::edge::{Client, within};
use super::svid::Authority;
use cambist::client::{Endpoint, TlsFiles};
use cambist::clock::{Clock as _, SystemClock};
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::policy_client::PolicyClient;
use cambist::proto::{Audience, CreateKeyRequest, CreateKeyResponse, KeySpec};
use http::StatusCode;
use prost_types::Timestamp as ProtoTimestamp;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

/// How often a condition is looked at again.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// A running broker. It is killed when this is dropped.
pub(crate) struct Broker {
    /// `https://localhost:PORT`, as its tokens say.
    pub(crate) issuer: String,
    /// The authority that its own certificate is of.
    pub(crate) ca: PathBuf,
    /// A key for `shop` and `billing` with all their scopes.
    pub(crate) api_key: String,
    /// A good certificate of `spiffe://example.org/web`.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Where administrators come.
    pub(crate) socket: PathBuf,
    /// Store and log.
    pub(crate) data: PathBuf,
    pub(crate) pid: u32,
    /// Everything of this broker.
    pub(crate) folder: PathBuf,
    /// Of `example.org`, whose workloads are believed. `partner.example.com` is believed as well.
    pub(crate) home: Authority,
    pub(crate) partner: Authority,
    ops: SocketAddr,
    listens: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts one with something changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("b")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let at = folder.path().to_owned();
        let (port, ops) = (setup::free_port(), setup::free_port());
        let mut setup = Setup::new(&at, port, ops);
        change(&mut setup);
        let web = setup.write();
        let process = serve(&at);
        let mut broker = Self {
            issuer: format!("https://localhost:{port}"),
            ca: at.join("ca.pem"),
            api_key: String::new(),
            certificate: web.certificate,
            key: web.key,
            socket: at.join("s"),
            data: at.join("data"),
            pid: process.id().unwrap(),
            folder: at,
            home: setup.home,
            partner: setup.partner,
            ops: (Ipv4Addr::LOCALHOST, ops).into(),
            listens: (Ipv4Addr::LOCALHOST, port).into(),
            process,
            _folder: folder,
        };
        broker.ready().await;
        let scopes = ["orders:read", "orders:write", "invoices:read"];
        broker.api_key = broker
            .create_key(spec(&["shop", "billing"], &scopes))
            .await
            .secret;
        broker
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let ready = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    panic!("the broker ended ({status}): {}", self.stderr());
                }
                if self.operations("/readyz").await.map(|(status, _)| status)
                    == Some(StatusCode::OK)
                {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready)
            .await
            .expect("the broker does not become ready");
    }

    /// What the operations listener answers, if it is there.
    pub(crate) async fn operations(&self, path: &str) -> Option<(StatusCode, String)> {
        let stream = TcpStream::connect(self.ops).await.ok()?;
        let mut client = Client::h1(stream).await.ok()?;
        let (status, _, body) = client.get(path).await.ok()?;
        Some((status, body))
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill9(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        within("the broker to end", self.process.wait())
            .await
            .unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Starts it again on what it left, however it ended.
    pub(crate) async fn restart(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.terminate().await;
        }
        self.process = serve(&self.folder);
        self.pid = self.process.id().unwrap();
        self.ready().await;
    }

    /// What it wrote to standard output and standard error so far, of all its runs.
    pub(crate) fn stderr(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap();
        read("stdout") + &read("stderr")
    }

    /// The records of its log, in order.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        records(&self.data.join("log"))
    }

    /// Waits until the log holds a record like this, and gives the last of them.
    pub(crate) async fn record(
        &self,
        like: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let found = async {
            loop {
                if let Some(found) = self.records().into_iter().rfind(&like) {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        within("a record", found).await
    }

    /// A workload's certificate, good for an hour.
    pub(crate) fn svid(&self, id: &str) -> Svid {
        let authority = match id.starts_with("spiffe://example.org/") {
            true => &self.home,
            false => &self.partner,
        };
        Svid::issue(&self.folder, authority, id, 3600)
    }

    /// One that ends in some seconds.
    pub(crate) fn svid_for(&self, id: &str, seconds: i64) -> Svid {
        Svid::issue(&self.folder, &self.home, id, seconds)
    }

    /// A caller without a certificate.
    pub(crate) async fn anybody(&self) -> Caller {
        Caller::new(self.channel(None).await)
    }

    /// A caller with one.
    pub(crate) async fn workload(&self, svid: &Svid) -> Caller {
        Caller::new(self.channel(Some(svid)).await)
    }

    pub(crate) async fn channel(&self, svid: Option<&Svid>) -> Channel {
        self.endpoint(svid).channel().await.unwrap()
    }

    pub(crate) fn endpoint(&self, svid: Option<&Svid>) -> Endpoint {
        let mut tls = TlsFiles::new(&self.ca);
        if let Some(svid) = svid {
            tls = tls.with_certificate(&svid.certificate, &svid.key);
        }
        Endpoint::https(&self.issuer, tls).unwrap()
    }

    /// A channel of an administrator.
    pub(crate) async fn local(&self) -> Channel {
        let endpoint = Endpoint::unix(&self.socket).unwrap();
        endpoint.channel().await.unwrap()
    }

    pub(crate) async fn inventory(&self) -> InventoryClient<Channel> {
        InventoryClient::new(self.local().await)
    }

    pub(crate) async fn policy(&self) -> PolicyClient<Channel> {
        PolicyClient::new(self.local().await)
    }

    pub(crate) async fn create_key(&self, spec: KeySpec) -> CreateKeyResponse {
        let request = CreateKeyRequest {
            spec: Some(spec),
            idempotency_key: String::new(),
        };
        let mut inventory = self.inventory().await;
        inventory.create_key(request).await.unwrap().into_inner()
    }

    /// A TLS connection that speaks `protocol`.
    pub(crate) async fn http(&self, protocol: &str) -> Client {
        let stream = self.tls(protocol).await;
        match protocol {
            "h2" => Client::h2(stream).await.unwrap(),
            _ => Client::h1(stream).await.unwrap(),
        }
    }

    pub(crate) async fn tls(&self, protocol: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let config = setup::client_config(&self.ca, protocol);
        super::edge::connect(self.listens, config).await.unwrap()
    }

    /// A bare connection to its port.
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.listens).await.unwrap()
    }
}

/// The records under a log's folder.
fn records(log: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<_> = fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let lines = files.iter().flat_map(|file| {
        let bytes = fs::read(file).unwrap();
        let lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        lines
    });
    lines
        .filter(|line| line.starts_with(br#"{"v":1,"seq":"#))
        .filter_map(|line| serde_json::from_slice(&line).ok())
        .collect()
}

fn serve(folder: &Path) -> Child {
    let append = |name| {
        let mut options = File::options();
        Stdio::from(
            options
                .append(true)
                .create(true)
                .open(folder.join(name))
                .unwrap(),
        )
    };
    Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(["serve", "--log", "debug", "--config"])
        .arg(folder.join("cambist.toml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(append("stdout"))
        .stderr(append("stderr"))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A key of `team-shop` for a day.
pub(crate) fn spec(audiences: &[&str], scopes: &[&str]) -> KeySpec {
    KeySpec {
        owner: "team-shop".into(),
        purpose: "tests".into(),
        audiences: audiences.iter().copied().map(str::to_owned).collect(),
        scopes: scopes.iter().copied().map(str::to_owned).collect(),
        expires_at: Some(from_now(86_400)),
        ..KeySpec::default()
    }
}

/// An audience that is not in the configuration.
pub(crate) fn audience(name: &str) -> Audience {
    Audience {
        name: name.into(),
        owner: "team-press".into(),
        scopes: vec!["print".into()],
        ..Audience::default()
    }
}

/// An instant some seconds ahead.
pub(crate) fn from_now(seconds: i64) -> ProtoTimestamp {
    ProtoTimestamp {
        seconds: SystemClock::shared().now().as_second() + seconds,
        nanos: 0,
    }
}
