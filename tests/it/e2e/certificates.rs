//! Workload certificates over live connections.

use crate::support::broker::{
    Broker, Caller, LOOK, Svid, api_key, ask, claims, crl, peer, refusal, token,
};
use crate::support::edge::{until, within};
use crate::support::svid::Authority;
use cambist::proto::ListKeysRequest;
use cambist::proto::inventory_client::InventoryClient;
use std::fs;
use std::path::Path;

/// Puts a file in place at once, as whoever publishes lists should.
fn replace(path: &Path, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(&next, path).unwrap();
}

/// Asks until the answer is this refusal.
async fn until_refused(caller: &Caller, code: &str) {
    let refused = async {
        loop {
            match caller.exchange(ask(peer(), "shop")).await {
                // In its last second nothing is left of it to give.
                Err(status) if refusal(&status) != "lifetime_exhausted" => {
                    return refusal(&status);
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    };
    assert_eq!(within("a refusal", refused).await, code);
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_that_was_shown() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    let token = caller.yes(ask(peer(), "vault")).await;
    let said = claims(&token.access_token);
    assert!(token.bound);
    assert_eq!(said["cnf"]["x5t#S256"], web.thumbprint());
    assert_eq!(said["sub"], "spiffe://example.org/web");
    assert_eq!(said["client_id"], said["sub"]);
    // A certificate has no scopes of its own: none asked, none given.
    assert!(said["scope"].is_null());
    // Nor does it outlive its certificate.
    let short = broker.svid_for("spiffe://example.org/web", 50);
    let token = broker.workload(&short).await.yes(ask(peer(), "shop")).await;
    assert!(token.expires_in <= 50);
    assert_eq!(
        broker.anybody().await.no(ask(peer(), "shop")).await,
        "certificate_missing"
    );
}

/// The connection was made while the certificate was good, and none of its calls goes on after the list says no:
/// not with the certificate as subject, nor as what binds, nor for administration.
#[tokio::test]
async fn a_revoked_certificate_is_refused_at_the_next_call_of_its_connection() {
    let broker = Broker::start().await;
    let (web, admin) = (
        broker.svid("spiffe://example.org/web"),
        broker.svid("spiffe://example.org/admin"),
    );
    let other = broker
        .workload(&broker.svid("spiffe://example.org/other"))
        .await;
    let caller = broker.workload(&web).await;
    let channel = broker.channel(Some(&admin)).await;
    let mut inventory = InventoryClient::new(channel);
    let issued = caller.yes(ask(peer(), "shop")).await;
    inventory
        .list_keys(ListKeysRequest::default())
        .await
        .unwrap();

    let list = crl(&broker.home, &[web.serial, admin.serial]);
    replace(&broker.path("example.org.crl"), &list);
    until_refused(&caller, "credential_refused").await;
    assert_eq!(
        caller.no(ask(api_key(broker.api_key()), "shop")).await,
        "credential_refused"
    );
    let own = token(&issued.access_token);
    assert_eq!(caller.no(ask(own, "shop")).await, "credential_refused");
    let status = inventory
        .list_keys(ListKeysRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refusal(&status), "credential_refused");
    other.yes(ask(peer(), "shop")).await;
    let again = Caller::new(broker.endpoint(Some(&web)).channel_lazy());
    let status = again.exchange(ask(peer(), "shop")).await.unwrap_err();
    assert_eq!(refusal(&status), "", "it ends in the handshake: {status:?}");
}

#[tokio::test]
async fn a_certificate_that_ends_ends_its_connections_calls() {
    let broker = Broker::start().await;
    let brief = broker.svid_for("spiffe://example.org/web", 10);
    let caller = broker.workload(&brief).await;
    caller.yes(ask(peer(), "shop")).await;
    until_refused(&caller, "credential_refused").await;
}

/// It never gets as far as a call, and there is a trace of it all the same: why, how often, and from which network.
#[tokio::test]
async fn a_certificate_that_is_refused_in_the_handshake_is_on_the_record() {
    let broker = Broker::start().await;
    let revoked = broker.svid("spiffe://example.org/web");
    let ended = broker.svid_for("spiffe://example.org/web", -1);
    replace(
        &broker.path("example.org.crl"),
        &crl(&broker.home, &[revoked.serial]),
    );
    let counted = async |code: &str| {
        let name = format!("connection_attempts_total{{outcome=\"{code}\"}}");
        broker.metric(&name).await.unwrap()
    };
    for (svid, code) in [
        (&revoked, "certificate_revoked"),
        (&ended, "certificate_expired"),
    ] {
        until(code, async || {
            let caller = Caller::new(broker.endpoint(Some(svid)).channel_lazy());
            let answer = caller.exchange(ask(peer(), "shop")).await;
            // The list may not be followed yet.
            drop(answer);
            counted(code).await > 0
        })
        .await;
    }
    until("a record of each", async || {
        let all = counted("certificate_revoked").await + counted("certificate_expired").await;
        let records = broker.records();
        let groups = records
            .iter()
            .filter(|record| record["kind"] == "refusals")
            .flat_map(|record| record["refused"].as_array().unwrap());
        let told = groups
            .filter(|group| group["code"] == "credential_refused")
            .inspect(|group| assert_eq!(group["network"], "127.0.0.0/24"))
            .map(|group| group["count"].as_u64().unwrap());
        told.sum::<u64>() == all
    })
    .await;
}

#[tokio::test]
async fn a_trust_domain_vouches_for_itself_alone() {
    let broker = Broker::start().await;
    let partner = broker.svid("spiffe://partner.example.com/buyer");
    let caller = broker.workload(&partner).await;
    let token = caller.yes(ask(peer(), "shop")).await;
    assert_eq!(
        claims(&token.access_token)["sub"],
        "spiffe://partner.example.com/buyer"
    );
    assert_eq!(caller.no(ask(peer(), "billing")).await, "policy_denied");

    let stranger = Authority::new("example.net");
    let impostor = Authority::new("example.org");
    for (authority, id) in [
        (&stranger, "spiffe://example.net/web"),
        (&impostor, "spiffe://example.org/web"),
        (&broker.partner, "spiffe://example.org/web"),
        (&broker.home, "spiffe://partner.example.com/buyer"),
    ] {
        let forged = Svid::issue(broker.folder.path(), authority, id, 3600);
        let caller = Caller::new(broker.endpoint(Some(&forged)).channel_lazy());
        let status = caller.exchange(ask(peer(), "shop")).await.unwrap_err();
        assert_eq!(refusal(&status), "", "{id}: it ends in the handshake");
    }
    // Who shows nothing is served.
    broker
        .anybody()
        .await
        .yes(ask(api_key(broker.api_key()), "shop"))
        .await;
}

#[tokio::test]
async fn a_certificate_with_a_second_name_is_nobodys() {
    let broker = Broker::start().await;
    let named = |names: &[&str]| Svid::named(broker.folder.path(), &broker.home, names, 3600);
    let one = broker.workload(&named(&["spiffe://example.org/web"])).await;
    one.yes(ask(peer(), "shop")).await;
    let both = named(&["spiffe://example.org/web", "spiffe://example.org/admin"]);
    let caller = Caller::new(broker.endpoint(Some(&both)).channel_lazy());
    let status = caller.exchange(ask(peer(), "shop")).await.unwrap_err();
    assert_eq!(refusal(&status), "", "it ends in the handshake: {status:?}");
}

/// Who renews with another valid certificate gets what that one may have, and nothing of the first one's.
#[tokio::test]
async fn another_valid_certificate_renews_nothing() {
    let broker = Broker::start().await;
    let (web, other) = (
        broker.svid("spiffe://example.org/web"),
        broker.svid("spiffe://example.org/other"),
    );
    let first = broker.workload(&web).await.yes(ask(peer(), "shop")).await;
    let caller = broker.workload(&other).await;
    let own = token(&first.access_token);
    assert_eq!(
        caller.no(ask(own.clone(), "shop")).await,
        "presenter_not_allowed"
    );
    // Not even the same workload with a newer certificate: the token is bound to the older one's key.
    let renewed = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&renewed).await;
    assert_eq!(caller.no(ask(own, "shop")).await, "binding_required");
    let fresh = caller.yes(ask(peer(), "shop")).await;
    assert_eq!(
        claims(&fresh.access_token)["cnf"]["x5t#S256"],
        renewed.thumbprint()
    );
}
