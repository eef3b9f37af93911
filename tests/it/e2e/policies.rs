//! Policies: written over the network or into files, in force without a restart.

use crate::support::broker::{Broker, LOOK, api_key, ask, refusal};
use crate::support::edge::{until, within};
use cambist::proto as pb;
use std::fs;

#[tokio::test]
async fn policies_take_effect_without_a_restart() {
    let broker = Broker::start().await;
    let mut policy = broker.policy().await;
    let caller = broker.anybody().await;
    let request = || ask(api_key(broker.api_key()), "shop");
    caller.yes(request()).await;
    let put = |text: &str| pb::PutPoliciesRequest {
        name: "closing-time".into(),
        text: text.into(),
        ..Default::default()
    };
    let status = policy
        .put_policies(put("@id(\"x\")\nforbid (principal, actoin, resource);"))
        .await
        .unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
    assert!(
        status.message().contains("2:"),
        "line and column: {}",
        status.message()
    );
    caller.yes(request()).await;
    let forbid = "@id(\"closed\") forbid (principal, action, resource == Audience::\"shop\");";
    let written = policy.put_policies(put(forbid)).await.unwrap().into_inner();
    assert_eq!(caller.no(request()).await, "policy_denied");
    let denied = broker
        .record(|record| record["code"] == "policy_denied")
        .await;
    assert_eq!(denied["rules"], serde_json::json!(["closed"]));
    assert!(denied.to_string().contains(&written.policy_revision));
    let delete = pb::DeletePoliciesRequest {
        name: "closing-time".into(),
        ..Default::default()
    };
    policy.delete_policies(delete).await.unwrap();
    caller.yes(request()).await;
}

#[tokio::test]
async fn policy_files_are_read_again_when_they_change() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let file = broker.path("policies/tests.cedar");
    let good = fs::read_to_string(&file).unwrap();
    let replace = |text: &str| {
        let next = broker.path("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &file).unwrap();
    };
    let becomes = async |code: &str| {
        let changed = async {
            loop {
                let answer = caller
                    .exchange(ask(api_key(broker.api_key()), "shop"))
                    .await;
                if answer.map_or_else(|status| refusal(&status), |_| String::new()) == code {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        within("the policies to change", changed).await;
    };
    replace(&format!(
        "{good}@id(\"closed\") forbid (principal, action, resource == Audience::\"shop\");"
    ));
    becomes("policy_denied").await;
    // Bad policies leave the old ones in force, and that is counted.
    replace("permit (");
    let refused = r#"reloads_total{what="policies",result="refused"}"#;
    until("the failure to be counted", async || {
        broker.metric(refused).await == Some(1)
    })
    .await;
    becomes("policy_denied").await;
    replace(&good);
    becomes("").await;
    // A file that comes later is watched as well, also when it is written in place.
    let late = broker.path("policies/late.cedar");
    for (audience, code) in [
        ("shop", "policy_denied"),
        ("shut", ""),
        ("shop", "policy_denied"),
    ] {
        let text = "@id(\"late\") forbid (principal, action, resource == Audience::";
        fs::write(&late, format!("{text}\"{audience}\");")).unwrap();
        becomes(code).await;
    }
}
