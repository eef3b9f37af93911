//! API keys.

use crate::support::broker::{Broker, api_key, ask, claims};

#[tokio::test]
async fn a_key_is_exchanged() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let reply = caller.yes(ask(api_key(&broker.api_key), "shop")).await;
    assert_eq!(claims(&reply.access_token)["aud"], "shop");
}
