//! Own tokens, exchanged again: who may present them, and what comes of it.

use crate::support::broker::{
    Broker, Caller, Svid, api_key, ask, audience, claims, delegated, peer, spec, token,
};
use cambist::limits;
use cambist::proto::{Audience, ExchangeRequest, ExchangeResponse, KeySpec, PutAudienceRequest};
use prost_types::Duration;
use serde_json::json;

const WEB: &str = "spiffe://example.org/web";
const SHOP: &str = "spiffe://example.org/shop";
const BILLING: &str = "spiffe://example.org/billing";
const TILL: &str = "spiffe://example.org/till";

/// A workload and its connection.
struct Workload {
    svid: Svid,
    caller: Caller,
}

async fn workload(broker: &Broker, id: &str) -> Workload {
    let svid = broker.svid(id);
    let caller = broker.workload(&svid).await;
    Workload { svid, caller }
}

fn scoped(request: ExchangeRequest, scopes: &[&str]) -> ExchangeRequest {
    ExchangeRequest {
        scopes: scopes.iter().copied().map(str::to_owned).collect(),
        ..request
    }
}

fn lasting(request: ExchangeRequest, seconds: i64) -> ExchangeRequest {
    ExchangeRequest {
        lifetime: Some(Duration { seconds, nanos: 0 }),
        ..request
    }
}

fn for_actor(request: ExchangeRequest, sub: &str) -> ExchangeRequest {
    ExchangeRequest {
        may_act: sub.to_owned(),
        ..request
    }
}

fn own(reply: &ExchangeResponse) -> cambist::proto::Credential {
    token(&reply.access_token)
}

#[tokio::test]
async fn its_party_narrows_a_token() {
    let broker = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let both = ["orders:read", "orders:write"];
    let wide = web
        .caller
        .yes(lasting(scoped(ask(peer(), "shop"), &both), 600))
        .await;
    let narrow = scoped(ask(own(&wide), "shop"), &["orders:read"]);
    let narrow = web.caller.yes(lasting(narrow, 3600)).await;
    let (first, second) = (claims(&wide.access_token), claims(&narrow.access_token));
    assert_eq!(second["scope"], "orders:read");
    assert!(
        second["exp"].as_i64() <= first["exp"].as_i64(),
        "no longer life"
    );
    assert_eq!(
        (&second["sub"], &second["cnf"]),
        (&first["sub"], &first["cnf"])
    );
    assert_eq!(second["cmb"]["c"], first["cmb"]["c"]);
    assert_eq!(second["cmb"]["l"].as_array().unwrap().len(), 2);
    assert!(second["act"].is_null() && second["jti"] != first["jti"]);
    // What was given up is gone.
    let back = scoped(ask(own(&narrow), "shop"), &["orders:write"]);
    assert_eq!(web.caller.no(back).await, "scope_not_allowed");
    // Asked for nothing in particular, it has what it had, never all.
    let same = web.caller.yes(ask(own(&narrow), "shop")).await;
    assert_eq!(same.scopes, ["orders:read"]);
    assert_eq!(same.credential_id, wide.credential_id);
}

#[tokio::test]
async fn who_serves_the_audience_acts_for_the_subject() {
    let broker = Broker::start().await;
    let (web, shop) = (workload(&broker, WEB).await, workload(&broker, SHOP).await);
    let first = scoped(ask(peer(), "shop"), &["orders:read", "orders:write"]);
    let first = web.caller.yes(first).await;
    // The certificate acts whether it is named as the actor or not.
    for request in [
        ask(own(&first), "billing"),
        delegated(own(&first), peer(), "billing"),
    ] {
        let next = shop.caller.yes(request).await;
        let said = claims(&next.access_token);
        assert_eq!(said["sub"], WEB);
        assert_eq!(said["client_id"], SHOP);
        assert_eq!(said["act"], json!({ "sub": SHOP }));
        assert_eq!(said["cnf"]["x5t#S256"], shop.svid.thumbprint());
        assert_eq!(said["scope"], "orders:read", "only what both have");
        assert_eq!(
            said["cmb"]["c"].as_array().unwrap().len(),
            2,
            "both ancestries"
        );
        let billing = workload(&broker, BILLING).await;
        let last = billing.caller.yes(ask(own(&next), "shop")).await;
        let act = json!({ "sub": BILLING, "act": { "sub": SHOP } });
        assert_eq!(claims(&last.access_token)["act"], act);
    }
}

#[tokio::test]
async fn nobody_else_presents_a_token() {
    let broker = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let first = web.caller.yes(ask(peer(), "shop")).await;
    let anybody = broker.anybody().await;
    let presented = || ask(own(&first), "shop");
    assert_eq!(anybody.no(presented()).await, "presenter_not_allowed");
    let keyed = delegated(own(&first), api_key(broker.api_key()), "shop");
    assert_eq!(anybody.no(keyed).await, "presenter_not_allowed");
    let named = delegated(own(&first), peer(), "shop");
    assert_eq!(anybody.no(named).await, "certificate_missing");
    for id in [
        BILLING,
        "spiffe://example.org/admin",
        "spiffe://partner.example.com/web",
    ] {
        let other = workload(&broker, id).await;
        assert_eq!(
            other.caller.no(presented()).await,
            "presenter_not_allowed",
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_keys_token_is_presented_with_the_key() {
    let broker = Broker::start().await;
    let anybody = broker.anybody().await;
    let first = anybody.yes(ask(api_key(broker.api_key()), "shop")).await;
    assert_eq!(
        anybody.no(ask(own(&first), "shop")).await,
        "presenter_not_allowed"
    );
    let with_key = delegated(own(&first), api_key(broker.api_key()), "billing");
    let second = anybody.yes(with_key).await;
    assert!(
        claims(&second.access_token)["act"].is_null(),
        "its own party does not act for it"
    );
    let other = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let with_other = delegated(own(&first), api_key(&other.secret), "shop");
    assert_eq!(anybody.no(with_other).await, "presenter_not_allowed");
    // A server's certificate binds what was not bound.
    let shop = workload(&broker, SHOP).await;
    let acted = shop.caller.yes(ask(own(&first), "billing")).await;
    let said = claims(&acted.access_token);
    assert_eq!(said["cnf"]["x5t#S256"], shop.svid.thumbprint());
    assert_eq!(said["act"]["sub"], SHOP);
}

#[tokio::test]
async fn what_a_token_says_of_its_actor_decides() {
    let broker = Broker::start().await;
    let [web, shop, till] = [
        workload(&broker, WEB).await,
        workload(&broker, SHOP).await,
        workload(&broker, TILL).await,
    ];
    let first = web.caller.yes(for_actor(ask(peer(), "shop"), TILL)).await;
    assert_eq!(
        claims(&first.access_token)["may_act"],
        json!({ "sub": TILL })
    );
    // keycloak#52691: no actor in the request is no way around.
    for request in [
        ask(own(&first), "billing"),
        delegated(own(&first), peer(), "billing"),
    ] {
        assert_eq!(shop.caller.no(request.clone()).await, "actor_not_allowed");
        let acted = claims(&till.caller.yes(request).await.access_token);
        assert_eq!(acted["act"]["sub"], TILL);
        assert!(acted["may_act"].is_null(), "it has done its work");
    }
    // Its party keeps the bound, and cannot lift it.
    let kept = web.caller.yes(ask(own(&first), "shop")).await;
    assert_eq!(
        claims(&kept.access_token)["may_act"],
        json!({ "sub": TILL })
    );
    let lifted = for_actor(ask(own(&first), "shop"), SHOP);
    assert_eq!(web.caller.no(lifted).await, "actor_not_allowed");
    // It narrows who serves the audience, and invites nobody else.
    let stranger = for_actor(ask(peer(), "shop"), BILLING);
    let stranger = web.caller.yes(stranger).await;
    let billing = workload(&broker, BILLING).await;
    assert_eq!(
        billing.caller.no(ask(own(&stranger), "shop")).await,
        "presenter_not_allowed"
    );
}

#[tokio::test]
async fn an_audience_outside_the_ancestry_is_out_of_reach() {
    let broker = Broker::start().await;
    let (kiosk, shop) = (
        workload(&broker, "spiffe://example.org/kiosk").await,
        workload(&broker, SHOP).await,
    );
    let first = kiosk.caller.yes(ask(peer(), "shop")).await;
    assert_eq!(
        shop.caller.no(ask(own(&first), "billing")).await,
        "audience_not_allowed"
    );
    let within = shop.caller.yes(ask(own(&first), "shop")).await;
    assert_eq!(
        shop.caller.no(ask(own(&within), "billing")).await,
        "audience_not_allowed"
    );
    // A key's audiences bound everything that is made of it.
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let first = broker
        .anybody()
        .await
        .yes(ask(api_key(&made.secret), "shop"))
        .await;
    assert_eq!(
        shop.caller.no(ask(own(&first), "billing")).await,
        "audience_not_allowed"
    );
}

#[tokio::test]
async fn a_lineage_over_its_bound_is_refused() {
    let broker = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let mut last = web.caller.yes(ask(peer(), "shop")).await;
    // The first place is the twin's of the certificate.
    for generation in 1..limits::ANCESTORS {
        last = web.caller.yes(ask(own(&last), "shop")).await;
        let said = claims(&last.access_token);
        assert_eq!(said["cmb"]["l"].as_array().unwrap().len(), generation + 1);
    }
    assert_eq!(web.caller.no(ask(own(&last), "shop")).await, "lineage_full");
}

#[tokio::test]
async fn a_fifth_actor_is_refused() {
    let broker = Broker::with(|setup| {
        for hop in 1..=6 {
            setup.config.push_str(&format!(
                "[[audience]]\nname = \"hop-{hop}\"\nowner = \"team-hops\"\nservers = [\"spiffe://example.org/hop/{hop}\"]\n"
            ));
        }
    })
    .await;
    let web = workload(&broker, WEB).await;
    let mut last = web.caller.yes(ask(peer(), "hop-1")).await;
    for hop in 1..=limits::ACTORS {
        let server = workload(&broker, &format!("spiffe://example.org/hop/{hop}")).await;
        let next = format!("hop-{}", hop + 1);
        last = server.caller.yes(ask(own(&last), &next)).await;
    }
    let server = workload(&broker, "spiffe://example.org/hop/5").await;
    assert_eq!(
        server.caller.no(ask(own(&last), "hop-6")).await,
        "lineage_full"
    );
}

#[tokio::test]
async fn an_actors_own_token_acts_in_the_hands_of_its_party() {
    let broker = Broker::start().await;
    let (web, shop) = (workload(&broker, WEB).await, workload(&broker, SHOP).await);
    let subject = web.caller.yes(ask(peer(), "shop")).await;
    let actor = shop.caller.yes(lasting(ask(peer(), "billing"), 60)).await;
    let request = || delegated(own(&subject), own(&actor), "billing");
    let acted = shop.caller.yes(request()).await;
    let said = claims(&acted.access_token);
    assert_eq!(
        (&said["sub"], &said["act"]["sub"]),
        (&json!(WEB), &json!(SHOP))
    );
    assert!(
        acted.expires_in <= 60,
        "nor does it outlive its actor's token"
    );
    assert_eq!(
        said["cmb"]["l"].as_array().unwrap().len(),
        4,
        "both are ancestors, and their certificates have twins"
    );
    assert_eq!(web.caller.no(request()).await, "presenter_not_allowed");
    let anybody = broker.anybody().await;
    assert_eq!(anybody.no(request()).await, "certificate_missing");
    let renewed = workload(&broker, SHOP).await;
    assert_eq!(renewed.caller.no(request()).await, "binding_required");
    // One that acts already does not lend itself to acting.
    let acting = delegated(own(&subject), own(&acted), "billing");
    assert_eq!(shop.caller.no(acting).await, "actor_not_allowed");
}

/// A bootstrap key that serves an audience acts for others within its own reach, and not beyond.
#[tokio::test]
async fn a_key_that_acts_reaches_no_further_than_for_itself() {
    let broker = Broker::start().await;
    let narrow = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let wide = broker
        .create_key(spec(&["shop", "billing"], &["orders:read"]))
        .await;
    let sub = |id: &str| format!("{}/keys/{id}", broker.issuer);
    let [narrow_id, wide_id] = [&narrow, &wide].map(|made| made.key.as_ref().unwrap().id.clone());
    let counter = Audience {
        servers: vec![sub(&narrow_id), sub(&wide_id)],
        ..audience("counter")
    };
    let counter = PutAudienceRequest {
        audience: Some(counter),
        ..PutAudienceRequest::default()
    };
    broker
        .inventory()
        .await
        .put_audience(counter)
        .await
        .unwrap();
    let web = workload(&broker, WEB).await;
    let subject = web.caller.yes(ask(peer(), "counter")).await;
    let acting = |secret: &str, audience| delegated(own(&subject), api_key(secret), audience);
    let acted = web.caller.yes(acting(&wide.secret, "billing")).await;
    let said = claims(&acted.access_token);
    assert_eq!(said["act"]["sub"], sub(&wide_id));
    assert_eq!(said["cmb"]["x"], json!({ "aud": ["shop", "billing"] }));
    web.caller.yes(acting(&narrow.secret, "shop")).await;
    let code = web.caller.no(acting(&narrow.secret, "billing")).await;
    assert_eq!(code, "audience_not_allowed");
}

/// Two tenants' keys meet in no lineage, also where an audience is shared.
#[tokio::test]
async fn an_actor_of_another_tenant_is_refused() {
    let broker = Broker::start().await;
    let of = async |tenant: &str, audiences: &[&str]| {
        let spec = KeySpec {
            tenant: tenant.into(),
            ..spec(audiences, &[])
        };
        broker.create_key(spec).await
    };
    let put = async |servers: &[String], expected_revision| {
        let hub = PutAudienceRequest {
            audience: Some(Audience {
                servers: servers.to_vec(),
                ..audience("hub")
            }),
            expected_revision,
            ..PutAudienceRequest::default()
        };
        let written = broker.inventory().await.put_audience(hub).await;
        written.unwrap().into_inner().audience.unwrap().revision
    };
    let revision = put(&[], 0).await;
    let [same, shared, other] = [
        of("retail", &["hub", "shop"]).await,
        of("", &["hub", "shop"]).await,
        of("wholesale", &["hub", "shop"]).await,
    ];
    let sub = |id: &str| format!("{}/keys/{id}", broker.issuer);
    let servers = [&same, &shared, &other].map(|made| sub(&made.key.as_ref().unwrap().id));
    put(&servers, revision).await;
    let subject = of("retail", &["hub", "shop"]).await;
    let caller = broker.anybody().await;
    let subject = caller.yes(ask(api_key(&subject.secret), "hub")).await;
    let acting = |secret: &str| delegated(own(&subject), api_key(secret), "shop");
    caller.yes(acting(&same.secret)).await;
    caller.yes(acting(&shared.secret)).await;
    let code = caller.no(acting(&other.secret)).await;
    assert_eq!(code, "presenter_not_allowed");
    // A subject without a tenant brings no two of them together either, whoever acts first.
    let web = workload(&broker, WEB).await;
    let own_token = web.caller.yes(ask(peer(), "hub")).await;
    let acting = |subject: &ExchangeResponse, secret: &str, audience| {
        delegated(own(subject), api_key(secret), audience)
    };
    let acted = web
        .caller
        .yes(acting(&own_token, &other.secret, "hub"))
        .await;
    web.caller.yes(acting(&acted, &shared.secret, "shop")).await;
    let code = web.caller.no(acting(&acted, &same.secret, "shop")).await;
    assert_eq!(code, "presenter_not_allowed");
}

/// A token that proves its own party is part of what comes out, too: that does not outlive it.
#[tokio::test]
async fn what_a_party_proves_itself_with_bounds_the_lifetime() {
    let broker = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let subject = web.caller.yes(ask(peer(), "shop")).await;
    let proof = web.caller.yes(lasting(ask(peer(), "shop"), 60)).await;
    let request = delegated(own(&subject), own(&proof), "shop");
    let again = web.caller.yes(request).await;
    assert!(claims(&again.access_token)["act"].is_null());
    assert!(again.expires_in <= 60, "{}", again.expires_in);
}

#[tokio::test]
async fn combinations_outside_the_table_are_refused() {
    let broker = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let key = || api_key(broker.api_key());
    let own_token = web.caller.yes(ask(peer(), "shop")).await;
    for (subject, actor) in [
        (key(), key()),
        (key(), peer()),
        (key(), own(&own_token)),
        (peer(), key()),
        (peer(), peer()),
        (peer(), own(&own_token)),
    ] {
        let code = web.caller.no(delegated(subject, actor, "shop")).await;
        assert_eq!(code, "combination_not_allowed");
    }
    // A key of finite use spends for itself only.
    let once = KeySpec {
        uses: 1,
        ..spec(&["shop"], &["orders:read"])
    };
    let once = broker.create_key(once).await;
    let code = web
        .caller
        .no(delegated(own(&own_token), api_key(&once.secret), "shop"))
        .await;
    assert_eq!(code, "combination_not_allowed");
    web.caller.yes(ask(api_key(&once.secret), "shop")).await;
}

#[tokio::test]
async fn what_is_not_one_of_our_tokens_is_refused() {
    let broker = Broker::start().await;
    let other = Broker::start().await;
    let web = workload(&broker, WEB).await;
    let good = web.caller.yes(ask(peer(), "shop")).await.access_token;
    let foreign = other.anybody().await;
    let foreign = foreign
        .yes(ask(api_key(other.api_key()), "shop"))
        .await
        .access_token;
    let parts: Vec<_> = good.split('.').collect();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]);
    let swapped = format!(
        "{}.{}.{}",
        parts[0],
        foreign.split('.').nth(1).unwrap(),
        parts[2]
    );
    let huge = "a".repeat(limits::TOKEN + 1);
    for (text, code) in [
        ("", "credential_malformed"),
        ("a.b.c", "credential_malformed"),
        (&huge, "credential_malformed"),
        (&*format!("{good}."), "credential_malformed"),
        (&none, "token_refused"),
        (&swapped, "token_refused"),
        (&foreign, "token_refused"),
    ] {
        let got = web.caller.no(ask(token(text), "shop")).await;
        assert_eq!(got, code, "{}", &text[..text.len().min(40)]);
    }
}
