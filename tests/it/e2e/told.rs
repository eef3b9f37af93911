//! What those who may administer are told no to.

use crate::support::broker::{Broker, audience, refusal};
use cambist::proto as pb;
use cambist::proto::revocation_client::RevocationClient;
use serde_json::Value;

/// Who may administer and is told no is on the record with the method: once, and without what was asked for.
#[tokio::test]
async fn what_administrators_are_refused_is_on_the_record() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let name = "canary-of-an-administrator".to_owned();
    let get = pb::GetAudienceRequest { name: name.clone() };
    let put = || pb::PutAudienceRequest {
        audience: Some(audience(&name)),
        ..Default::default()
    };
    inventory.put_audience(put()).await.unwrap();
    let delete = pb::DeleteAudienceRequest {
        name: name.clone(),
        ..Default::default()
    };
    let again = inventory.put_audience(put()).await.unwrap_err();
    inventory.delete_audience(delete).await.unwrap();
    let gone = inventory.get_audience(get).await.unwrap_err();
    let wrong = inventory.list_keys(pb::ListKeysRequest {
        page_token: "canary-of-an-administrator".to_owned(),
        ..Default::default()
    });
    let wrong = wrong.await.unwrap_err();
    let curious = broker.svid("spiffe://example.org/curious");
    let mut exchange = broker.workload(&curious).await.0;
    let unknown = pb::ExplainRequest {
        subject: Some(pb::explain_request::Subject::KeyId(
            "aaaaaaaaaaaaaaaa".to_owned(),
        )),
        audience: "shop".to_owned(),
        ..Default::default()
    };
    let unexplained = exchange.explain(unknown).await.unwrap_err();
    let mut stranger = RevocationClient::new(broker.channel(Some(&broker.web)).await);
    let listed = stranger.list_markers(pb::ListMarkersRequest::default());
    let stranger = listed.await.unwrap_err();
    let local = format!("uid:{}", rustix::process::getuid().as_raw());
    let (web, curious) = ("spiffe://example.org/web", "spiffe://example.org/curious");
    for (status, code, who, method) in [
        (
            again,
            "conflict",
            &*local,
            "/cambist.v1.Inventory/PutAudience",
        ),
        (
            gone,
            "not_found",
            &*local,
            "/cambist.v1.Inventory/GetAudience",
        ),
        (
            wrong,
            "invalid_request",
            &*local,
            "/cambist.v1.Inventory/ListKeys",
        ),
        (
            unexplained,
            "not_found",
            curious,
            "/cambist.v1.TokenExchange/Explain",
        ),
        (stranger, "not_authorised", web, ""),
    ] {
        assert_eq!(refusal(&status), code);
        let is_of = |record: &Value| {
            record["code"] == code && (method.is_empty() || record["detail"] == method)
        };
        broker.record(is_of).await;
        let mut records = broker.records();
        records.retain(is_of);
        assert_eq!(records.len(), 1, "{code}");
        let record = &records[0];
        assert_eq!(record["kind"], "refuse");
        let came = match record["peer"]["uid"].as_u64() {
            Some(uid) => format!("uid:{uid}"),
            None => record["peer_id"].as_str().unwrap().to_owned(),
        };
        assert_eq!(came, who);
        assert!(!record.to_string().contains("canary"), "{record}");
    }
}
