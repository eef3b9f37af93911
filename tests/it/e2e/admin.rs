//! Administration: who may, and what a repeat, a race or an old revision come to.

use super::described;
use crate::support::broker::{
    Broker, Caller, api_key, ask, audience, from_now, peer, refusal, spec,
};
use cambist::proto::audit_client::AuditClient;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::policy_client::PolicyClient;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::{self as pb, Audience, KeySpec};
use std::collections::BTreeSet;
use tonic::Status;
use tonic::transport::Channel;

/// Calls every method of `$client` that the description of the service has, and notes what each is told.
macro_rules! call {
    ($told:expr, $client:expr, $service:literal: $($method:ident($request:ident)),+ $(,)?) => {
        $({
            let answer: Result<_, Status> = $client.$method(pb::$request::default()).await;
            $told.push(($service, stringify!($method), answer.map(drop)));
        })+
    };
}

/// What a peer is told by every call that is not an exchange.
async fn every_call(channel: Channel) -> Vec<(&'static str, &'static str, Result<(), Status>)> {
    let mut told = Vec::new();
    let mut inventory = InventoryClient::new(channel.clone());
    call!(told, inventory, "Inventory":
        create_key(CreateKeyRequest),
        get_key(GetKeyRequest),
        list_keys(ListKeysRequest),
        rotate_key(RotateKeyRequest),
        suspend_key(SuspendKeyRequest),
        resume_key(ResumeKeyRequest),
        revoke_key(RevokeKeyRequest),
        report_leak(ReportLeakRequest),
        put_audience(PutAudienceRequest),
        get_audience(GetAudienceRequest),
        list_audiences(ListAudiencesRequest),
        delete_audience(DeleteAudienceRequest),
        list_signing_keys(ListSigningKeysRequest),
        rotate_signing_key(RotateSigningKeyRequest),
        backup(BackupRequest),
        confirm_clock(ConfirmClockRequest),
    );
    let mut policy = PolicyClient::new(channel.clone());
    call!(told, policy, "Policy":
        check_policies(CheckPoliciesRequest),
        put_policies(PutPoliciesRequest),
        list_policies(ListPoliciesRequest),
        delete_policies(DeletePoliciesRequest),
    );
    let mut audit = AuditClient::new(channel.clone());
    call!(told, audit, "Audit":
        query(QueryRequest),
        tail(TailRequest),
        show(ShowRequest),
        prove(ProveRequest),
    );
    let mut revocation = RevocationClient::new(channel.clone());
    call!(told, revocation, "Revocation":
        revoke(RevokeRequest),
        reinstate(ReinstateRequest),
        list_markers(ListMarkersRequest),
        watch(WatchRequest),
        check(CheckRequest),
    );
    let mut exchange = Caller::new(channel).0;
    call!(told, exchange, "TokenExchange": explain(ExplainRequest));
    told
}

fn camel(method: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    method.split('_').map(word).collect()
}

#[tokio::test]
async fn nobody_but_those_named_administers() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let under = broker.svid("spiffe://example.org/admin/helper");
    let namesake = broker.svid("spiffe://partner.example.com/admin");
    let curious = broker.svid("spiffe://example.org/curious");
    for who in [
        None,
        Some(&web),
        Some(&under),
        Some(&namesake),
        Some(&curious),
    ] {
        let told = every_call(broker.channel(who).await).await;
        let called = told
            .iter()
            .map(|(service, method, _)| format!("{service}.{}", camel(method)));
        let called: BTreeSet<_> = called.collect();
        let all = described::methods().into_iter().map(|method| method.name);
        let mut all: BTreeSet<_> = all.collect();
        assert!(all.remove("TokenExchange.Exchange") && all.remove("TokenExchange.Lease"));
        assert_eq!(called, all);
        let mut replies = BTreeSet::new();
        for (_, method, answer) in told {
            let status = answer.expect_err(method);
            if method == "explain" && who.is_some_and(|who| who.serial == curious.serial) {
                assert_eq!(refusal(&status), "invalid_request");
                continue;
            }
            assert_eq!(refusal(&status), "not_authorised", "{method}");
            replies.insert((status.message().to_owned(), status.details().to_vec()));
        }
        assert_eq!(replies.len(), 1);
    }
    // It is on the record, with the peer's name although it was not the credential.
    let denied = broker
        .record(|record| record["code"] == "not_authorised" && record["peer_id"].is_string())
        .await;
    assert_eq!(denied["kind"], "refuse");
    // And those who are named may.
    let admin = broker.svid("spiffe://example.org/admin");
    for channel in [broker.channel(Some(&admin)).await, broker.local().await] {
        for (_, method, answer) in every_call(channel).await {
            let code = answer.map_or_else(|status| refusal(&status), |()| String::new());
            assert_ne!(code, "not_authorised", "{method}");
        }
    }
}

#[tokio::test]
async fn an_audience_is_asked_for_as_long_as_it_is_registered() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    assert_eq!(caller.no(ask(peer(), "press")).await, "audience_unknown");
    let put = pb::PutAudienceRequest {
        audience: Some(Audience {
            aliases: vec!["urn:press".into()],
            ..audience("press")
        }),
        ..Default::default()
    };
    inventory.put_audience(put).await.unwrap();
    caller.yes(ask(peer(), "urn:press")).await;
    let shown = inventory
        .get_audience(pb::GetAudienceRequest {
            name: "urn:press".into(),
        })
        .await;
    assert!(
        !shown
            .unwrap()
            .into_inner()
            .audience
            .unwrap()
            .from_configuration
    );
    let delete = pb::DeleteAudienceRequest {
        name: "press".into(),
        ..Default::default()
    };
    inventory.delete_audience(delete.clone()).await.unwrap();
    assert_eq!(caller.no(ask(peer(), "press")).await, "audience_unknown");
    assert_eq!(
        refusal(&inventory.delete_audience(delete).await.unwrap_err()),
        "not_found"
    );
}

#[tokio::test]
async fn lists_come_in_pages_that_hold_everything_once() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        let spec = KeySpec {
            owner: "team-pages".into(),
            ..spec(&["shop"], &[])
        };
        ids.insert(broker.create_key(spec).await.key.unwrap().id);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListKeysRequest {
            page_size: 2,
            page_token: token,
            owner: "team-pages".into(),
            ..Default::default()
        };
        let page = inventory.list_keys(request).await.unwrap().into_inner();
        assert!((1..=2).contains(&page.keys.len()));
        seen.extend(page.keys.into_iter().map(|key| key.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids);
    let forged = pb::ListKeysRequest {
        page_token: "?".into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(&inventory.list_keys(forged).await.unwrap_err()),
        "invalid_request"
    );
}

#[tokio::test]
async fn a_key_needs_all_that_is_mandatory() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let good = || spec(&["shop"], &["orders:read"]);
    for (field, bad) in [
        (
            "owner",
            KeySpec {
                owner: String::new(),
                ..good()
            },
        ),
        (
            "purpose",
            KeySpec {
                purpose: String::new(),
                ..good()
            },
        ),
        (
            "audiences",
            KeySpec {
                audiences: vec![],
                ..good()
            },
        ),
        ("audiences", spec(&["shop", "nowhere"], &[])),
        ("scopes", spec(&["shop"], &["invoices:read"])),
        (
            "expires_at",
            KeySpec {
                expires_at: None,
                ..good()
            },
        ),
        (
            "expires_at",
            KeySpec {
                expires_at: Some(from_now(-1)),
                ..good()
            },
        ),
        (
            "expires_at",
            KeySpec {
                expires_at: Some(from_now(91 * 86_400)),
                ..good()
            },
        ),
        (
            "networks",
            KeySpec {
                networks: vec!["203.0.113.0/33".into()],
                ..good()
            },
        ),
    ] {
        let request = pb::CreateKeyRequest {
            spec: Some(bad),
            ..Default::default()
        };
        let status = inventory.create_key(request).await.unwrap_err();
        assert_eq!(refusal(&status), "invalid_request");
        assert!(
            status.message().contains(field),
            "{field}: {}",
            status.message()
        );
    }
}

/// Who may administer may do so with what it knows; ids of other keys say no to a wrong one, and change nothing.
#[tokio::test]
async fn a_key_is_revoked_by_its_own_id_alone() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let victim = broker.create_key(spec(&["shop"], &[])).await;
    let token = broker
        .anybody()
        .await
        .yes(ask(api_key(&victim.secret), "shop"))
        .await;
    for id in ["", "0000000000000000", &token.token_id, &victim.secret] {
        let revoke = pb::RevokeKeyRequest {
            id: id.into(),
            ..Default::default()
        };
        let code = refusal(&inventory.revoke_key(revoke).await.unwrap_err());
        assert!(code == "not_found" || code == "invalid_request", "{code}");
    }
    // Its holder is no administrator, whatever it shows.
    let mut holder = InventoryClient::new(broker.channel(None).await);
    let mut request = tonic::Request::new(pb::RevokeKeyRequest {
        id: victim.key.unwrap().id,
        ..Default::default()
    });
    let bearer = format!("Bearer {}", token.access_token).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    assert_eq!(
        refusal(&holder.revoke_key(request).await.unwrap_err()),
        "not_authorised"
    );
    broker
        .anybody()
        .await
        .yes(ask(api_key(&victim.secret), "shop"))
        .await;
}
