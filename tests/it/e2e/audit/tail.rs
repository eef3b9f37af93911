//! Following the log.

use super::{administrator, broker, parsed, reader};
use crate::support::broker::{Broker, api_key, ask, peer, refusal, segments, spec};
use crate::support::edge::{until, within};
use cambist::limits;
use cambist::proto::{KeySpec, RecordFilter, TailRequest, TailResponse};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

/// Somebody who follows, and where from: the first message tells it.
pub(super) async fn follow(
    client: &super::AuditClient<super::Channel>,
    request: TailRequest,
) -> Result<(Streaming<TailResponse>, u64), Status> {
    let mut tail = client.clone().tail(request).await?.into_inner();
    let first = tail.message().await?.unwrap();
    assert_eq!(first.record, None);
    Ok((tail, first.next))
}

pub(super) async fn next(tail: &mut Streaming<TailResponse>) -> Value {
    let message = within("a record", tail.message()).await.unwrap().unwrap();
    let record = message.record.unwrap();
    assert_eq!(message.next, record.sequence + 1);
    parsed(&record)
}

#[tokio::test]
async fn a_record_is_seen_by_those_who_may() {
    let broker = broker().await;
    let key = |owner: &str| KeySpec {
        owner: owner.into(),
        ..spec(&["shop"], &[])
    };
    let press = broker.create_key(key("team-press")).await;
    let everything = reader(&broker, "siem").await;
    let its = reader(&broker, "press").await;
    let now = TailRequest::default;
    let (mut everything, from) = follow(&everything, now()).await.unwrap();
    let (mut its, _) = follow(&its, now()).await.unwrap();
    let there = u64::try_from(broker.records().len()).unwrap();
    assert_eq!(from, there);
    let caller = broker.anybody().await;
    let other = caller.yes(ask(api_key(broker.api_key()), "shop")).await;
    let own = caller.yes(ask(api_key(&press.secret), "shop")).await;
    for expected in [&other, &own] {
        assert_eq!(next(&mut everything).await["jti"], expected.token_id);
    }
    let seen = next(&mut its).await;
    assert_eq!(seen["jti"], own.token_id, "the first that is its own");
    let issues = TailRequest {
        filter: Some(RecordFilter {
            kinds: vec!["issue".into()],
            ..RecordFilter::default()
        }),
        from_sequence: Some(0),
    };
    let (mut past, from) = follow(&administrator(&broker).await, issues).await.unwrap();
    assert_eq!(from, 0);
    for expected in [&other, &own] {
        assert_eq!(next(&mut past).await["jti"], expected.token_id);
    }
    let beyond = TailRequest {
        from_sequence: Some(1_000_000),
        ..now()
    };
    let told = follow(&administrator(&broker).await, beyond).await;
    assert_eq!(refusal(&told.unwrap_err()), "invalid_request");
}

/// Nothing is missed and nothing comes twice where one segment ends and the next begins.
#[tokio::test]
async fn a_tail_goes_on_over_segments() {
    let broker = broker().await;
    let client = administrator(&broker).await;
    let (mut tail, from) = follow(&client, TailRequest::default()).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut expected = from;
        loop {
            let record = next(&mut tail).await;
            assert_eq!(record["seq"], expected);
            expected += 1;
            if record["ask"]["audience"] == "billing" {
                return expected;
            }
        }
    });
    let web = broker.web().await;
    let folder = broker.path("data/log");
    while segments(&folder).len() < 3 {
        let mut many = JoinSet::new();
        for _ in 0..50 {
            let web = web.clone();
            many.spawn(async move { web.yes(ask(peer(), "shop")).await });
        }
        many.join_all().await;
    }
    web.yes(ask(peer(), "billing")).await;
    let end = within("the last record", reading).await.unwrap();
    assert!(usize::try_from(end).unwrap() <= broker.records().len());
}

#[tokio::test]
async fn a_drain_ends_a_tail_and_says_where_to_go_on() {
    let mut broker = broker().await;
    let client = administrator(&broker).await;
    let (mut tail, _) = follow(&client, TailRequest::default()).await.unwrap();
    let web = broker.web().await;
    let reply = web.yes(ask(peer(), "shop")).await;
    assert_eq!(next(&mut tail).await["jti"], reply.token_id);
    let (ended, status) = tokio::join!(broker.terminate(), async {
        loop {
            match within("the end", tail.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    });
    assert!(ended.success());
    assert_eq!(refusal(&status), "draining");
    let info = status.get_details_error_info().unwrap();
    let from: u64 = info.metadata["next"].parse().unwrap();
    assert!(from > reply.receipt.unwrap().index);
    broker.restart().await;
    let again = TailRequest {
        from_sequence: Some(from),
        ..TailRequest::default()
    };
    let client = administrator(&broker).await;
    let (mut tail, _) = follow(&client, again).await.unwrap();
    assert_eq!(next(&mut tail).await["seq"], from);
}

async fn following(broker: &Broker, count: usize) {
    until("the tails to be counted", async || {
        broker.metric("log_tails").await == u64::try_from(count).ok()
    })
    .await;
}

#[tokio::test]
async fn so_many_follow_at_a_time_and_those_who_leave_make_room() {
    let broker = broker().await;
    let (siem, press) = (
        reader(&broker, "siem").await,
        reader(&broker, "press").await,
    );
    let busy = async |client| {
        let told = follow(client, TailRequest::default()).await.unwrap_err();
        assert_eq!(refusal(&told), "too_busy");
    };
    let mut tails = Vec::new();
    // One who may see little leaves room to who may see all.
    for client in [&press, &siem] {
        for _ in 0..limits::LOG_TAILS_PER_PRINCIPAL {
            tails.push(follow(client, TailRequest::default()).await.unwrap());
        }
        busy(client).await;
    }
    following(&broker, limits::LOG_TAILS).await;
    let client = administrator(&broker).await;
    busy(&client).await;
    tails.pop();
    following(&broker, limits::LOG_TAILS - 1).await;
    tails.push(follow(&client, TailRequest::default()).await.unwrap());
    drop(tails);
    following(&broker, 0).await;
}
