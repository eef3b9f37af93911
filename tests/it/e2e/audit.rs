//! Reading the log: who sees what of it, and as it comes.

mod away;
mod changed;
mod revoked;
mod story;
mod tail;

use crate::support::broker::{Broker, Caller, LOOK, Site, api_key, ask, peer, refusal, spec};
use crate::support::edge::within;
use cambist::proto::audit_client::AuditClient;
use cambist::proto::{
    self as pb, CreateKeyResponse, KeySpec, QueryRequest, Record, RecordFilter, RevokeKeyRequest,
    RotateKeyRequest, SuspendKeyRequest, TailRequest,
};
use serde_json::Value;
use std::collections::BTreeSet;
use tonic::Status;
use tonic::transport::Channel;

const READERS: &str = r#"
[[log.reader]]
spiffe_id = "spiffe://example.org/siem"

[[log.reader]]
spiffe_id = "spiffe://example.org/press"
owners = ["team-press"]
"#;

async fn broker() -> Broker {
    Broker::with(|setup| setup.config.push_str(READERS)).await
}

async fn reader(broker: &Broker, name: &str) -> AuditClient<Channel> {
    let svid = broker.svid(&format!("spiffe://example.org/{name}"));
    AuditClient::new(broker.channel(Some(&svid)).await)
}

async fn administrator(broker: &Site) -> AuditClient<Channel> {
    AuditClient::new(broker.local().await)
}

/// All that a query finds.
async fn query(
    client: &AuditClient<Channel>,
    request: QueryRequest,
) -> Result<Vec<Record>, Status> {
    let mut found = Vec::new();
    let mut answer = client.clone().query(request).await?.into_inner();
    while let Some(item) = answer.message().await? {
        assert_eq!(item.problem, "");
        found.push(item.record.unwrap());
    }
    Ok(found)
}

fn parsed(record: &Record) -> Value {
    let value: Value = serde_json::from_slice(&record.line).unwrap();
    assert_eq!(value["seq"], record.sequence);
    value
}

fn id(made: &CreateKeyResponse) -> String {
    made.key.as_ref().unwrap().id.clone()
}

/// Lets everything happen to keys of a team that is recorded of one. Gives their ids.
async fn life(broker: &Broker, owner: &str) -> Vec<String> {
    let of = |spec: KeySpec| KeySpec {
        owner: owner.into(),
        ..spec
    };
    let key = broker
        .create_key(of(spec(&["shop"], &["orders:read"])))
        .await;
    let once = KeySpec {
        uses: 1,
        ..of(spec(&["shop"], &["orders:read"]))
    };
    let once = broker.create_key(once).await;
    let (caller, web) = (broker.anybody().await, broker.web().await);
    caller.yes(ask(api_key(&once.secret), "shop")).await;
    let spent = ask(api_key(&once.secret), "shop");
    assert_eq!(caller.no(spent).await, "credential_spent");
    let first = caller.yes(ask(api_key(&key.secret), "shop")).await;
    let beyond = ask(api_key(&key.secret), "billing");
    assert_eq!(caller.no(beyond).await, "audience_not_allowed");
    // The token of a key, in the hands of somebody else.
    let stolen = ask(
        crate::support::broker::token(&first.access_token),
        "billing",
    );
    assert_eq!(web.no(stolen).await, "presenter_not_allowed");
    let mut inventory = broker.inventory().await;
    let id_of = || id(&key);
    let suspend = SuspendKeyRequest {
        id: id_of(),
        ..SuspendKeyRequest::default()
    };
    inventory.suspend_key(suspend).await.unwrap();
    let suspended = ask(api_key(&key.secret), "shop");
    assert_eq!(caller.no(suspended).await, "credential_refused");
    let resume = pb::ResumeKeyRequest {
        id: id_of(),
        ..pb::ResumeKeyRequest::default()
    };
    inventory.resume_key(resume).await.unwrap();
    let rotate = RotateKeyRequest {
        id: id_of(),
        ..RotateKeyRequest::default()
    };
    let rotated = inventory.rotate_key(rotate).await.unwrap().into_inner();
    let successor = rotated.key.unwrap().id;
    let revoke = RevokeKeyRequest {
        id: successor.clone(),
        ..RevokeKeyRequest::default()
    };
    inventory.revoke_key(revoke).await.unwrap();
    // Refusals before authentication are recorded a little later.
    for code in ["credential_refused", "presenter_not_allowed"] {
        let name = format!("key:{}", id_of());
        let is_its = |record: &Value| record["code"] == code && record["credential"] == *name;
        broker.record(is_its).await;
    }
    vec![id_of(), id(&once), successor]
}

/// What it sees is all that happened to its credentials, and nothing that happened to another's.
#[tokio::test]
async fn an_owner_sees_its_own_and_nothing_else() {
    let broker = broker().await;
    let ids = life(&broker, "team-press").await;
    life(&broker, "team-shop").await;
    let all = broker.records();
    let is_its = |record: &&Value| ids.iter().any(|id| record.to_string().contains(id));
    let its: Vec<_> = all.iter().filter(is_its).collect();
    let said = |member: &str| -> BTreeSet<&str> {
        its.iter()
            .filter_map(|record| record[member].as_str())
            .collect()
    };
    assert_eq!(said("owner"), ["team-press"].into(), "{its:?}");
    assert!(its.iter().all(|record| record["owner"].is_string()));
    assert_eq!(said("kind"), ["admin", "issue", "refuse", "spend"].into());
    let actions = [
        "key.create",
        "key.resume",
        "key.revoke",
        "key.rotate",
        "key.spend",
        "key.suspend",
    ];
    assert_eq!(said("action"), actions.into());

    let within = QueryRequest {
        before_sequence: all.len().try_into().unwrap(),
        ..QueryRequest::default()
    };
    let press = reader(&broker, "press").await;
    let seen = query(&press, within.clone()).await.unwrap();
    let seen: Vec<_> = seen.iter().map(parsed).collect();
    assert_eq!(seen.iter().collect::<Vec<_>>(), its);
    // Nor does it see more when it asks for more.
    let asked = |owner: &str| QueryRequest {
        filter: Some(RecordFilter {
            owners: vec![owner.into()],
            ..RecordFilter::default()
        }),
        ..within.clone()
    };
    assert_eq!(query(&press, asked("team-shop")).await.unwrap(), []);
    let own = query(&press, asked("team-press")).await.unwrap();
    assert_eq!(own.len(), its.len());

    let admin = broker.svid("spiffe://example.org/admin");
    let admin = AuditClient::new(broker.channel(Some(&admin)).await);
    for everything in [
        reader(&broker, "siem").await,
        admin,
        administrator(&broker).await,
    ] {
        let seen = query(&everything, within.clone()).await.unwrap();
        assert_eq!(seen.iter().map(parsed).collect::<Vec<_>>(), all);
    }
}

#[tokio::test]
async fn a_stranger_reads_nothing_and_that_is_on_the_record() {
    let broker = broker().await;
    let partner = broker.svid("spiffe://partner.example.com/siem");
    for (who, svid) in [
        ("nobody", None),
        ("web", Some(&broker.web)),
        ("a namesake", Some(&partner)),
    ] {
        let client = AuditClient::new(broker.channel(svid).await);
        let told = query(&client, QueryRequest::default()).await.unwrap_err();
        assert_eq!(refusal(&told), "not_authorised", "{who}");
        let told = client.clone().tail(TailRequest::default()).await;
        assert_eq!(refusal(&told.unwrap_err()), "not_authorised", "{who}");
    }
    let is_it = |record: &Value| {
        record["code"] == "not_authorised" && record["peer_id"] == "spiffe://example.org/web"
    };
    broker.record(is_it).await;
    // Who reads the log administers nothing.
    let siem = broker.svid("spiffe://example.org/siem");
    let mut inventory =
        pb::inventory_client::InventoryClient::new(broker.channel(Some(&siem)).await);
    let told = inventory.list_keys(pb::ListKeysRequest::default()).await;
    assert_eq!(refusal(&told.unwrap_err()), "not_authorised");
}

/// A reader whose certificate is revoked reads no further, on the connection that it has.
#[tokio::test]
async fn a_revoked_certificate_ends_what_its_holder_follows() {
    let broker = broker().await;
    let siem = broker.svid("spiffe://example.org/siem");
    let client = AuditClient::new(broker.channel(Some(&siem)).await);
    let tail = client.clone().tail(TailRequest::default()).await;
    let mut tail = tail.unwrap().into_inner();
    assert_eq!(tail.message().await.unwrap().unwrap().record, None);
    let list = crate::support::broker::crl(&broker.home, &[siem.serial]);
    std::fs::write(broker.path("example.org.crl"), list).unwrap();
    let web = broker.web().await;
    let ended = async {
        loop {
            // Each is something to read.
            web.yes(ask(peer(), "shop")).await;
            let next = tokio::time::timeout(LOOK * 20, tail.message()).await;
            if let Ok(Err(status)) = next {
                return status;
            }
        }
    };
    let status = within("the tail to end", ended).await;
    assert_eq!(refusal(&status), "credential_refused");
    let told = query(&client, QueryRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&told), "credential_refused");
}

/// Of a user of the machine nothing is told but its number, where it showed nothing else.
#[tokio::test]
async fn a_local_user_is_found_by_what_it_was_refused() {
    let broker = broker().await;
    let user = Caller::new(broker.local().await);
    let code = user.no(ask(peer(), "shop")).await;
    let own = format!("uid:{}", rustix::process::getuid().as_raw());
    broker.record(|record| record["code"] == *code).await;
    let refusals = async |principal: &str| {
        let filter = RecordFilter {
            kinds: vec!["refuse".to_owned()],
            principals: vec![principal.to_owned()],
            ..RecordFilter::default()
        };
        let request = QueryRequest {
            filter: Some(filter),
            ..QueryRequest::default()
        };
        query(&administrator(&broker).await, request).await.unwrap()
    };
    let found: Vec<_> = refusals(&own).await.iter().map(parsed).collect();
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(found["code"], *code);
    assert!(refusals("uid:4294967294").await.is_empty());
}

#[tokio::test]
async fn records_are_found_by_what_they_say() {
    let broker = broker().await;
    let key = &life(&broker, "team-press").await[0];
    let client = administrator(&broker).await;
    let all = query(&client, QueryRequest::default()).await.unwrap();
    let one = |value: &str| vec![value.to_owned()];
    let issue = all.iter().map(parsed).find(|r| r["kind"] == "issue");
    let issue = issue.unwrap();
    let text = |member: &str| issue[member].as_str().unwrap();
    let at: jiff::Timestamp = text("time").parse().unwrap();
    let at = |nanos: i32| prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond() + nanos,
    };
    let filter = RecordFilter::default;
    for (name, filter) in [
        (
            "kind",
            RecordFilter {
                kinds: one("spend"),
                ..filter()
            },
        ),
        (
            "credential",
            RecordFilter {
                credentials: one(&format!("key:{key}")),
                ..filter()
            },
        ),
        (
            "principal",
            RecordFilter {
                principals: one(text("sub")),
                ..filter()
            },
        ),
        (
            "owner",
            RecordFilter {
                owners: one("team-press"),
                ..filter()
            },
        ),
        (
            "audience",
            RecordFilter {
                audiences: one("billing"),
                ..filter()
            },
        ),
        (
            "token",
            RecordFilter {
                token_ids: one(text("jti")),
                ..filter()
            },
        ),
        (
            "code",
            RecordFilter {
                codes: one("credential_spent"),
                ..filter()
            },
        ),
        (
            "rule",
            RecordFilter {
                rules: one("keys-of-teams"),
                ..filter()
            },
        ),
        (
            "action",
            RecordFilter {
                actions: one("key.rotate"),
                ..filter()
            },
        ),
        (
            "target",
            RecordFilter {
                targets: one(&format!("key:{key}")),
                ..filter()
            },
        ),
        (
            "network",
            RecordFilter {
                networks: one("127.0.0.0/8"),
                ..filter()
            },
        ),
        (
            "from",
            RecordFilter {
                from: Some(at(0)),
                ..filter()
            },
        ),
        (
            "until",
            RecordFilter {
                until: Some(at(1)),
                ..filter()
            },
        ),
    ] {
        let request = |newest_first, limit| QueryRequest {
            filter: Some(filter.clone()),
            newest_first,
            limit,
            // More may come meanwhile.
            before_sequence: all.len().try_into().unwrap(),
            ..QueryRequest::default()
        };
        let found = query(&client, request(false, 0)).await.unwrap();
        assert!(!found.is_empty() && found.len() < all.len(), "by {name}");
        assert!(found.iter().all(|record| all.contains(record)), "by {name}");
        let mut newest = query(&client, request(true, 0)).await.unwrap();
        newest.reverse();
        assert_eq!(newest, found, "by {name}");
        assert_eq!(query(&client, request(false, 1)).await.unwrap(), found[..1]);
    }
    let none = QueryRequest {
        filter: Some(RecordFilter {
            networks: one("203.0.113.0/24"),
            ..filter()
        }),
        ..QueryRequest::default()
    };
    assert_eq!(query(&client, none).await.unwrap(), []);
}

/// Ten thousand garbage keys leave no other trace than a summary: it is found by where they came from.
#[tokio::test]
async fn a_summary_of_refusals_is_found_by_the_network_it_counts() {
    let broker = broker().await;
    let garbage = ask(api_key("garbage"), "shop");
    broker.anybody().await.no(garbage).await;
    let client = administrator(&broker).await;
    let of = |network: &str| RecordFilter {
        kinds: vec!["refusals".into()],
        networks: vec![network.into()],
        ..RecordFilter::default()
    };
    let past = TailRequest {
        filter: Some(of("127.0.0.0/24")),
        from_sequence: Some(0),
    };
    let (mut tail, _) = tail::follow(&client, past).await.unwrap();
    let summary = tail::next(&mut tail).await;
    assert_eq!(summary["refused"][0]["network"], "127.0.0.0/24");
    for (network, is_found) in [
        ("127.0.0.0/24", true),
        ("127.0.0.0/8", true),
        ("127.0.0.1/32", true),
        ("127.0.1.0/24", false),
        ("127.0.1.1/32", false),
        ("::1/128", false),
    ] {
        let request = QueryRequest {
            filter: Some(of(network)),
            ..QueryRequest::default()
        };
        let found = query(&client, request).await.unwrap();
        let found = found.iter().map(parsed).any(|record| record == summary);
        assert_eq!(found, is_found, "{network}");
    }
}

/// A caller that takes a few at a time, in either direction, gets all of them once.
#[tokio::test]
async fn a_query_goes_on_where_another_ended() {
    let broker = broker().await;
    let client = administrator(&broker).await;
    let all = query(&client, QueryRequest::default()).await.unwrap();
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    for _ in 0..=all.len() {
        let next = QueryRequest {
            limit: 1,
            from_sequence: forth.last().map_or(0, |last: &Record| last.sequence + 1),
            ..QueryRequest::default()
        };
        forth.extend(query(&client, next).await.unwrap());
        let before = back.last().map(|last: &Record| last.sequence);
        if before == Some(0) {
            continue;
        }
        let next = QueryRequest {
            limit: 1,
            newest_first: true,
            before_sequence: before.unwrap_or(all.len().try_into().unwrap()),
            ..QueryRequest::default()
        };
        back.extend(query(&client, next).await.unwrap());
    }
    back.reverse();
    assert_eq!(forth[..all.len()], all);
    assert_eq!(back, all);
}
