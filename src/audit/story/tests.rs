use super::*;
use crate::audit::testing::{Memory, context, key_id, minted_of, open, token_id};
use crate::audit::{Act, ActKind, Log, Refused};
use crate::authn::{MadeFrom, Verified};
use crate::id::{CredentialId, KeyPublicId};
use crate::policy::Grant;
use crate::refusal::{Code, Refusal};

fn issue(log: &Log, n: u128, subject: Option<u128>, actor: Option<u128>) -> impl Future {
    let made_from = MadeFrom {
        subject: subject.map(token_id),
        actor: actor.map(token_id),
    };
    let verified = Verified::of_key_for_test(key_id(), "sub", None).made_from_for_test(made_from);
    let grant = Grant::of_rules_for_test(verified, Vec::new(), "{}");
    log.issue(minted_of(grant, n), &context())
}

async fn act(log: &Log, kind: ActKind, action: &str, key: Option<KeyPublicId>, change: &str) {
    let act = Act {
        credential: key.map(CredentialId::ApiKey),
        change: Some(change),
        ..Act::new(kind, action)
    };
    log.event(&act).await.unwrap();
}

fn refuse(log: &Log, subject: u128) {
    let refusal = Refusal::new(Code::PresenterNotAllowed, "why");
    let refused = Refused {
        credential: Some(CredentialId::ApiKey(key_id())),
        made_from: MadeFrom {
            subject: Some(token_id(subject)),
            actor: None,
        },
        ..Refused::new(&refusal)
    };
    log.refuse(&refused, &context());
}

fn told(device: &Arc<Memory>, visible: Filter, n: u128) -> Story {
    let token = token_id(n).to_string();
    story(Arc::clone(device) as _, visible, u64::MAX, &token).unwrap()
}

fn parts(story: &Story) -> Vec<(u64, Relation)> {
    let parts = story.records.iter();
    parts
        .map(|(relation, entry)| (entry.sequence, *relation))
        .collect()
}

#[tokio::test]
async fn a_story_goes_up_to_the_first_and_down_to_the_last() {
    use Relation::{Ancestor, Change, Descendant, Refusal, Token};
    let device = Memory::new();
    let opened = open(&device);
    let log = &opened.log;
    issue(log, 1, None, None).await;
    issue(log, 2, None, None).await;
    issue(log, 3, Some(1), Some(2)).await;
    // Of the same key, and nothing to do with it.
    issue(log, 4, Some(1), None).await;
    issue(log, 5, Some(3), None).await;
    refuse(log, 3);
    let other = KeyPublicId::parse("bbbbbbbbbbbbbbbb").unwrap();
    act(log, ActKind::Admin, "key.suspend", Some(other), "{}").await;
    act(log, ActKind::Admin, "key.suspend", Some(key_id()), "{}").await;
    issue(log, 6, Some(9), Some(5)).await;
    refuse(log, 6);
    refuse(log, 4);
    for (kid, state) in [
        ("thumbprint", "retired"),
        ("another", "compromised"),
        ("thumbprint", "compromised"),
    ] {
        let change = format!(r#"{{"keys":[{{"kid":"{kid}","state":"{state}"}}]}}"#);
        act(log, ActKind::Keys, SIGNING_KEY_COMPROMISED, None, &change).await;
    }
    // Begun before a token, and in the log after it.
    opened.clock.step(-1);
    act(log, ActKind::Admin, "key.resume", Some(key_id()), "{}").await;
    // By then it is over.
    opened.clock.advance(900 + 61);
    act(log, ActKind::Admin, "key.revoke", Some(key_id()), "{}").await;
    let story = told(&device, Filter::default(), 3);
    let expected = [
        (0, Ancestor),
        (1, Ancestor),
        (2, Token),
        (4, Descendant),
        (5, Refusal),
        (7, Change),
        (8, Descendant),
        (9, Refusal),
        (13, Change),
        (14, Change),
    ];
    assert_eq!(parts(&story), expected);
    assert!(story.problems.is_empty(), "{:?}", story.problems);
    assert!(told(&device, Filter::default(), 77).records.is_empty());
    // Its key's owner sees the tokens; who stands behind the acts and the refusals here is not said.
    let visible = |owner: &str| Filter::default().within(Field::Owner, [owner.to_owned()].into());
    let seen: Vec<_> = parts(&told(&device, visible("shop"), 3));
    assert_eq!(
        seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [0, 1, 2, 4, 8]
    );
    assert!(told(&device, visible("another"), 3).records.is_empty());
}

#[tokio::test]
async fn a_story_tells_of_the_certificate_that_a_token_is_bound_to() {
    let device = Memory::new();
    let log = open(&device).log;
    // Of a key, and bound to the certificate that it was shown with.
    issue(&log, 1, None, None).await;
    let credentials = [
        CredentialId::Certificate([9; 32]),
        CredentialId::Certificate([8; 32]),
        CredentialId::ApiKey(key_id()),
    ];
    for action in [MARKER_SET, MARKER_REINSTATED] {
        for credential in credentials {
            let target = format!("credential:{credential}");
            let act = Act {
                credential: Some(credential),
                target: Some(&target),
                change: Some(r#"{"marker":"AAAAAAAAAAAAAAAAAAAAAA"}"#),
                ..Act::new(ActKind::Admin, action)
            };
            log.event(&act).await.unwrap();
        }
    }
    use Relation::{Change, Token};
    let expected = [
        (0, Token),
        (1, Change),
        (3, Change),
        (4, Change),
        (6, Change),
    ];
    assert_eq!(parts(&told(&device, Filter::default(), 1)), expected);
}

#[tokio::test]
async fn a_story_is_as_long_as_the_bound_and_says_when_there_is_more() {
    let device = Memory::new();
    let log = open(&device).log;
    issue(&log, 1, None, None).await;
    let mut children: Vec<_> = (2..=u128::try_from(limits::STORY).unwrap())
        .map(|n| issue(&log, n, Some(1), None))
        .collect();
    children.pop().unwrap().await;
    let story = told(&device, Filter::default(), 1);
    assert_eq!((story.records.len(), story.longer), (limits::STORY, false));
    issue(&log, 0, Some(1), None).await;
    let story = told(&device, Filter::default(), 1);
    assert_eq!((story.records.len(), story.longer), (limits::STORY, true));
    assert!(story.problems.is_empty(), "nothing is amiss with the log");
}
