//! How a broker is reached.

use super::{Caller, LOOK, Site, Svid, ask, peer};
use crate::support::edge::{Client, connect, within};
use cambist::client::{Endpoint, TlsFiles};
use cambist::listener::provider;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::policy_client::PolicyClient;
use cambist::proto::{CreateKeyRequest, CreateKeyResponse, KeySpec};
use http::StatusCode;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

impl Site {
    /// A caller without a certificate.
    pub(crate) async fn anybody(&self) -> Caller {
        Caller::new(self.channel(None).await)
    }

    /// A caller with one.
    pub(crate) async fn workload(&self, svid: &Svid) -> Caller {
        Caller::new(self.channel(Some(svid)).await)
    }

    /// The caller `spiffe://example.org/web`.
    pub(crate) async fn web(&self) -> Caller {
        self.workload(&self.web).await
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

    pub(crate) async fn tls(&self, protocol: &str) -> TlsStream<TcpStream> {
        let config = self.tls_config(protocol);
        connect(self.listens, config).await.unwrap()
    }

    /// What a client that trusts this broker and speaks `protocol` is set to.
    pub(crate) fn tls_config(&self, protocol: &str) -> ClientConfig {
        let mut config = self.tls_config_of(None);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config
    }

    /// What a client that trusts this broker is set to, with a certificate or without.
    pub(crate) fn tls_config_of(&self, svid: Option<&Svid>) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&self.ca).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(svid) = svid else {
            return config.with_no_client_auth();
        };
        let chain = CertificateDer::pem_file_iter(&svid.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&svid.key).unwrap();
        config
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap()
    }

    /// A bare connection to its port.
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.listens).await.unwrap()
    }

    /// What the operations listener answers, if it is there.
    pub(crate) async fn operations(&self, path: &str) -> Option<(StatusCode, String)> {
        let stream = TcpStream::connect(self.ops).await.ok()?;
        let mut client = Client::h1(stream).await.ok()?;
        let (status, _, body) = client.get(path).await.ok()?;
        Some((status, body))
    }

    /// The value of a metric by its name, without ours before it, and its labels; none before it is there.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let (_, metrics) = self.operations("/metrics").await?;
        let begin = format!("cambist_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&begin));
        value.map(|value| value.parse().unwrap())
    }

    /// Has so many tokens issued, and answers how many records the log then holds at least.
    pub(crate) async fn issue(&self, count: usize) -> u64 {
        let caller = self.web().await;
        let mut index = 0;
        for _ in 0..count {
            let reply = caller.yes(ask(peer(), "shop")).await;
            index = reply.receipt.unwrap().index;
        }
        index + 1
    }

    /// Waits until the operations listener answers: it is the last to be served.
    pub(super) async fn until_served(&self) {
        while self.operations("/healthz").await.is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until `/readyz` says so; its last answer.
    pub(crate) async fn until_ready(&self, ready: bool) -> String {
        let looking = async {
            loop {
                match self.operations("/readyz").await {
                    Some((StatusCode::OK, body)) if ready => return body,
                    Some((StatusCode::SERVICE_UNAVAILABLE, body)) if !ready => return body,
                    _ => tokio::time::sleep(LOOK).await,
                }
            }
        };
        within("its readiness", looking).await
    }
}
