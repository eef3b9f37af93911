//! A guard, the feed that it follows, and tokens.

use super::{ISSUER, SIGNER, claims};
use crate::support::clock::testing::TestClock;
use crate::support::edge::{until, within};
use crate::support::feed::FeedServer;
use crate::support::pki::{Authority, Identity};
use crate::support::standin::Listening;
use cambist::client::{Endpoint, TlsFiles};
use cambist::verify::{
    AccessToken, Feed, FeedBuilder, Guard, Keys, Presenter, Staleness, VerifyError,
};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// As far as these tests go.
pub(super) const BOUND: Duration = Duration::from_secs(60);
pub(super) const CLOSED: Staleness = Staleness::refuse_beyond(BOUND);
pub(super) const OPEN: Staleness = Staleness::accept_beyond(BOUND);

pub(super) struct World {
    pub(super) authority: Authority,
    pub(super) identity: Identity,
    pub(super) dir: TempDir,
    pub(super) clock: Arc<TestClock>,
    pub(super) server: FeedServer,
    pub(super) port: u16,
    pub(super) listening: Option<Listening>,
    pub(super) guard: Guard,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|feed| feed).await
    }

    pub(super) async fn with(change: impl FnOnce(FeedBuilder) -> FeedBuilder) -> Self {
        let world = Self::unready(change).await;
        world.feed().ready(Duration::from_secs(60)).await.unwrap();
        world
    }

    pub(super) async fn unready(change: impl FnOnce(FeedBuilder) -> FeedBuilder) -> Self {
        let authority = Authority::new("Test CA");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let clock = TestClock::at(1500);
        let server = FeedServer::new(clock.clone());
        let identity = authority.server();
        let listening = server.listen(&identity).await;
        let port = listening.address.port();
        let feed = Feed::builder(endpoint(port, TlsFiles::new(dir.path().join("ca.pem"))));
        let feed = change(feed.clock(clock.clone())).build().unwrap();
        let audience = "https://shop.example.org".parse().unwrap();
        let guard = Guard::builder(ISSUER, audience, Keys::fixed(SIGNER.keys()), feed).build();
        Self {
            authority,
            identity,
            dir,
            clock,
            server,
            port,
            listening: Some(listening),
            guard,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn feed(&self) -> &Feed {
        self.guard.feed()
    }

    pub(super) fn check(
        &self,
        token: &str,
        staleness: Staleness,
    ) -> Result<Arc<AccessToken>, VerifyError> {
        self.guard
            .check_now(token, Presenter::NoCertificate, staleness)
    }

    pub(super) fn passes(&self, token: &str) -> bool {
        self.check(token, CLOSED).is_ok()
    }

    pub(super) fn is_revoked(&self, token: &str) -> bool {
        matches!(self.check(token, CLOSED), Err(VerifyError::Revoked { .. }))
    }

    pub(super) async fn until_revoked(&self, token: &str) {
        until("a revocation", async || self.is_revoked(token)).await;
    }

    /// The broker is out of reach.
    pub(super) async fn part(&mut self) {
        self.listening = None;
        self.server.cut();
        until("the connection to end", async || {
            !self.feed().status().connected
        })
        .await;
    }

    /// It is back.
    pub(super) async fn heal(&mut self) {
        let bind = async {
            loop {
                match TcpListener::bind(("127.0.0.1", self.port)).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let listener = within("the port", bind).await;
        self.listening = Some(self.server.listen_at(listener, &self.identity, None));
    }
}

pub(super) fn endpoint(port: u16, tls: TlsFiles) -> Endpoint {
    Endpoint::https(&format!("https://localhost:{port}"), tls).unwrap()
}

/// A token with this `jti`, made from these others.
pub(super) fn token(id: &str, ancestors: &[&str]) -> String {
    let marker = |id: &&str| cambist::marker::Thing::Token(ISSUER, id).id().to_string();
    let ancestors: Vec<_> = ancestors.iter().map(marker).collect();
    let mut claims = claims();
    claims["jti"] = json!(id);
    claims["cmb"] = json!({"c": [], "l": ancestors, "x": {"any": true}});
    SIGNER.token("at+jwt", &claims)
}
