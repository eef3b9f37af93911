//! A part of the log is taken away under the broker: no answer passes for all there is.

use super::changed::{found, index};
use super::{administrator, broker};
use crate::support::broker::{ask, peer, refusal, segments};
use cambist::proto::prove_request::Record as Wanted;
use cambist::proto::{ExchangeResponse, ProveRequest, ShowRequest};
use std::fs::{self, File};

#[tokio::test]
async fn records_that_are_away_are_missed_by_whoever_asks() {
    let broker = broker().await;
    let web = broker.web().await;
    let first = web.yes(ask(peer(), "shop")).await;
    let second = web.yes(ask(peer(), "shop")).await;
    broker.published(index(&second) + 1).await;
    let client = administrator(&broker).await;
    let prove = async |token: &ExchangeResponse| {
        let record = Some(Wanted::TokenId(token.token_id.clone()));
        client.clone().prove(ProveRequest { record }).await
    };
    let path = segments(&broker.path("data/log")).pop().unwrap();
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    let problem = "record 0 is not there";
    assert_eq!(found(&client).await, (vec![], vec![problem.to_owned()]));
    let token_id = first.token_id.clone();
    let show = ShowRequest { token_id };
    let mut story = client.clone().show(show).await.unwrap().into_inner();
    let part = story.message().await.unwrap().unwrap();
    assert_eq!((part.record, &*part.problem), (None, problem));
    let told = prove(&first).await.unwrap_err();
    assert_eq!(refusal(&told), "log_unavailable");

    // What is there is proven, whatever else is away.
    fs::rename(&away, &path).unwrap();
    let records = fs::read_to_string(&path).unwrap();
    let its = records.find(&first.token_id).unwrap();
    let end = its + records[its..].find('\n').unwrap() + 1;
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(end.try_into().unwrap()).unwrap();
    let proven = prove(&first).await.unwrap().into_inner();
    assert_eq!(proven.record.unwrap().sequence, index(&first));
    let told = prove(&second).await.unwrap_err();
    assert_eq!(refusal(&told), "log_unavailable");
    let (records, problems) = found(&client).await;
    assert_eq!(records.len() as u64, index(&first) + 1);
    assert_eq!(
        problems,
        [format!("record {} is not there", index(&first) + 1)]
    );
}
