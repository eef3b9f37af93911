//! Whoever can write to the log's folder has no reader told what was not logged.

use super::tail::follow;
use super::{Channel, administrator, broker};
use crate::support::broker::{InProcess, Site, ask, peer, refusal, segments};
use crate::support::clock::testing::TestClock;
use crate::support::edge::{until, within};
use crate::support::svid::NOW;
use cambist::proto::audit_client::AuditClient;
use cambist::proto::prove_request::Record as Wanted;
use cambist::proto::{
    ExchangeResponse, ProveRequest, QueryRequest, Record, ShowRequest, TailRequest,
};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where a segment says for whom a token is that was issued: the last letter of that.
fn place(segment: &[u8], token: &str) -> usize {
    let audience = br#""audience":"shop"#;
    let token = segment
        .windows(token.len())
        .position(|bytes| bytes == token.as_bytes());
    let mut before = segment[..token.unwrap()].windows(audience.len());
    before.rposition(|bytes| bytes == audience).unwrap() + audience.len() - 1
}

/// Changes a token's record in its file, which the broker has open.
fn change(log: &Path, token: &str) {
    let path = segments(log).pop().unwrap();
    let at = place(&fs::read(&path).unwrap(), token);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"t", u64::try_from(at).unwrap()).unwrap();
}

pub(super) fn index(token: &ExchangeResponse) -> u64 {
    token.receipt.as_ref().unwrap().index
}

/// Records that are found, and what is said in the place of others.
pub(super) async fn found(client: &AuditClient<Channel>) -> (Vec<Record>, Vec<String>) {
    let answer = client.clone().query(QueryRequest::default()).await;
    let (mut answer, mut records, mut problems) = (answer.unwrap().into_inner(), vec![], vec![]);
    while let Some(item) = answer.message().await.unwrap() {
        match item.record {
            Some(record) => records.push(record),
            None => problems.push(item.problem),
        }
    }
    (records, problems)
}

/// Nobody is told of a token whose record was changed, but that it was.
async fn is_told_to_nobody(site: &Site, token: &ExchangeResponse) {
    let client = administrator(site).await;
    let index = index(token);
    let problem =
        format!("record {index} is not the one that was logged: run `cambist audit verify`");
    let (records, problems) = found(&client).await;
    let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (0..index).collect::<Vec<_>>());
    assert_eq!(problems, [problem.as_str()]);

    let token_id = token.token_id.clone();
    let show = ShowRequest { token_id };
    let mut story = client.clone().show(show).await.unwrap().into_inner();
    let part = story.message().await.unwrap().unwrap();
    assert_eq!((part.record, part.problem), (None, problem.clone()));
    assert_eq!(story.message().await.unwrap(), None);

    let from = TailRequest {
        from_sequence: Some(index),
        ..TailRequest::default()
    };
    let (mut tail, _) = follow(&client, from).await.unwrap();
    let tailed = within("the end", tail.message()).await.unwrap_err();
    let wanted = ProveRequest {
        record: Some(Wanted::Index(index)),
    };
    let proven = client.clone().prove(wanted).await.unwrap_err();
    for told in [tailed, proven] {
        assert_eq!(refusal(&told), "log_changed");
        assert!(told.message().ends_with(&problem), "{told:?}");
    }
}

#[tokio::test]
async fn a_record_that_was_changed_in_its_file_is_told_to_nobody() {
    let broker = broker().await;
    let web = broker.web().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(web.yes(ask(peer(), "shop")).await);
    }
    broker.published(index(&tokens[2]) + 1).await;
    change(&broker.path("data/log"), &tokens[1].token_id);
    is_told_to_nobody(&broker, &tokens[1]).await;
}

/// The plain segment is what is read where there are both.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_laid_beside_the_compressed_one_is_told_to_nobody() {
    let site = Site::with(|setup| {
        let with = "[log]\nsegment_age = \"1m\"\n";
        setup.config = setup.config.replacen("[log]\n", with, 1);
    });
    let clock = TestClock::at(NOW);
    let broker = InProcess::start(&site, clock.clone(), false).await;
    let token = broker.web().await.yes(ask(peer(), "shop")).await;
    broker.published(index(&token) + 1).await;
    clock.advance(120);
    broker.issues(ask(peer(), "shop")).await;
    let plain = broker.path("data/log/00000000000000000000.seg");
    let packed = plain.with_extension("seg.zst");
    until("a compressed segment", async || {
        packed.exists() && !plain.exists()
    })
    .await;
    let (records, problems) = found(&administrator(&broker).await).await;
    assert!(problems.is_empty() && records.len() as u64 > index(&token));
    let mut segment = zstd::decode_all(File::open(packed).unwrap()).unwrap();
    let at = place(&segment, &token.token_id);
    segment[at] = b't';
    fs::write(&plain, segment).unwrap();
    is_told_to_nobody(&broker, &token).await;
    broker.stop().await;
}
