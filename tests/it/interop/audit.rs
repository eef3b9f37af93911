//! Strangers read the log, as far as they may.

use super::foreign::Foreign;
use crate::support::broker::{Broker, api_key, ask, spec};
use cambist::proto::KeySpec;

const READER: &str = r#"
[[log.reader]]
spiffe_id = "spiffe://example.org/web"
owners = ["team-press"]
"#;

#[tokio::test]
async fn a_stranger_queries_the_log_of_its_team() {
    let broker = Broker::with(|setup| setup.config.push_str(READER)).await;
    let caller = broker.anybody().await;
    let key = KeySpec {
        owner: "team-press".into(),
        ..spec(&["shop"], &[])
    };
    let key = broker.create_key(key).await;
    for _ in 0..2 {
        caller.yes(ask(api_key(broker.api_key()), "shop")).await;
    }
    let own = caller.yes(ask(api_key(&key.secret), "shop")).await;
    let target = broker.issuer.trim_start_matches("https://");
    let [ca, certificate, key] = [&broker.ca, &broker.web.certificate, &broker.web.key]
        .map(|path| path.display().to_string());
    let issues = ["--kind", "issue", "--newest", "--limit", "10"];
    let known = ["--certificate", &certificate, "--key", &key];
    let arguments = [&[target, &ca], &known[..], &issues].concat();
    let records = Foreign::Python.audit(&arguments).await.yes()["records"].take();
    let ids: Vec<_> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["jti"])
        .collect();
    assert_eq!(ids, [&own.token_id]);
    let said = Foreign::Python.audit(&[target, &ca]).await;
    assert_eq!(said.refused(), "not_authorised");
}
