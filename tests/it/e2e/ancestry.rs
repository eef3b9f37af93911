//! What is withdrawn takes its descendants along: tokens made of it are never exchanged again.

use crate::support::broker::{Broker, Caller, api_key, ask, delegated, peer, spec, token};
use cambist::proto::{
    CreateKeyResponse, ExchangeRequest, ExchangeResponse, ResumeKeyRequest, RevokeKeyRequest,
    RotateKeyRequest, SuspendKeyRequest,
};

/// A key's token, what its holder made of it, and what a server made of that.
struct Family {
    made: CreateKeyResponse,
    child: ExchangeResponse,
    grandchild: ExchangeResponse,
    acted: ExchangeResponse,
    anybody: Caller,
    shop: Caller,
    billing: Caller,
}

impl Family {
    async fn new(broker: &Broker) -> Self {
        let made = broker
            .create_key(spec(&["shop", "billing"], &["orders:read"]))
            .await;
        let (shop, billing) = (
            broker.svid("spiffe://example.org/shop"),
            broker.svid("spiffe://example.org/billing"),
        );
        let anybody = broker.anybody().await;
        let (shop, billing) = (
            broker.workload(&shop).await,
            broker.workload(&billing).await,
        );
        let child = anybody.yes(ask(api_key(&made.secret), "shop")).await;
        let held = delegated(token(&child.access_token), api_key(&made.secret), "shop");
        let grandchild = anybody.yes(held).await;
        let acted = shop.yes(ask(token(&child.access_token), "billing")).await;
        Self {
            made,
            child,
            grandchild,
            acted,
            anybody,
            shop,
            billing,
        }
    }

    fn id(&self) -> String {
        self.made.key.as_ref().unwrap().id.clone()
    }

    /// Every way in which a descendant could be extended.
    fn extensions(&self) -> Vec<(&Caller, ExchangeRequest)> {
        let own = |reply: &ExchangeResponse| token(&reply.access_token);
        vec![
            (&self.shop, ask(own(&self.child), "billing")),
            (&self.shop, ask(own(&self.grandchild), "shop")),
            (&self.shop, delegated(own(&self.child), peer(), "shop")),
            (&self.shop, ask(own(&self.acted), "billing")),
            (&self.billing, ask(own(&self.acted), "shop")),
        ]
    }

    async fn all_are(&self, code: &str) {
        for (caller, request) in self.extensions() {
            match code {
                "" => drop(caller.yes(request).await),
                code => assert_eq!(caller.no(request).await, code),
            }
        }
        let held = delegated(
            token(&self.child.access_token),
            api_key(&self.made.secret),
            "shop",
        );
        match code {
            "" => drop(self.anybody.yes(held).await),
            _ => assert_eq!(self.anybody.no(held).await, "credential_refused"),
        }
    }
}

/// keycloak#51633, keycloak#37119.
#[tokio::test]
async fn no_descendant_of_a_revoked_key_is_extended() {
    let broker = Broker::start().await;
    let family = Family::new(&broker).await;
    family.all_are("").await;
    let revoke = RevokeKeyRequest {
        id: family.id(),
        ..RevokeKeyRequest::default()
    };
    broker.inventory().await.revoke_key(revoke).await.unwrap();
    family.all_are("token_refused").await;
}

#[tokio::test]
async fn no_descendant_of_a_suspended_key_is_extended_until_it_is_resumed() {
    let broker = Broker::start().await;
    let family = Family::new(&broker).await;
    let mut inventory = broker.inventory().await;
    let suspend = SuspendKeyRequest {
        id: family.id(),
        ..SuspendKeyRequest::default()
    };
    inventory.suspend_key(suspend).await.unwrap();
    family.all_are("token_refused").await;
    let resume = ResumeKeyRequest {
        id: family.id(),
        ..ResumeKeyRequest::default()
    };
    inventory.resume_key(resume).await.unwrap();
    family.all_are("").await;
}

/// A key that made way for its successor at once is as revoked as any.
#[tokio::test]
async fn no_descendant_of_a_replaced_key_is_extended() {
    let broker = Broker::start().await;
    let family = Family::new(&broker).await;
    let rotate = RotateKeyRequest {
        id: family.id(),
        ..RotateKeyRequest::default()
    };
    let next = broker
        .inventory()
        .await
        .rotate_key(rotate)
        .await
        .unwrap()
        .into_inner();
    family.all_are("token_refused").await;
    // Nor does the successor adopt them.
    let adopted = delegated(
        token(&family.child.access_token),
        api_key(&next.secret),
        "shop",
    );
    assert_eq!(family.anybody.no(adopted).await, "token_refused");
    family.anybody.yes(ask(api_key(&next.secret), "shop")).await;
}

/// keycloak#31296: an acknowledged revocation is there after a crash and after a restart, and the log shows no
/// later issue that it covers.
#[tokio::test]
async fn a_revocation_outlives_the_process() {
    let mut broker = Broker::start().await;
    let family = Family::new(&broker).await;
    let revoke = RevokeKeyRequest {
        id: family.id(),
        ..RevokeKeyRequest::default()
    };
    broker.inventory().await.revoke_key(revoke).await.unwrap();
    broker.kill9().await;
    for _ in 0..2 {
        broker.restart().await;
        let shop = broker.svid("spiffe://example.org/shop");
        let shop = broker.workload(&shop).await;
        let child = || token(&family.child.access_token);
        assert_eq!(shop.no(ask(child(), "billing")).await, "token_refused");
        let key = ask(api_key(&family.made.secret), "shop");
        assert_eq!(broker.anybody().await.no(key).await, "credential_refused");
    }
    let records = broker.records();
    let revoked = records
        .iter()
        .position(|record| record["action"] == "key.revoke")
        .unwrap();
    let id = format!("key:{}", family.id());
    let covered = |record: &&serde_json::Value| {
        record["kind"] == "issue" && record["lineage"]["c"].to_string().contains(&id)
    };
    assert_eq!(records[revoked..].iter().filter(covered).count(), 0);
    assert!(records[..revoked].iter().filter(covered).count() >= 3);
}
