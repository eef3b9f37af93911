//! The layer that puts the token on calls.

use super::{World, ask, key, refusal};
use cambist::client::{BearerLayer, Error, Tokens};
use cambist::proto::ExplainRequest;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::refusal::Code;
use std::error::Error as _;
use tonic::Request;
use tower::Layer as _;

#[tokio::test]
async fn each_call_carries_the_token_and_no_other() {
    let world = World::new();
    let listening = world.listen().await;
    let endpoint = world.endpoint(&listening);
    let tokens = Tokens::builder(endpoint.clone(), key(), ask())
        .build()
        .unwrap();
    let channel = BearerLayer::new(tokens).layer(endpoint.channel_lazy());
    let mut client = TokenExchangeClient::new(channel);
    for _ in 0..2 {
        let mut request = Request::new(ExplainRequest::default());
        let stale = "Bearer stale".parse().unwrap();
        request.metadata_mut().insert("authorization", stale);
        client.explain(request).await.unwrap();
    }
    let expected = Some("Bearer token-0".to_owned());
    assert_eq!(world.standin.authorizations(), [expected.clone(), expected]);
}

#[tokio::test]
async fn without_a_token_the_call_is_not_made() {
    let world = World::new();
    let listening = world.listen().await;
    world
        .standin
        .refuse(Some(refusal(Code::AudienceNotAllowed)));
    let endpoint = world.endpoint(&listening);
    let tokens = Tokens::builder(endpoint.clone(), key(), ask())
        .build()
        .unwrap();
    let channel = BearerLayer::new(tokens).layer(endpoint.channel_lazy());
    let status = TokenExchangeClient::new(channel)
        .explain(ExplainRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    let cause = status
        .source()
        .and_then(|cause| cause.downcast_ref::<Error>());
    assert_eq!(
        cause.and_then(Error::refusal),
        Some(Code::AudienceNotAllowed)
    );
    assert!(world.standin.authorizations().is_empty());
}
