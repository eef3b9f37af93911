//! One token's story, and the proof of a record.

use super::{AuditClient, Channel, administrator, broker, id, parsed, query, reader};
use crate::support::broker::{Broker, api_key, ask, delegated, peer, refusal, reply, spec, token};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cambist::proto::prove_request::Record as Wanted;
use cambist::proto::{
    ExchangeResponse, KeySpec, ProveRequest, ProveResponse, QueryRequest, Relation, ShowRequest,
    SuspendKeyRequest, TailRequest,
};
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use tonic::Status;

/// A story as (relation, record).
async fn show(
    client: &AuditClient<Channel>,
    token: &str,
) -> Result<Vec<(Relation, Value)>, Status> {
    let request = ShowRequest {
        token_id: token.into(),
    };
    let mut parts = Vec::new();
    let mut answer = client.clone().show(request).await?.into_inner();
    while let Some(part) = answer.message().await? {
        assert_eq!(part.problem, "");
        let relation = part.relation();
        parts.push((relation, parsed(&part.record.unwrap())));
    }
    Ok(parts)
}

async fn prove(client: &AuditClient<Channel>, wanted: Wanted) -> Result<ProveResponse, Status> {
    let request = ProveRequest {
        record: Some(wanted),
    };
    let answer = client.clone().prove(request).await?;
    Ok(answer.into_inner())
}

/// A key of a team, and three tokens, each made from the one before by the key as their party.
async fn chain(broker: &Broker, owner: &str) -> (String, String, Vec<ExchangeResponse>) {
    let key = KeySpec {
        owner: owner.into(),
        ..spec(&["shop"], &["orders:read"])
    };
    let key = broker.create_key(key).await;
    let caller = broker.anybody().await;
    let mut tokens = vec![caller.yes(ask(api_key(&key.secret), "shop")).await];
    for _ in 0..2 {
        let last = token(&tokens.last().unwrap().access_token);
        let next = delegated(last, api_key(&key.secret), "shop");
        tokens.push(caller.yes(next).await);
    }
    (id(&key), key.secret, tokens)
}

#[tokio::test]
async fn a_tokens_story_is_told_to_those_who_may_hear_it() {
    let broker = broker().await;
    let (key, _, tokens) = chain(&broker, "team-press").await;
    let (_, _, others) = chain(&broker, "team-shop").await;
    // Presented by somebody that it was not issued to.
    let stolen = ask(token(&tokens[1].access_token), "shop");
    let code = broker.web().await.no(stolen).await;
    let suspend = SuspendKeyRequest {
        id: key.clone(),
        ..SuspendKeyRequest::default()
    };
    let mut inventory = broker.inventory().await;
    inventory.suspend_key(suspend).await.unwrap();
    let made_from = |record: &Value| record["made_from"]["subject"] == tokens[1].token_id;
    broker.record(|r| r["code"] == *code && made_from(r)).await;

    let press = reader(&broker, "press").await;
    let story = show(&press, &tokens[1].token_id).await.unwrap();
    let told: Vec<_> = story
        .iter()
        .map(|(relation, record)| {
            let named = record["jti"].as_str().or(record["action"].as_str());
            (*relation, named.unwrap_or_default())
        })
        .collect();
    let [first, itself, last] = [0, 1, 2].map(|n| tokens[n].token_id.as_str());
    assert!(told.contains(&(Relation::Refusal, "")), "{told:?}");
    let told: Vec<_> = told
        .into_iter()
        .filter(|(relation, _)| *relation != Relation::Refusal)
        .collect();
    let expected = [
        (Relation::Ancestor, first),
        (Relation::Token, itself),
        (Relation::Descendant, last),
        (Relation::Change, "key.suspend"),
    ];
    assert_eq!(told, expected);
    assert!(
        story
            .iter()
            .all(|(_, record)| record["owner"] == "team-press")
    );
    let everything = show(&administrator(&broker).await, itself).await.unwrap();
    assert_eq!(everything, story);

    // Of another's token it is told what it would be told of none.
    let none = show(&press, "AAAAAAAAAAAAAAAAAAAAAA").await.unwrap_err();
    assert_eq!(refusal(&none), "not_found");
    let others = show(&press, &others[1].token_id).await.unwrap_err();
    assert_eq!(reply(&others), reply(&none));
    let stranger = AuditClient::new(broker.channel(Some(&broker.web)).await);
    let told = show(&stranger, itself).await.unwrap_err();
    assert_eq!(refusal(&told), "not_authorised");
}

/// An actor token is part of what a token is made from.
#[tokio::test]
async fn a_token_names_the_actors_token_too() {
    let broker = broker().await;
    let (web, shop) = (broker.web().await, broker.svid("spiffe://example.org/shop"));
    let shop = broker.workload(&shop).await;
    let subject = web.yes(ask(peer(), "shop")).await;
    let actor = shop.yes(ask(peer(), "shop")).await;
    let both = delegated(
        token(&subject.access_token),
        token(&actor.access_token),
        "billing",
    );
    let made = shop.yes(both).await;
    let siem = reader(&broker, "siem").await;
    let story = show(&siem, &made.token_id).await.unwrap();
    let said: Vec<_> = story
        .iter()
        .map(|(relation, record)| (*relation, record["jti"].as_str().unwrap()))
        .collect();
    let expected = [
        (Relation::Ancestor, subject.token_id.as_str()),
        (Relation::Ancestor, actor.token_id.as_str()),
        (Relation::Token, made.token_id.as_str()),
    ];
    assert_eq!(said, expected);
    for parent in [&subject, &actor] {
        let story = show(&siem, &parent.token_id).await.unwrap();
        let down: Vec<_> = story.iter().map(|(relation, _)| *relation).collect();
        assert_eq!(down, [Relation::Token, Relation::Descendant]);
    }
}

/// Verified by parts that nobody here wrote: the note, the checkpoint and the path.
fn is_proven(key: &str, answer: &ProveResponse) -> bool {
    let (head, note) = answer.proof.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    let index = lines.next().unwrap().strip_prefix("index ").unwrap();
    let path: Vec<_> = lines
        .map(|line| tlog_tiles::Hash(STANDARD.decode(line).unwrap().try_into().unwrap()))
        .collect();
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(key).unwrap();
    let verifiers = VerifierList::new(vec![Box::new(verifier)]);
    if note.verify(&verifiers).is_err() {
        return false;
    }
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let record = answer.record.as_ref().unwrap();
    assert_eq!(index, record.sequence.to_string());
    let leaf = tlog_tiles::record_hash(&record.line);
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    tlog_tiles::check_record(&path, size, root, record.sequence, leaf).is_ok()
}

#[tokio::test]
async fn a_record_is_proven_to_strangers() {
    let broker = broker().await;
    let (_, _, tokens) = chain(&broker, "team-press").await;
    let (_, _, others) = chain(&broker, "team-shop").await;
    let key = fs::read_to_string(broker.path("data/log").join(cambist::audit::DiskShelf::KEY));
    let key = key.unwrap().trim_end().to_owned();
    let press = reader(&broker, "press").await;
    // At once: the checkpoint is waited for.
    let by_token = Wanted::TokenId(tokens[2].token_id.clone());
    let mut answer = prove(&press, by_token).await.unwrap();
    let record = parsed(answer.record.as_ref().unwrap());
    assert_eq!(record["jti"], tokens[2].token_id);
    assert!(is_proven(&key, &answer));
    answer.record.as_mut().unwrap().line[20] ^= 1;
    assert!(!is_proven(&key, &answer));
    let index = |reply: &ExchangeResponse| Wanted::Index(reply.receipt.as_ref().unwrap().index);
    let answer = prove(&press, index(&tokens[0])).await.unwrap();
    assert_eq!(
        parsed(answer.record.as_ref().unwrap())["jti"],
        tokens[0].token_id
    );
    assert!(is_proven(&key, &answer));

    let none = prove(&press, Wanted::Index(1_000_000)).await.unwrap_err();
    assert_eq!(refusal(&none), "not_found");
    for others in [
        index(&others[0]),
        Wanted::TokenId(others[0].token_id.clone()),
    ] {
        let told = prove(&press, others.clone()).await.unwrap_err();
        assert_eq!(reply(&told), reply(&none));
        assert!(prove(&administrator(&broker).await, others).await.is_ok());
    }
    let stranger = AuditClient::new(broker.channel(Some(&broker.web)).await);
    let told = prove(&stranger, Wanted::Index(0)).await.unwrap_err();
    assert_eq!(refusal(&told), "not_authorised");
}

/// Whatever is asked, no answer holds a key's secret or a token.
#[tokio::test]
async fn no_answer_holds_a_secret() {
    let broker = broker().await;
    let (_, secret, tokens) = chain(&broker, "team-press").await;
    let client = administrator(&broker).await;
    let mut answers = Vec::new();
    for record in query(&client, QueryRequest::default()).await.unwrap() {
        answers.push(record.line);
    }
    let from = TailRequest {
        from_sequence: Some(0),
        ..TailRequest::default()
    };
    let mut tail = client.clone().tail(from).await.unwrap().into_inner();
    for _ in 0..answers.len() {
        let message = tail.message().await.unwrap().unwrap();
        answers.extend(message.record.map(|record| record.line));
    }
    for token in &tokens {
        let story = show(&client, &token.token_id).await.unwrap();
        answers.extend(
            story
                .iter()
                .map(|(_, record)| record.to_string().into_bytes()),
        );
        let by_token = Wanted::TokenId(token.token_id.clone());
        let proven = prove(&client, by_token).await.unwrap();
        answers.push(proven.record.unwrap().line);
        answers.push(proven.proof.into_bytes());
    }
    assert!(answers.len() > 20);
    let secrets = tokens.iter().map(|token| token.access_token.as_str());
    for secret in secrets.chain([secret.as_str(), broker.api_key()]) {
        let end = &secret[secret.len() - 40..];
        let holds = |answer: &Vec<u8>| String::from_utf8_lossy(answer).contains(end);
        assert!(!answers.iter().any(holds));
    }
}
