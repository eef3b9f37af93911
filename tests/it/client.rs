//! The client library against a stand-in for the broker, over real sockets and real TLS.

mod bearer;
mod connection;
mod renewal;

use crate::support::pki::{Authority, Identity};
use crate::support::standin::{Listening, Standin};
use cambist::client::{Ask, Endpoint, Error, Source, TlsFiles, Token};
use cambist::id::{Audience, ScopeSet};
use cambist::proto::{Binding, credential::Kind};
use cambist::refusal::Code;
use cambist::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// An authority, a folder with its bundle, and a stand-in.
struct World {
    authority: Authority,
    dir: TempDir,
    standin: Standin,
}

impl World {
    fn new() -> Self {
        let world = Self {
            authority: Authority::new("Test CA"),
            dir: tempfile::tempdir().unwrap(),
            standin: Standin::default(),
        };
        world.write("ca.pem", world.authority.pem());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn tls(&self) -> TlsFiles {
        TlsFiles::new(self.path("ca.pem"))
    }

    /// Writes a client's certificate of `authority` where [`World::shown`] has it from.
    fn rotate(&self, authority: &Authority, name: &str) -> Identity {
        let identity = authority.client(name);
        self.write("cert.pem", &identity.certificate);
        self.write("key.pem", &identity.key);
        identity
    }

    /// Trusts the bundle, and shows the client's certificate.
    fn shown(&self) -> TlsFiles {
        self.tls()
            .with_certificate(self.path("cert.pem"), self.path("key.pem"))
    }

    async fn listen(&self) -> Listening {
        self.standin.listen(&self.authority.server()).await
    }

    /// Listens for clients with a certificate of `clients`.
    async fn listen_mutual(&self, clients: &Authority) -> Listening {
        let server = self.authority.server();
        self.standin.listen_mutual(&server, clients).await
    }

    fn endpoint(&self, listening: &Listening) -> Endpoint {
        endpoint(listening, self.tls())
    }
}

fn endpoint(listening: &Listening, tls: TlsFiles) -> Endpoint {
    let address = format!("https://localhost:{}", listening.address.port());
    Endpoint::https(&address, tls).unwrap()
}

fn key() -> Source {
    Source::api_key(Secret::new("cmb_key".to_owned()))
}

fn ask() -> Ask {
    Ask::new(Audience::parse("https://deploy.example.org").unwrap())
}

async fn exchange(endpoint: &Endpoint, source: &Source) -> Result<Token, Error> {
    let channel = endpoint.channel().await?;
    cambist::client::exchange(channel, source, &ask()).await
}

/// A refusal as the broker words it.
fn refusal(code: Code) -> Status {
    let details =
        ErrorDetails::with_error_info(code.code(), "cambist", [] as [(String, String); 0]);
    Status::with_error_details(tonic::Code::PermissionDenied, code.text(), details)
}

#[tokio::test]
async fn what_is_asked_for_arrives_and_what_is_answered_comes_back() {
    let world = World::new();
    let listening = world.listen().await;
    let ask = ask()
        .with_scopes(ScopeSet::parse("deploy read").unwrap())
        .with_lifetime(Duration::from_millis(90_500))
        .bound()
        .with_actor(Source::PeerCertificate);
    let channel = world.endpoint(&listening).channel().await.unwrap();
    let token = cambist::client::exchange(channel, &key(), &ask)
        .await
        .unwrap();
    assert_eq!(token.value().expose(), "token-0");
    assert_eq!(token.lifetime(), Duration::from_secs(900));
    assert_eq!(token.scopes(), &ScopeSet::parse("deploy").unwrap());
    assert_eq!(token.credential_id(), "key:0123456789abcdef");

    let seen = world.standin.exchanges().remove(0);
    let subject = seen.subject.unwrap().kind.unwrap();
    assert!(matches!(subject, Kind::ApiKey(key) if key == "cmb_key"));
    assert!(matches!(
        seen.actor.unwrap().kind,
        Some(Kind::PeerCertificate(_))
    ));
    assert_eq!(seen.audience, "https://deploy.example.org");
    assert_eq!(seen.scopes, ["deploy", "read"]);
    let lifetime = seen.lifetime.unwrap();
    assert_eq!((lifetime.seconds, lifetime.nanos), (90, 500_000_000));
    assert_eq!(seen.binding, i32::from(Binding::Required));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_a_foreign_one_its_own() {
    let world = World::new();
    let listening = world.listen().await;
    let endpoint = world.endpoint(&listening);
    world.standin.refuse(Some(refusal(Code::AudienceUnknown)));
    let error = exchange(&endpoint, &key()).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Code::AudienceUnknown));
    assert!(error.is_refusal());

    world
        .standin
        .refuse(Some(Status::permission_denied("a proxy says no")));
    let error = exchange(&endpoint, &key()).await.unwrap_err();
    assert!(error.is_refusal() && error.refusal().is_none(), "{error:?}");
}

#[tokio::test]
async fn a_rotated_token_file_is_presented_as_it_is_now() {
    let world = World::new();
    let listening = world.listen().await;
    let endpoint = world.endpoint(&listening);
    let source = Source::token_file(world.path("token"));
    let error = exchange(&endpoint, &source).await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    for text in ["first", "second"] {
        world.write("token", &format!("{text}\n"));
        exchange(&endpoint, &source).await.unwrap();
    }
    let seen = world.standin.exchanges().into_iter();
    let values: Vec<_> = seen
        .map(|request| match request.subject.unwrap().kind.unwrap() {
            Kind::Token(token) => (token.value, token.r#type),
            _ => panic!("not a token"),
        })
        .collect();
    let urn = "urn:ietf:params:oauth:token-type:access_token".to_owned();
    assert_eq!(
        values,
        ["first", "second"].map(|value| (value.to_owned(), urn.clone()))
    );
}
