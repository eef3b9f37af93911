//! An issuer that can do wrong: metadata and keys over HTTPS, and tokens of every kind.

use crate::support::https::Encrypted;
use axum::Json;
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer as CertificateIssuer, KeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A signing key and what is published of it.
pub(crate) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

/// Serves until it is dropped.
pub(crate) struct Issuer {
    pub(crate) url: String,
    folder: TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let kind = match algorithm {
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            _ => &rcgen::PKCS_ECDSA_P256_SHA256,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let pem = pair.serialize_pem();
        let (key, mut jwk) = match algorithm {
            Algorithm::EdDSA => (
                EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())}),
            ),
            Algorithm::RS256 => {
                let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
                let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm).unwrap();
                (key, serde_json::to_value(jwk).unwrap())
            }
            _ => {
                let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
                let (x, y) = pair.public_key_raw()[1..].split_at(32);
                let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
                (key, json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
            }
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(format!("{algorithm:?}"));
        Self {
            algorithm,
            key,
            jwk,
        }
    }

    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = Header {
            typ: Some(typ.into()),
            kid: self.jwk["kid"].as_str().map(str::to_owned),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

impl Issuer {
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        Self::naming("jwks", signers).await
    }

    /// Its metadata says that the keys, which are at `jwks`, are at `path`.
    pub(crate) async fn naming(path: &str, signers: &[&Signer]) -> Self {
        let (acceptor, ca) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk.clone()).collect();
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/{path}")});
        let document = get(move || std::future::ready(Json(metadata.clone())));
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", document.clone())
            .route("/.well-known/openid-configuration", document)
            .route(
                "/jwks",
                get(move || std::future::ready(Json(json!({"keys": keys})))),
            );
        let serving = tokio::spawn(async move {
            let encrypted = Encrypted { listener, acceptor };
            axum::serve(encrypted, router).await.unwrap();
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
        Self {
            url,
            folder,
            serving,
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An acceptor for `localhost`, and the authority that strangers are to trust.
fn tls() -> (TlsAcceptor, String) {
    let named = |name: &str, sans: &[String]| {
        let mut params = CertificateParams::new(sans).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut params = named("test authority", &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&authority_key).unwrap().pem();
    let authority = CertificateIssuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = named("test issuer", &["localhost".into()])
        .signed_by(&key, &authority)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca)
}
