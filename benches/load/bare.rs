//! The bare stack: a tonic unary call over TLS that builds the same claims and signs them with the same
//! kind of key. No authentication, no policy, no record, no durability.

use crate::bench::broker::{ISSUER, WORKLOAD};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::proto::token_exchange_server::{TokenExchange, TokenExchangeServer};
use cambist::proto::{
    ExchangeRequest, ExchangeResponse, ExplainRequest, ExplainResponse, LeaseRequest,
    LeaseResponse, Receipt, credential,
};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The claims of the broker's tokens.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: u64,
    iat: u64,
    jti: &'a str,
    client_id: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation<'a>>,
    cmb: Lineage<'a>,
}

#[derive(Serialize)]
struct Confirmation<'a> {
    #[serde(rename = "x5t#S256")]
    x5t: &'a str,
}

#[derive(Serialize)]
struct Lineage<'a> {
    c: [&'a str; 1],
    l: &'a [String],
    x: Reach<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Reach<'a> {
    Aud([&'a str; 1]),
    Any(bool),
}

/// What is said of a caller, of the sizes that the broker's callers have.
struct Caller {
    sub: String,
    credential: String,
    fingerprint: Option<String>,
    /// What its tokens fall with, too: a certificate's twin.
    ancestors: Vec<String>,
}

struct Bare {
    pair: EcdsaKeyPair,
    header: String,
    random: SystemRandom,
    key: Caller,
    certificate: Caller,
    count: AtomicU64,
}

impl Bare {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let kid = URL_SAFE_NO_PAD.encode([7; 32]);
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#);
        Self {
            pair: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap(),
            header: URL_SAFE_NO_PAD.encode(header),
            random,
            key: Caller {
                sub: format!("{ISSUER}/keys/CambistBenchKey1"),
                credential: "key:CambistBenchKey1".to_owned(),
                fingerprint: None,
                ancestors: Vec::new(),
            },
            certificate: Caller {
                sub: WORKLOAD.to_owned(),
                credential: format!("x509:{kid}"),
                fingerprint: Some(kid),
                ancestors: vec!["CambistBenchTwinMarker".to_owned()],
            },
            count: AtomicU64::new(0),
        }
    }

    fn token(&self, caller: &Caller, request: &ExchangeRequest) -> (String, u64, String) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).unwrap();
        let jti = URL_SAFE_NO_PAD.encode(id);
        let scope = request.scopes.join(" ");
        let claims = Claims {
            iss: ISSUER,
            sub: &caller.sub,
            aud: &request.audience,
            exp: now + 900,
            iat: now,
            jti: &jti,
            client_id: &caller.sub,
            scope: &scope,
            cnf: caller
                .fingerprint
                .as_deref()
                .map(|x5t| Confirmation { x5t }),
            cmb: Lineage {
                c: [&caller.credential],
                l: &caller.ancestors,
                x: match caller.fingerprint {
                    Some(_) => Reach::Any(true),
                    None => Reach::Aud([&request.audience]),
                },
            },
        };
        let mut token = String::with_capacity(1024);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims).unwrap(), &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes()).unwrap();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        (token, now + 900, jti)
    }
}

#[tonic::async_trait]
impl TokenExchange for Bare {
    type LeaseStream = ReceiverStream<Result<LeaseResponse, Status>>;

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        let caller = match request
            .subject
            .as_ref()
            .and_then(|subject| subject.kind.as_ref())
        {
            Some(credential::Kind::ApiKey(_)) => &self.key,
            _ => &self.certificate,
        };
        let (access_token, exp, token_id) = self.token(caller, &request);
        Ok(Response::new(ExchangeResponse {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_at: Some(prost_types::Timestamp {
                seconds: exp.cast_signed(),
                nanos: 0,
            }),
            expires_in: 900,
            scopes: request.scopes,
            token_id,
            credential_id: caller.credential.clone(),
            bound: caller.fingerprint.is_some(),
            receipt: Some(Receipt {
                origin: format!("{ISSUER}/bench"),
                index: self.count.fetch_add(1, Ordering::Relaxed),
            }),
        }))
    }

    async fn lease(&self, _: Request<LeaseRequest>) -> Result<Response<Self::LeaseStream>, Status> {
        Err(Status::unimplemented("the bare stack only exchanges"))
    }

    async fn explain(
        &self,
        _: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("the bare stack only exchanges"))
    }
}

/// Serves until the process is ended.
pub async fn serve(tls: &Path) {
    let service = TokenExchangeServer::new(Bare::new());
    crate::bench::bare::serve(tls, service).await;
}
