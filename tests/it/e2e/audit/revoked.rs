//! What the owner of a key is told of the revocation of its tokens.

use super::{AuditClient, Channel, administrator, broker, parsed, query, reader};
use crate::support::broker::{Broker, Caller, api_key, ask, claims, spec};
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    CreateKeyResponse, ExchangeResponse, KeySpec, QueryRequest, RecordFilter, ReinstateRequest,
    RevokeRequest, ShowRequest,
};

async fn key(broker: &Broker, owner: &str) -> CreateKeyResponse {
    let spec = KeySpec {
        owner: owner.into(),
        ..spec(&["shop"], &["orders:read"])
    };
    broker.create_key(spec).await
}

/// Acts on markers that a reader finds, with their targets.
async fn markers(client: &AuditClient<Channel>) -> Vec<(String, String)> {
    let filter = RecordFilter {
        kinds: vec!["admin".to_owned()],
        ..RecordFilter::default()
    };
    let request = QueryRequest {
        filter: Some(filter),
        ..QueryRequest::default()
    };
    let found = query(client, request).await.unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let acts = found.iter().map(parsed);
    acts.map(|act| (text(&act["action"]), text(&act["target"])))
        .filter(|(action, _)| action.starts_with("marker."))
        .collect()
}

/// What a reader is told of a token: its actions, after its issue.
async fn story(client: &AuditClient<Channel>, token: &ExchangeResponse) -> Vec<String> {
    let request = ShowRequest {
        token_id: token.token_id.clone(),
    };
    let mut told = Vec::new();
    let mut answer = client.clone().show(request).await.unwrap().into_inner();
    while let Some(part) = answer.message().await.unwrap() {
        let record = parsed(&part.record.unwrap());
        told.extend(record["action"].as_str().map(str::to_owned));
    }
    told
}

/// Has a thing revoked, and that taken back.
async fn revoke_and_reinstate(
    by: &mut RevocationClient<Channel>,
    administrator: &mut RevocationClient<Channel>,
    thing: Thing,
) {
    let request = RevokeRequest {
        thing: Some(thing),
        ..RevokeRequest::default()
    };
    let revoked = by.revoke(request).await.unwrap().into_inner();
    let request = ReinstateRequest {
        marker_id: revoked.markers[0].id.clone(),
        ..ReinstateRequest::default()
    };
    administrator.reinstate(request).await.unwrap();
}

/// However it is said which token it is, and by whom. By its id alone nobody knows whose it is: only who asks for it finds
/// it.
#[tokio::test]
async fn an_owner_is_told_what_revoked_its_tokens() {
    let broker = broker().await;
    let press = reader(&broker, "press").await;
    let mut admin = RevocationClient::new(broker.local().await);
    let mut holder = RevocationClient::new(broker.channel(None).await);
    let caller: Caller = broker.anybody().await;
    let (own, other) = (
        key(&broker, "team-press").await,
        key(&broker, "team-shop").await,
    );
    let token = async |key: &CreateKeyResponse| caller.yes(ask(api_key(&key.secret), "shop")).await;
    let text = |token: &ExchangeResponse| Thing::Token(token.access_token.clone());
    let both = |target: &str| {
        ["marker.set", "marker.reinstate"].map(|action| (action.to_owned(), target.to_owned()))
    };
    let mut found = Vec::new();

    let shown = token(&own).await;
    revoke_and_reinstate(&mut admin.clone(), &mut admin, text(&shown)).await;
    found.extend(both(&format!("token:{}", shown.token_id)));
    let given_up = token(&own).await;
    revoke_and_reinstate(&mut holder, &mut admin, text(&given_up)).await;
    found.extend(both(&format!("token:{}", given_up.token_id)));
    let named = token(&own).await;
    let by_id = Thing::TokenId(named.token_id.clone());
    revoke_and_reinstate(&mut admin.clone(), &mut admin, by_id).await;
    let others = token(&other).await;
    revoke_and_reinstate(&mut admin.clone(), &mut admin, text(&others)).await;
    let of_subject = token(&own).await;
    let sub = claims(&of_subject.access_token)["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    revoke_and_reinstate(&mut admin.clone(), &mut admin, Thing::Subject(sub.clone())).await;
    found.extend(both(&format!("subject:{sub}")));

    assert_eq!(markers(&press).await, found);
    let once = ["marker.set", "marker.reinstate"];
    for (token, times) in [(&shown, 2), (&given_up, 2), (&named, 2), (&of_subject, 1)] {
        // The subject's is of each of them.
        assert_eq!(story(&press, token).await, once.repeat(times));
    }
    let everything = administrator(&broker).await;
    assert_eq!(markers(&everything).await.len(), found.len() + 4);
    assert_eq!(story(&everything, &named).await, once.repeat(2));
}
