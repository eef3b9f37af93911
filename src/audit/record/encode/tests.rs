use super::*;
use crate::audit::record::{ActKind, BODY, Place, batch_of, fenced};
use crate::audit::testing::{NOW, context, key_id, minted, minted_of, token_id};
use crate::authn::{Actor, Began, Beginning, Credential, MadeFrom, Presented, TokenType, Verified};
use crate::clock::SystemRandomness;
use crate::clock::testing::TestClock;
use crate::id::{Audience, CredentialId};
use crate::limits;
use crate::marker::{Part, Thing};
use crate::policy::{Ask, Binding, Grant, Rule};
use crate::refusal::{Code, Refusal};
use crate::secret::Secret;
use proptest::prelude::*;
use serde_json::Value;

fn encoder() -> Encoder {
    Encoder::new(TestClock::at(NOW), SystemRandomness::shared())
}

/// The record's line as the writer makes it, parsed back.
fn parsed(record: &Record) -> Value {
    let mut line = Vec::new();
    let place = Place {
        sequence: 7,
        batch: 5,
    };
    record.line(&mut line, place);
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(!line.contains(&b'\n'));
    let value: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&value["v"], &value["seq"]), (&1.into(), &7.into()));
    assert_eq!(value["batch"], 5);
    // Whatever it says, what is left of its end tells the batch.
    assert_eq!(batch_of(&line), Some(5));
    assert_eq!(batch_of(&line[line.len() / 2..]), Some(5));
    value
}

#[test]
fn an_issue_says_everything_and_not_the_token() {
    let actor = |sub: &str, previous| {
        Some(Arc::new(Actor {
            sub: sub.into(),
            previous,
        }))
    };
    let verified =
        Verified::of_key_for_test(key_id(), "sub", actor("second", actor("first", None)));
    let grant = Grant::of_rules_for_test(verified, vec![Rule("r1".into())], "{\"a\":\r\n 1}");
    let mut context = context();
    context.request = Some("req-1".into());
    context.ask = Some(Ask {
        audience: Audience::parse("api").unwrap(),
        scopes: None,
        lifetime: Some(std::time::Duration::from_secs(60)),
        binding: Binding::Required,
        may_act: None,
    });
    let record = encoder().issue(&minted_of(grant, 3), &context).unwrap();
    let mut value = parsed(&record);
    let salt = value["salt"].take();
    assert_eq!(salt.as_str().unwrap().len(), 22);
    let nine = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk";
    let expected = serde_json::json!({
        "v": 1, "seq": 7, "batch": 5, "kind": "issue", "salt": null,
        "time": "2027-01-15T08:00:00.000000Z",
        "face": "grpc", "request": "req-1", "peer": {"address": "192.0.2.7"},
        "credential": "key:aaaaaaaaaaaaaaaa", "credential_kind": "api_key",
        "sub": "sub", "client_id": "sub", "owner": "shop", "tenant": "retail",
        "actors": ["second", "first"],
        "ask": {"audience": "api", "lifetime": 60, "bind": true},
        "grant": {
            "audience": "https://api.example.org", "scopes": ["read"], "lifetime": 900,
            "not_after": value["grant"]["not_after"], "bound": nine,
        },
        "jti": "AAAAAAAAAAAAAAAAAAAAAw", "iat": NOW, "exp": NOW + 900, "kid": "thumbprint",
        "token_sha256": value["token_sha256"],
        "lineage": {"c": ["key:aaaaaaaaaaaaaaaa"], "l": ["BwcHBwcHBwcHBwcHBwcHBw"]},
        "began": {"subject": {"at": 0}},
        "rules": ["r1"], "policy": {"a": 1},
    });
    assert_eq!(value, expected);
    assert_eq!(value["token_sha256"].as_str().unwrap().len(), 43);
    assert!(!String::from_utf8_lossy(record.as_bytes()).contains("token-3"));
}

/// What a token is made from is named, whether it came to one or not; of any other there is nothing to name.
#[test]
fn a_record_names_the_tokens_that_were_presented() {
    let made_from = |subject: Option<u128>, actor: Option<u128>| MadeFrom {
        subject: subject.map(token_id),
        actor: actor.map(token_id),
    };
    let refused = |made_from| {
        let refusal = Refusal::new(Code::PresenterNotAllowed, "why");
        let refused = Refused {
            made_from,
            ..Refused::new(&refusal)
        };
        let time = Timestamp::from_second(NOW).unwrap();
        parsed(&encoder().refuse(&refused, time, &context()).unwrap())
    };
    let issued = |made_from| {
        let verified =
            Verified::of_key_for_test(key_id(), "sub", None).made_from_for_test(made_from);
        let grant = Grant::of_rules_for_test(verified, Vec::new(), "{}");
        parsed(&encoder().issue(&minted_of(grant, 3), &context()).unwrap())
    };
    let (one, two) = ("AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg");
    for (tokens, expected) in [
        (made_from(None, None), Value::Null),
        (
            made_from(Some(1), None),
            serde_json::json!({ "subject": one }),
        ),
        (
            made_from(Some(1), Some(2)),
            serde_json::json!({ "subject": one, "actor": two }),
        ),
    ] {
        assert_eq!(issued(tokens)["made_from"], expected);
        assert_eq!(refused(tokens)["made_from"], expected);
    }
}

/// What a cut-off is held against, and what else a marker could cover of what was presented.
#[test]
fn an_issue_says_when_what_was_presented_began() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let key = crate::id::KeyId::parse("before").unwrap();
    let began = Began {
        subject: Beginning {
            at: at(NOW - 60),
            key: Some(key),
        },
        actor: Some(Beginning {
            at: at(NOW - 7_200),
            key: None,
        }),
    };
    let verified = Verified::of_key_for_test(key_id(), "sub", None).began_for_test(began);
    let grant = Grant::of_rules_for_test(verified, Vec::new(), "{}");
    let value = parsed(&encoder().issue(&minted_of(grant, 3), &context()).unwrap());
    let expected = serde_json::json!({
        "subject": {"at": NOW - 60, "kid": "before"}, "actor": {"at": NOW - 7_200},
    });
    assert_eq!(value["began"], expected);
}

#[test]
fn salts_differ() {
    let salt = || parsed(&encoder().issue(&minted(1), &context()).unwrap())["salt"].take();
    assert_ne!(salt(), salt());
}

#[test]
fn a_record_is_bounded_at_n_and_n_plus_one_and_so_is_its_line() {
    let grant = |input: &str| {
        let verified = Verified::of_key_for_test(key_id(), "sub", None);
        Grant::of_rules_for_test(verified, Vec::new(), input)
    };
    let encode = |filling: usize| {
        let input = format!("\"{}\"", "x".repeat(filling));
        encoder().issue(&minted_of(grant(&input), 1), &context())
    };
    let fixed = encode(0).unwrap().as_bytes().len();
    let largest = encode(BODY - fixed).unwrap();
    assert!(matches!(
        encode(BODY - fixed + 1),
        Err(RecordError::Oversize(_))
    ));
    // With the most that the writer can put in front of it.
    let key = crate::id::KeyId::parse(&"\"".repeat(limits::KEY_ID)).unwrap();
    let mut line = Vec::new();
    let place = Place {
        sequence: u64::MAX,
        batch: u64::MAX,
    };
    for is_too_early in [false, true] {
        line.clear();
        let refusal = fenced(&Part::absolute(Thing::SigningKey(&key)), is_too_early);
        largest.line_as_refused(&mut line, place, &refusal);
        assert!(line.len() <= limits::RECORD + 1, "{}", line.len());
        let _: Value = serde_json::from_slice(&line).unwrap();
    }
}

#[test]
fn the_fullest_summary_is_a_record() {
    let network = "2001:db8:aaaa::/48".parse().ok();
    let group = |code| Group {
        code,
        network,
        count: u64::MAX,
    };
    let most = limits::REFUSAL_GROUPS + Code::ALL.len();
    let groups: Vec<_> = Code::ALL
        .iter()
        .cycle()
        .take(most)
        .map(|code| group(*code))
        .collect();
    let record = encoder().refusals(Timestamp::UNIX_EPOCH, &groups).unwrap();
    assert_eq!(parsed(&record)["refused"].as_array().unwrap().len(), most);
}

#[test]
fn what_is_not_json_is_no_change() {
    for change in ["", "{", "{} {}", "nul", "{\"a\":\"\n\"}\u{0}"] {
        let act = Act {
            change: Some(change),
            ..Act::new(ActKind::Admin, "key.create")
        };
        assert!(encoder().act(&act).is_err(), "{change:?}");
    }
}

#[test]
fn no_secret_that_was_presented_is_written() {
    const CANARY: &str = "canary-2b7e1516";
    let secret = || Secret::new(CANARY.to_owned());
    let presented = Presented {
        subject: Credential::ApiKey(secret()),
        actor: Some(Credential::Token(secret(), TokenType::Jwt)),
        peer: Arc::clone(&context().peer),
    };
    let context = Context {
        peer: Arc::clone(&presented.peer),
        // The nearest that a careless face could come to writing what was presented.
        request: Some(format!("{presented:?}").into()),
        ..context()
    };
    let verified = Verified::of_key_for_test(key_id(), "sub", None);
    let grant = Grant::of_rules_for_test(verified, Vec::new(), "{}");
    let issued_at = Timestamp::UNIX_EPOCH;
    let id = token_id(1);
    let minted = Minted::for_test(grant, CANARY, id, issued_at, crate::audit::testing::kid());
    let refusal = Refusal::new(Code::CredentialRefused, "expired");
    let refused = Refused::new(&refusal);
    let act = Act {
        context: Some(&context),
        ..Act::new(ActKind::Admin, "key.create")
    };
    for record in [
        encoder().issue(&minted, &context),
        encoder().refuse(&refused, Timestamp::UNIX_EPOCH, &context),
        encoder().act(&act),
    ] {
        let record = record.unwrap();
        let text = String::from_utf8_lossy(record.as_bytes()).into_owned();
        assert!(
            text.contains("[redacted]") && !text.contains(CANARY),
            "{text}"
        );
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        any::<String>(),
        "[\\x00-\\x1f\"\\\\\u{2028}]{0,8}"
    ]
}

proptest! {
    /// Whatever the texts, a record is one JSON object on one line and says them back.
    #[test]
    fn any_text_survives(sub in text(), first in text(), rule in text(), request in text(), input in text()) {
        let actor = Arc::new(Actor { sub: first.as_str().into(), previous: None });
        let verified = Verified::of_key_for_test(key_id(), &sub, Some(actor));
        let policy = serde_json::to_string_pretty(&serde_json::json!({"in": [input.as_str()]})).unwrap();
        let grant = Grant::of_rules_for_test(verified.clone(), vec![Rule(rule.as_str().into())], &policy);
        let mut context = context();
        context.request = Some(request.as_str().into());
        let refusal = Refusal::new(Code::PolicyDenied, input.clone());
        let refused = Refused { verified: Some(&verified), ..Refused::new(&refusal) };
        let act = Act {
            context: Some(&context),
            sub: Some(&sub),
            target: Some(&first),
            change: Some(&policy),
            credential: Some(CredentialId::ApiKey(key_id())),
            ..Act::new(ActKind::Admin, &rule)
        };
        let issue = parsed(&encoder().issue(&minted_of(grant, 1), &context).unwrap());
        prop_assert_eq!(issue["sub"].as_str(), Some(&*sub));
        prop_assert_eq!(issue["actors"][0].as_str(), Some(&*first));
        prop_assert_eq!(issue["rules"][0].as_str(), Some(&*rule));
        prop_assert_eq!(issue["request"].as_str(), Some(&*request));
        prop_assert_eq!(issue["policy"]["in"][0].as_str(), Some(&*input));
        let refused = parsed(&encoder().refuse(&refused, Timestamp::UNIX_EPOCH, &context).unwrap());
        prop_assert_eq!(refused["detail"].as_str(), Some(&*input));
        let act = encoder().act(&act).unwrap();
        prop_assert_eq!(Record::from_outbox(act.as_bytes()).unwrap(), act.clone());
        let act = parsed(&act);
        prop_assert_eq!(act["action"].as_str(), Some(&*rule));
        prop_assert_eq!(act["target"].as_str(), Some(&*first));
        prop_assert_eq!(act["change"]["in"][0].as_str(), Some(&*input));
    }
}
