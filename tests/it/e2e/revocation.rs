//! Revocation by whatever a responder has in hand: what was revoked is dead everywhere in the broker, at once and after a
//! crash, and what was not is alive.

mod asking;
mod holder;
mod model;
mod reach;
mod times;

use super::edge::{CLOSED, guard_of, passes, until_told};
use crate::support::broker::{Broker, Caller, api_key, ask, peer, refusal, spec, token};
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    CheckRequest, CheckResponse, ExchangeResponse, KeySpec, RevokeRequest, RevokeResponse,
};
use cambist::verify::Presenter;
use tonic::Status;
use tonic::transport::Channel;

fn of(thing: Thing) -> RevokeRequest {
    RevokeRequest {
        thing: Some(thing),
        reason: "tests".to_owned(),
        ..RevokeRequest::default()
    }
}

fn ban(thing: Thing) -> RevokeRequest {
    RevokeRequest {
        ban: true,
        ..of(thing)
    }
}

fn dry_run(request: &RevokeRequest) -> RevokeRequest {
    RevokeRequest {
        dry_run: true,
        ..request.clone()
    }
}

async fn revoke(
    client: &mut RevocationClient<Channel>,
    request: RevokeRequest,
) -> Result<RevokeResponse, Status> {
    client
        .revoke(request)
        .await
        .map(tonic::Response::into_inner)
}

async fn administrator(broker: &Broker) -> RevocationClient<Channel> {
    RevocationClient::new(broker.local().await)
}

async fn anybody(broker: &Broker) -> RevocationClient<Channel> {
    RevocationClient::new(broker.channel(None).await)
}

async fn check(broker: &Broker, reply: &ExchangeResponse) -> CheckResponse {
    let request = CheckRequest {
        token: reply.access_token.clone(),
        ..CheckRequest::default()
    };
    let mut client = administrator(broker).await;
    client.check(request).await.unwrap().into_inner()
}

/// A key's token for the shop, and what the shop made of it for billing: parent and child.
struct Pair {
    secret: String,
    parent: ExchangeResponse,
    child: ExchangeResponse,
    billing: Caller,
    /// Whoever the child was issued to, and is bound to.
    holder: RevocationClient<Channel>,
}

impl Pair {
    async fn new(broker: &Broker) -> Self {
        let made = broker
            .create_key(spec(&["shop", "billing"], &["orders:read"]))
            .await;
        let (shop, billing) = (
            broker.svid("spiffe://example.org/shop"),
            broker.svid("spiffe://example.org/billing"),
        );
        let holder = RevocationClient::new(broker.channel(Some(&shop)).await);
        let (shop, billing) = (
            broker.workload(&shop).await,
            broker.workload(&billing).await,
        );
        let anybody = broker.anybody().await;
        let parent = anybody.yes(ask(api_key(&made.secret), "shop")).await;
        let child = shop.yes(ask(token(&parent.access_token), "billing")).await;
        Self {
            secret: made.secret,
            parent,
            child,
            billing,
            holder,
        }
    }

    /// Whether the child lives: at introspection, and when it is exchanged again.
    async fn child_lives(&self, broker: &Broker) -> bool {
        let again = ask(token(&self.child.access_token), "shop");
        let exchanged = self.billing.exchange(again).await;
        if let Err(status) = &exchanged {
            assert_eq!(refusal(status), "token_refused", "{status:?}");
        }
        let active = check(broker, &self.child).await.active;
        assert_eq!(active, exchanged.is_ok());
        active
    }

    /// The same of its parent.
    async fn parent_lives(&self, broker: &Broker) -> bool {
        check(broker, &self.parent).await.active
    }

    fn credential(&self) -> String {
        self.parent.credential_id.clone()
    }
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// What the model does not revoke: for a verifier that only listens, too.
#[tokio::test]
async fn a_verifier_refuses_what_an_owner_a_trust_domain_a_signing_key_and_an_issuer_take_along() {
    let broker = Broker::start().await;
    let guard = guard_of(&broker, "admin", "shop").await;
    let mut administrator = administrator(&broker).await;
    let owned = async |owner: &str| {
        let spec = spec(&["shop"], &[]);
        let owner = owner.to_owned();
        let made = broker.create_key(KeySpec { owner, ..spec }).await;
        ask(api_key(&made.secret), "shop")
    };
    let (one, other) = (owned("team-one").await, owned("team-other").await);
    let anybody = broker.anybody().await;
    let mut alive = vec![
        anybody.yes(one).await.access_token,
        broker
            .web()
            .await
            .yes(ask(peer(), "shop"))
            .await
            .access_token,
        anybody.yes(other.clone()).await.access_token,
    ];
    let issuer = broker.issuer.clone();
    for thing in [
        Thing::Owner("team-one".to_owned()),
        Thing::TrustDomain("example.org".to_owned()),
        Thing::SigningKey(kid(&alive[2])),
        Thing::Issuer(issuer),
    ] {
        alive.iter().for_each(|text| assert!(passes(&guard, text)));
        let answer = revoke(&mut administrator, of(thing.clone())).await;
        until_told(&guard, &answer.unwrap().revision).await;
        let dead = alive.remove(0);
        assert!(!passes(&guard, &dead), "{thing:?}");
        if alive.is_empty() {
            // By the next signing key, which the verifier fetches.
            let next = anybody.exchange(other.clone()).await;
            alive.extend(next.map(|reply| reply.access_token));
            for text in &alive {
                let checked = guard.check(text, Presenter::NotChecked, CLOSED);
                checked.await.unwrap();
            }
        }
    }
}
