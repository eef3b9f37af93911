//! How the command reaches a broker: only one whose certificate the named authority signed, and why not.

use crate::support::admin::Admin;
use crate::support::broker::free_port;
use crate::support::command::{Ran, cambist};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `localhost`, and its key.
    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

struct Scene {
    directory: TempDir,
    server: String,
}

impl Scene {
    /// A broker whose certificate and, where it demands any, clients' certificates `authority` signs.
    async fn new(authority: &Authority, demand_certificates: bool) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if demand_certificates {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = authority.issue();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (streams, incoming) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    let _ = streams.send(Ok::<_, std::io::Error>(tls)).await;
                }
            }
        });
        let router = Admin::default().router();
        tokio::spawn(async move {
            router
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
        });
        Self {
            directory: tempfile::tempdir().unwrap(),
            server: format!("https://localhost:{port}"),
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn list(&self, more: &[&str]) -> Ran {
        let args = [
            &["key", "list", "--json", "--server", &self.server][..],
            more,
        ]
        .concat();
        cambist(&args, &[], b"").await
    }
}

fn code(ran: &Ran) -> (Option<i32>, String) {
    (ran.code, ran.error()["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn only_the_named_authority_is_believed() {
    let authority = Authority::new("ours");
    let scene = Scene::new(&authority, false).await;
    let ours = scene.file("ours.pem", &authority.pem);
    let others = scene.file("others.pem", &Authority::new("others").pem);
    let ran = scene.list(&["--ca", ours.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = scene.list(&["--ca", others.to_str().unwrap()]).await;
    assert_eq!(code(&ran), (Some(4), "certificate".to_owned()), "{ran:?}");
    let ran = scene.list(&[]).await;
    assert_eq!(ran.code, Some(2), "no authority, no connection: {ran:?}");
    let ran = scene
        .list(&["--ca", scene.file("empty.pem", "").to_str().unwrap()])
        .await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    // The certificate is for localhost, not for this address.
    let by_address = scene.server.replace("localhost", "127.0.0.1");
    let args = [
        "key",
        "list",
        "--json",
        "--server",
        &by_address,
        "--ca",
        ours.to_str().unwrap(),
    ];
    let ran = cambist(&args, &[], b"").await;
    assert_eq!(code(&ran), (Some(4), "certificate".to_owned()), "{ran:?}");
}

#[tokio::test]
async fn a_demanded_certificate_is_shown_or_its_lack_explained() {
    let authority = Authority::new("ours");
    let scene = Scene::new(&authority, true).await;
    let ca = scene.file("ca.pem", &authority.pem);
    let ca = ca.to_str().unwrap();
    let (certificate, key) = authority.issue();
    let cert = scene.file("cert.pem", &certificate.pem());
    let key = scene.file("key.pem", &key.serialize_pem());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let ran = scene
        .list(&["--ca", ca, "--cert", cert, "--cert-key", key])
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = scene.list(&["--ca", ca]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(
        ran.error()["help"].as_str().unwrap().contains("--cert"),
        "{ran:?}"
    );
    let ran = scene.list(&["--ca", ca, "--cert", cert]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = scene
        .list(&["--ca", ca, "--cert", cert, "--cert-key", ca])
        .await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/none.sock", directory.path().display());
    let ran = cambist(&["key", "list", "--json", "--server", &socket], &[], b"").await;
    assert_eq!(code(&ran), (Some(4), "unreachable".to_owned()));
    let closed = format!("127.0.0.1:{}", free_port());
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, Authority::new("ours").pem).unwrap();
    let variables = [
        ("CAMBIST_SERVER", format!("https://{closed}")),
        ("CAMBIST_CA", ca.display().to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let ran = cambist(&["key", "list", "--json"], &variables, b"").await;
    assert_eq!(code(&ran), (Some(4), "unreachable".to_owned()), "{ran:?}");
    let ran = cambist(&["key", "list", "--json"], &[], b"").await;
    assert_eq!(code(&ran), (Some(2), "usage".to_owned()));
}
