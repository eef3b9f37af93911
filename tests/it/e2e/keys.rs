//! API keys: what they are refused for, and what they reach.

use crate::support::broker::{Broker, LOOK, api_key, ask, claims, from_now, refusal, reply, spec};
use crate::support::edge::within;
use crate::support::long;
use cambist::clock::{Clock as _, SystemClock, SystemRandomness, random};
use cambist::proto::{
    Binding, CreateKeyResponse, ExchangeRequest, ExplainRequest, GetKeyRequest, KeySpec,
    RevokeKeyRequest, SuspendKeyRequest, explain_request,
};
use prost_types::Duration;
use std::collections::BTreeMap;

fn scopes(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

fn id(made: &CreateKeyResponse) -> String {
    made.key.as_ref().unwrap().id.clone()
}

/// A key of the right form and checksum whose secret is not `key`'s.
pub(super) fn forged(key: &str, other: &str) -> String {
    let (id, secret) = (&key[4..20], &other[21..64]);
    let body = format!("cmb_{id}_{secret}");
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut check = [b'0'; 6];
    for place in check.iter_mut().rev() {
        *place = alphabet[usize::try_from(rest % 62).unwrap()];
        rest /= 62;
    }
    body + std::str::from_utf8(&check).unwrap()
}

/// Every way in which a well-formed key is refused: unknown, wrong, lapsed, suspended, revoked, off its network.
async fn refused_keys(broker: &Broker) -> Vec<(&'static str, String)> {
    let mut inventory = broker.inventory().await;
    let plain = || spec(&["shop"], &["orders:read"]);
    let lapsing = broker
        .create_key(KeySpec {
            expires_at: Some(from_now(10)),
            ..plain()
        })
        .await;
    let [suspended, revoked] = [
        broker.create_key(plain()).await,
        broker.create_key(plain()).await,
    ];
    let abroad = broker
        .create_key(KeySpec {
            networks: vec!["203.0.113.0/24".into()],
            ..plain()
        })
        .await;
    let suspend = SuspendKeyRequest {
        id: id(&suspended),
        ..SuspendKeyRequest::default()
    };
    inventory.suspend_key(suspend).await.unwrap();
    let revoke = RevokeKeyRequest {
        id: id(&revoked),
        ..RevokeKeyRequest::default()
    };
    inventory.revoke_key(revoke).await.unwrap();
    let lapsed = async {
        let request = GetKeyRequest { id: id(&lapsing) };
        while inventory
            .get_key(request.clone())
            .await
            .unwrap()
            .into_inner()
            .key
            .unwrap()
            .state
            != "lapsed"
        {
            tokio::time::sleep(LOOK).await;
        }
    };
    within("the key to lapse", lapsed).await;
    let unknown = format!("cmb_{}_", "0".repeat(16)) + &broker.api_key()[21..64] + "000000";
    vec![
        ("unknown", forged(&unknown, broker.api_key())),
        ("wrong", forged(broker.api_key(), &revoked.secret)),
        ("lapsed", lapsing.secret),
        ("suspended", suspended.secret),
        ("revoked", revoked.secret),
        ("off its network", abroad.secret),
    ]
}

#[tokio::test]
async fn every_refused_key_gets_the_same_bytes() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let mut replies = Vec::new();
    for (why, key) in refused_keys(&broker).await {
        // An audience that is not there must not tell a good key from a bad one either.
        for audience in ["shop", "billing", "no-such-audience"] {
            let status = caller
                .exchange(ask(api_key(&key), audience))
                .await
                .unwrap_err();
            assert_eq!(refusal(&status), "credential_refused", "{why}");
            replies.push((why, reply(&status)));
        }
        let mut client = caller.0.clone();
        let request = cambist::proto::LeaseRequest {
            exchange: Some(ask(api_key(&key), "shop")),
        };
        let status = client.lease(request).await.unwrap_err();
        replies.push((why, reply(&status)));
    }
    let (_, first) = &replies[0];
    for (why, other) in &replies {
        assert_eq!(other, first, "{why}");
    }
}

/// How long a refusal takes does not tell what it is for either: the long form measures it.
#[tokio::test]
async fn every_refused_key_takes_the_same_time() {
    let rounds = if long() { 3_000 } else { 30 };
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let mut keys = refused_keys(&broker).await;
    // As many of nobody as of somebody: what is noted of either is bounded, and past the bound counted instead.
    for digit in 1..keys.len() - 1 {
        let id = digit.to_string().repeat(16);
        let nobodys = format!("cmb_{id}_{}", &broker.api_key()[21..]);
        keys.push(("unknown", forged(&nobodys, broker.api_key())));
    }
    let (clock, source) = (SystemClock::shared(), SystemRandomness::shared());
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        // Whatever the machine does besides meets all of them alike.
        keys.sort_by_cached_key(|_| random::<8>(&*source).unwrap());
        for (why, key) in &keys {
            let request = ask(api_key(key), "shop");
            let start = clock.monotonic();
            let refused = caller.exchange(request).await;
            let elapsed = clock.monotonic() - start;
            assert_eq!(
                refusal(&refused.unwrap_err()),
                "credential_refused",
                "{why}"
            );
            let micros = elapsed.as_secs_f64() * 1e6;
            took.entry(why).or_default().push(micros);
        }
    }
    let mean = |why: &str| {
        let mut all = took[why].clone();
        all.sort_by(f64::total_cmp);
        // The slowest tenth is the machine's.
        all.truncate(all.len() * 9 / 10);
        all.iter().sum::<f64>() / all.len() as f64
    };
    let unknown = mean("unknown");
    let more: BTreeMap<_, _> = took
        .keys()
        .map(|why| (why, 100.0 * (mean(why) / unknown - 1.0)))
        .collect();
    println!("of {unknown:.1} µs, in percent: {more:+.2?}");
    // An encoded record is some three percent.
    assert!(!long() || more.values().all(|more| more.abs() < 2.0));
}

/// A lease is refused for keys of finite use, but only to who holds one: a public id is no way to ask.
#[tokio::test]
async fn a_public_id_says_nothing_of_its_key() {
    let broker = Broker::start().await;
    let once = broker
        .create_key(KeySpec {
            uses: 1,
            ..spec(&["shop"], &[])
        })
        .await;
    let caller = broker.anybody().await;
    let mut replies = Vec::new();
    for key in [&once.secret, broker.api_key()] {
        let mut client = caller.0.clone();
        let key = forged(key, &format!("cmb_{}_{}", "0".repeat(16), "0".repeat(49)));
        let request = cambist::proto::LeaseRequest {
            exchange: Some(ask(api_key(&key), "shop")),
        };
        replies.push(reply(&client.lease(request).await.unwrap_err()));
    }
    assert_eq!(replies[0], replies[1]);
}

#[tokio::test]
async fn what_is_not_of_a_keys_form_is_malformed() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let key = broker.api_key();
    let last = if key.ends_with('0') { "1" } else { "0" };
    let flipped = format!("{}{last}", &key[..key.len() - 1]);
    for text in [
        "",
        "cmb_",
        "hunter2",
        &key[..key.len() - 1],
        &format!("{key}0"),
        &format!(" {key}"),
        &key.replace("cmb_", "CMB_"),
        &flipped,
        &"\u{1F511}".repeat(18),
        &"0".repeat(100_000),
    ] {
        assert_eq!(
            caller.no(ask(api_key(text), "shop")).await,
            "credential_malformed"
        );
    }
    caller.yes(ask(api_key(key), "shop")).await;
}

#[tokio::test]
async fn a_key_reaches_its_audiences_scopes_and_life_and_no_further() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let brief = broker
        .create_key(KeySpec {
            expires_at: Some(from_now(100)),
            ..spec(&["https://shop.example.org", "billing"], &["orders:read"])
        })
        .await;
    let with = |audience: &str, names: &[&str]| ExchangeRequest {
        scopes: scopes(names),
        ..ask(api_key(&brief.secret), audience)
    };
    // By alias, and with nothing asked: what the key has and the audience knows.
    let token = caller.yes(with("https://shop.example.org", &[])).await;
    let said = claims(&token.access_token);
    assert_eq!(
        (&said["aud"], &said["scope"]),
        (&"shop".into(), &"orders:read".into())
    );
    assert_eq!(said["iss"], broker.issuer);
    assert_eq!(
        said["sub"],
        format!("{}/keys/{}", broker.issuer, id(&brief))
    );
    assert_eq!(said["client_id"], said["sub"]);
    assert!(!token.bound && said["cnf"].is_null());
    // A token never outlives its key.
    let end = brief
        .key
        .as_ref()
        .unwrap()
        .spec
        .as_ref()
        .unwrap()
        .expires_at
        .unwrap();
    assert!(said["exp"].as_i64().unwrap() <= end.seconds);
    for (audience, names, code) in [
        ("shop", vec!["orders:write"], "scope_not_allowed"),
        (
            "shop",
            vec!["orders:read", "orders:delete"],
            "scope_not_allowed",
        ),
        ("billing", vec!["invoices:read"], "scope_not_allowed"),
        ("vault", vec![], "audience_not_allowed"),
        ("nowhere", vec![], "audience_unknown"),
        ("shop/", vec![], "audience_unknown"),
        ("Shop", vec![], "audience_unknown"),
        ("", vec![], "invalid_request"),
        ("shop", vec![""], "invalid_request"),
        ("shop", vec!["orders:read orders:write"], "invalid_request"),
    ] {
        assert_eq!(
            caller.no(with(audience, &names)).await,
            code,
            "{audience} {names:?}"
        );
    }
    // Of an audience whose vocabulary has none of the key's scopes, a token has none: none is never all.
    let bare = broker.create_key(spec(&["shop"], &[])).await;
    let token = caller.yes(ask(api_key(&bare.secret), "shop")).await;
    assert!(token.scopes.is_empty() && claims(&token.access_token)["scope"].is_null());
}

#[tokio::test]
async fn a_lifetime_is_cut_to_every_ceiling() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let life = |audience, seconds: Option<i64>| ExchangeRequest {
        lifetime: seconds.map(|seconds| Duration { seconds, nanos: 0 }),
        ..ask(api_key(broker.api_key()), audience)
    };
    for (audience, asked, given) in [
        ("shop", None, 900),
        ("shop", Some(30), 30),
        ("shop", Some(1_000_000), 3600),
        ("billing", None, 120),
        ("billing", Some(119), 119),
        ("billing", Some(121), 120),
    ] {
        let token = caller.yes(life(audience, asked)).await;
        let said = claims(&token.access_token);
        let lived = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
        assert_eq!(
            (lived, token.expires_in),
            (given, u32::try_from(given).unwrap())
        );
    }
    for seconds in [0, -1] {
        assert_eq!(
            caller.no(life("shop", Some(seconds))).await,
            "invalid_request"
        );
    }
    let half = ExchangeRequest {
        lifetime: Some(Duration {
            seconds: 0,
            nanos: 500_000_000,
        }),
        ..life("shop", None)
    };
    assert_eq!(caller.no(half).await, "lifetime_exhausted");
}

#[tokio::test]
async fn tenants_do_not_mix() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let tenant = |tenant: &str| KeySpec {
        tenant: tenant.into(),
        ..spec(&["ledger"], &["ledger:read"])
    };
    let ours = broker.create_key(tenant("retail")).await;
    let token = caller.yes(ask(api_key(&ours.secret), "ledger")).await;
    assert_eq!(token.scopes, ["ledger:read"]);
    for other in ["", "wholesale"] {
        let request = cambist::proto::CreateKeyRequest {
            spec: Some(tenant(other)),
            ..Default::default()
        };
        let status = broker
            .inventory()
            .await
            .create_key(request)
            .await
            .unwrap_err();
        assert_eq!(refusal(&status), "invalid_request");
    }
    // A workload has no tenant.
    let web = broker.svid("spiffe://example.org/web");
    let request = ask(crate::support::broker::peer(), "ledger");
    assert_eq!(
        broker.workload(&web).await.no(request).await,
        "audience_not_allowed"
    );
}

#[tokio::test]
async fn a_bound_audience_needs_a_key_that_the_caller_proves() {
    let broker = Broker::start().await;
    let made = broker
        .create_key(spec(&["vault", "shop"], &["secrets:read"]))
        .await;
    let anybody = broker.anybody().await;
    let request = || ask(api_key(&made.secret), "vault");
    assert_eq!(anybody.no(request()).await, "binding_required");
    let required = ExchangeRequest {
        binding: Binding::Required.into(),
        ..ask(api_key(&made.secret), "shop")
    };
    assert_eq!(anybody.no(required.clone()).await, "binding_required");
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    for request in [request(), required] {
        let token = caller.yes(request).await;
        let said = claims(&token.access_token);
        assert!(token.bound);
        assert_eq!(said["cnf"]["x5t#S256"], web.thumbprint());
        // The certificate binds; it is not who the token stands for.
        assert_eq!(said["sub"], format!("{}/keys/{}", broker.issuer, id(&made)));
    }
}

#[tokio::test]
async fn a_policy_forbids_what_the_key_would_allow() {
    let broker = Broker::start().await;
    let martian = broker
        .create_key(KeySpec {
            labels: [("planet".to_owned(), "mars".to_owned())].into(),
            ..spec(&["shop"], &["orders:read"])
        })
        .await;
    let caller = broker.anybody().await;
    let request = ask(api_key(&martian.secret), "shop");
    let status = caller.exchange(request).await.unwrap_err();
    assert_eq!(refusal(&status), "policy_denied");
    assert!(
        !status.message().contains("mars"),
        "the caller learns no rule"
    );
    let explain = ExplainRequest {
        subject: Some(explain_request::Subject::KeyId(id(&martian))),
        audience: "shop".into(),
        ..ExplainRequest::default()
    };
    let mut asker = crate::support::broker::Caller::new(broker.local().await).0;
    let told = asker.explain(explain.clone()).await.unwrap().into_inner();
    assert_eq!((told.allowed, &*told.code), (false, "policy_denied"));
    assert_eq!(told.rules, ["not-on-mars"]);
    // Some may ask why and do nothing else; others may not even ask.
    let curious = broker.svid("spiffe://example.org/curious");
    let mut curious = broker.workload(&curious).await.0;
    assert_eq!(
        curious.explain(explain.clone()).await.unwrap().into_inner(),
        told
    );
    let status = caller.0.clone().explain(explain).await.unwrap_err();
    assert_eq!(refusal(&status), "not_authorised");
}
