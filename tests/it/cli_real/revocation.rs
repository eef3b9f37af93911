//! What a responder types: by what is in hand, for a look first, and to take it back.

use super::{assert_refused, create_key, exchange};
use crate::support::broker::{Broker, Site, claims};
use crate::support::svid::pem;
use aws_lc_rs::digest::{SHA256, digest};
use cambist::clock::{Clock as _, SystemClock};
use cambist::limits;
use cambist::marker::Second;
use jiff::Timestamp;
use serde_json::Value;
use std::fs;

/// A token in a file of this name, and what a look at it says.
async fn token(broker: &Broker, key: &str, name: &str) -> Value {
    let ran = exchange(broker, key, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let answer = ran.json();
    fs::write(broker.path(name), answer["access_token"].as_str().unwrap()).unwrap();
    answer
}

async fn is_active(broker: &Broker, name: &str) -> bool {
    let file = broker.argument(name);
    let ran = broker
        .run_as_admin(&["jwt", "check", &file, "--json"])
        .await;
    match ran.code {
        Some(0) => true,
        Some(5) => false,
        _ => panic!("{ran:?}"),
    }
}

#[tokio::test]
async fn a_token_is_looked_at_revoked_listed_and_taken_back() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let made = token(&broker, "key", "token").await;
    assert!(is_active(&broker, "token").await);
    let file = broker.argument("token");
    let look = ["revoke", "--token", &file, "--dry-run", "--json"];
    let hit = broker.run_as_admin(&look).await.json();
    assert_eq!(
        (&hit["tokens"], &hit["token_ids"][0]),
        (&1.into(), &made["token_id"])
    );
    let look = broker.run_as_admin(&look[..4]).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sub = &claims(made["access_token"].as_str().unwrap())["sub"];
    let said = [
        ("tokens", "1 that are good now".to_owned()),
        ("by jti", text(&made["token_id"])),
        ("credentials", text(&made["credential_id"])),
        ("subjects", text(sub)),
    ];
    let lines = look.stdout.lines().map(|line| {
        let (name, value) = line.split_once("  ").unwrap();
        (name, value.trim().to_owned())
    });
    assert_eq!(lines.collect::<Vec<_>>(), said, "{look:?}");
    assert!(is_active(&broker, "token").await);
    let revoke = [
        "revoke",
        "--token",
        &file,
        "--reason",
        "found in a log",
        "--json",
    ];
    let answer = broker.run_as_admin(&revoke).await.json();
    assert_eq!(answer["durable"], true);
    assert!(!is_active(&broker, "token").await);
    let id = answer["markers"][0]["id"].as_str().unwrap().to_owned();
    let listed = broker
        .run_as_admin(&["marker", "list", "--json"])
        .await
        .json();
    assert_eq!(listed["markers"][0]["id"], id.as_str());
    assert_eq!(listed["markers"][0]["reason"], "found in a log");
    let shown = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        shown.stdout.contains(&id) && shown.stdout.contains("found in a log"),
        "{shown:?}"
    );
    let back = [
        "marker",
        "reinstate",
        &id,
        "--reason",
        "it was a test's",
        "--json",
    ];
    assert_eq!(
        broker.run_as_admin(&back).await.json()["marker"]["reinstated"],
        true
    );
    assert!(is_active(&broker, "token").await);
    let listed = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        listed.stdout.contains("There are no markers."),
        "{listed:?}"
    );
    let listed = broker.run_as_admin(&["marker", "list", "--all"]).await;
    assert!(
        listed.stdout.contains(&id) && listed.stdout.contains("taken back"),
        "{listed:?}"
    );
    let listed = ["marker", "list", "--all", "--json"];
    let listed = broker.run_as_admin(&listed).await.json();
    let listed = &listed["markers"][0];
    assert_eq!(
        (&listed["id"], &listed["reinstated"]),
        (&id.into(), &true.into())
    );
}

/// An instant of a marker.
#[derive(Debug)]
enum When {
    /// There is none.
    Never,
    At(Timestamp),
    /// That of the moment, or one that follows from it.
    ByNow,
}

impl When {
    fn is(&self, told: &Value) -> bool {
        match self {
            Self::Never => told.is_null(),
            Self::At(at) => *told == at.to_string(),
            Self::ByNow => told.is_string(),
        }
    }
}

#[tokio::test]
async fn each_thing_is_revoked_as_what_it_is_and_as_far_as_was_said() {
    use When::{At, ByNow, Never};
    let broker = Site::new().start().await;
    let mut keys = Vec::new();
    for name in ["one", "two", "three"] {
        keys.push(format!("key:{}", create_key(&broker, name, &[]).await));
    }
    let made = token(&broker, "one", "token").await;
    let claims = claims(made["access_token"].as_str().unwrap());
    let lapses = Timestamp::from_second(claims["exp"].as_i64().unwrap()).unwrap();
    let other = token(&broker, "one", "other").await;
    let ring = broker
        .run_as_admin(&["signing-key", "list", "--json"])
        .await;
    let ring = ring.json();
    let active = |key: &&Value| key["state"] == "active";
    let kid = ring["signing_keys"].as_array().unwrap().iter().find(active);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (jti, other, kid) = (
        text(&claims["jti"]),
        text(&other["token_id"]),
        text(&kid.unwrap()["kid"]),
    );
    let svid = broker.svid("spiffe://example.org/other");
    let [own, found] = [&broker.web, &svid].map(|svid| format!("x509:{}", svid.thumbprint()));
    let path = svid.certificate.to_str().unwrap();
    let [file, key] = ["token", "two"].map(|name| broker.argument(name));
    let now = SystemClock::shared().now();
    let before = Timestamp::from_second(now.as_second() - 3600).unwrap();
    let then = before.to_string();
    let [key_life, token_life] =
        [limits::LONGEST_KEY_LIFE, limits::LONGEST_LIFETIME].map(|life| before + life);
    let issuer = broker.issuer.as_str();
    // As long as verifiers may forgive.
    let end_of = |at| At(Second::end_of(at).instant().unwrap());
    let rows: [(&[&str], &str, &str, When, When); 13] = [
        (&["--own-certificate"], "credential", &own, Never, ByNow),
        (&["--token", &file], "token", &jti, Never, end_of(lapses)),
        (&["--token-id", &other], "token", &other, Never, ByNow),
        (&["--key", &key], "credential", &keys[1], Never, ByNow),
        (
            &["--credential", &keys[2]],
            "credential",
            &keys[2],
            Never,
            ByNow,
        ),
        (&["--certificate", path], "credential", &found, Never, ByNow),
        (
            &["--owner", "team-shop"],
            "credential",
            &keys[0],
            Never,
            ByNow,
        ),
        (&["--subject", "a"], "subject", "a", ByNow, ByNow),
        (
            &["--subject", "b", "--before", &then],
            "subject",
            "b",
            At(before),
            end_of(key_life),
        ),
        (&["--subject", "c", "--ban"], "subject", "c", Never, Never),
        (
            &["--issuer", issuer, "--before", &then],
            "issuer",
            issuer,
            At(before),
            end_of(token_life),
        ),
        (
            &["--trust-domain", "example.org", "--before", &then],
            "trust_domain",
            "example.org",
            At(before),
            Never,
        ),
        (&["--signing-key", &kid], "signing_key", &kid, Never, Never),
    ];
    for (thing, kind, name, before, until) in rows {
        let line = [&["revoke", "--reason", "x", "--json"], thing].concat();
        let ran = match thing {
            ["--own-certificate"] => broker.run_as_web(&line).await,
            _ => broker.run_as_admin(&line).await,
        };
        let marker = &ran.json()["markers"][0];
        assert_eq!(
            (&marker["kind"], &marker["thing"]),
            (&kind.into(), &name.into()),
            "{line:?}"
        );
        assert!(
            before.is(&marker["before"]),
            "{line:?}: {before:?}, {marker}"
        );
        assert!(until.is(&marker["until"]), "{line:?}: {until:?}, {marker}");
    }
}

#[tokio::test]
async fn a_key_a_certificate_and_an_owner_are_revoked_by_what_is_in_hand() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "one", &[]).await;
    create_key(&broker, "two", &[]).await;
    let file = broker.argument("one");
    let by_text = ["revoke", "--key", &file, "--reason", "leaked", "--json"];
    let answer = broker.run_as_admin(&by_text).await.json();
    assert_eq!(answer["markers"][0]["thing"], format!("key:{id}"));
    assert_refused(&exchange(&broker, "one", &[]).await, "credential_refused");
    assert_eq!(exchange(&broker, "two", &[]).await.code, Some(0));
    let by_id = ["revoke", "--credential", &id, "--reason", "again", "--json"];
    assert_eq!(broker.run_as_admin(&by_id).await.code, Some(0));

    fs::write(
        broker.path("found.pem"),
        pem("CERTIFICATE", &broker.web.leaf),
    )
    .unwrap();
    let found = broker.argument("found.pem");
    let by_certificate = [
        "revoke",
        "--certificate",
        &found,
        "--reason",
        "stolen",
        "--json",
    ];
    let answer = broker.run_as_admin(&by_certificate).await.json();
    assert_eq!(answer["markers"][0]["kind"], "credential");
    // By what openssl prints of it, the same one.
    let digest = digest(&SHA256, &broker.web.leaf);
    let bytes = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    let printed = format!("sha256 Fingerprint={}", bytes.collect::<Vec<_>>().join(":"));
    let by_fingerprint = [
        "revoke",
        "--credential",
        &printed,
        "--reason",
        "stolen",
        "--json",
    ];
    let again = broker.run_as_admin(&by_fingerprint).await.json();
    assert_eq!(again["markers"][0]["id"], answer["markers"][0]["id"]);
    let acts = ["audit", "query", "--credential", &printed, "--json"];
    let acts = broker.run_as_admin(&acts).await;
    assert!(acts.stdout.contains("marker.set"), "{acts:?}");

    let look = async |owner: &str| {
        let line = ["revoke", "--owner", owner, "--dry-run"];
        broker.run_as_admin(&line).await.stdout
    };
    let would = look("team-shop").await;
    assert!(would.contains("keys         1 that would end"), "{would}");
    let none = "the owner has no key that is not revoked";
    let would = look("team-shp").await;
    assert!(would.contains(none), "{would}");
    let misspelt = ["revoke", "--owner", "team-shp", "--reason", "gone"];
    let ran = broker.run_as_admin(&misspelt).await;
    assert!(ran.stdout.contains(none), "{ran:?}");
    let by_owner = [
        "revoke",
        "--owner",
        "team-shop",
        "--reason",
        "gone",
        "--json",
    ];
    let answer = broker.run_as_admin(&by_owner).await.json();
    assert_eq!(answer["markers"].as_array().unwrap().len(), 1);
    assert_refused(&exchange(&broker, "two", &[]).await, "credential_refused");
}

/// As files with two tokens or two keys are refused. A chain is one certificate and those of its authorities.
#[tokio::test]
async fn a_file_with_certificates_of_two_is_refused_and_a_chain_is_not() {
    let broker = Site::new().start().await;
    let one = pem("CERTIFICATE", &broker.web.leaf);
    let other = broker.svid("spiffe://example.org/other");
    let other = pem("CERTIFICATE", &other.leaf);
    let [home, partner] =
        [&broker.home, &broker.partner].map(|root| pem("CERTIFICATE", &root.certificate));
    let path = broker.argument("found.pem");
    let revoke = async |text: &str| {
        fs::write(&path, text).unwrap();
        let line = ["revoke", "--certificate", &path, "--reason", "x", "--json"];
        broker.run_as_admin(&line).await
    };
    for text in [
        format!("{one}{other}"),
        format!("{one}{home}{other}"),
        format!("{one}{other}{home}"),
        String::new(),
    ] {
        let ran = revoke(&text).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    // That no marker takes an authority along is the broker's to say.
    assert_refused(&revoke(&home).await, "invalid_request");
    let listed = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        listed.stdout.contains("There are no markers."),
        "{listed:?}"
    );
    let digest = format!("x509:{}", broker.web.thumbprint());
    for text in [
        one.clone(),
        format!("{one}{home}"),
        format!("{home}{partner}{one}"),
    ] {
        let ran = revoke(&text).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.json()["markers"][0]["thing"], digest, "{text}");
    }
}

#[tokio::test]
async fn a_line_that_says_too_little_or_too_much_is_refused() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let [file, log, empty] = ["key", "build.log", "empty"].map(|name| broker.argument(name));
    let key = fs::read_to_string(&file).unwrap();
    fs::write(&log, format!("deploying\n{key}done\n")).unwrap();
    fs::write(&empty, "").unwrap();
    for line in [
        &["revoke", "--reason", "x"][..],
        &["revoke", "--key", &file],
        &["revoke", "--key", &file, "--subject", "s", "--reason", "x"],
        &[
            "revoke",
            "--subject",
            "s",
            "--ban",
            "--before",
            "2030-01-01T00:00:00Z",
            "--reason",
            "x",
        ],
        &["revoke", "--key", &file, "--reason", ""],
        &["revoke", "--certificate", &file, "--reason", "x"],
        &["revoke", "--token", &file, "--reason", "x"],
        &["revoke", "--token", &empty, "--reason", "x"],
        &["marker", "reinstate", "x"],
        // What `openssl x509 -fingerprint` prints.
        &[
            "revoke",
            "--credential",
            "SHA1 Fingerprint=57:C0:8A:A2:A0:94:E4:66:C5:FF:E3:D0:29:9A:BB:85:88:87:86:AE",
            "--reason",
            "x",
        ],
    ] {
        let ran = broker.run_as_admin(line).await;
        assert_eq!(ran.code, Some(2), "{line:?}: {ran:?}");
    }
    let nothing = ["revoke", "--token-id", "x", "--reason", "x", "--json"];
    assert_refused(&broker.run_as_admin(&nothing).await, "invalid_request");
    let banned = ["revoke", "--key", &file, "--ban", "--reason", "x", "--json"];
    let banned = broker.run_as_admin(&banned).await;
    assert_refused(&banned, "invalid_request");
    let cause = banned.error()["cause"].as_str().unwrap().to_owned();
    assert!(cause.starts_with("ban:"), "{cause}");
    let log = ["revoke", "--key", &log, "--reason", "x", "--json"];
    let error = broker.run_as_admin(&log).await.error();
    let help = error["help"].as_str().unwrap();
    assert!(help.contains("cambist scan"), "{help}");
    let help = broker.run_as_admin(&["revoke", "--help"]).await.stdout;
    assert!(!help.contains("[default: \"\"]"), "{help}");
    assert!(help.contains("for administrators"), "{help}");
}

#[tokio::test]
async fn who_may_not_ask_like_that_is_told_how_it_may() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let made = token(&broker, "key", "token").await;
    let file = broker.argument("token");
    let [cert, key] = [&broker.web.certificate, &broker.web.key].map(|path| path.to_str().unwrap());
    let as_web = ["--cert", cert, "--cert-key", key, "--json"];
    let (jti, issuer) = (made["token_id"].as_str().unwrap(), &*broker.issuer);
    let of_shop = ["--live", "--issuer", issuer, "--audience", "shop"];
    for (line, way) in [
        (
            &["revoke", "--token-id", jti, "--reason", "x"][..],
            "--own-certificate",
        ),
        (
            &["revoke", "--token", &file, "--dry-run"],
            "--own-certificate",
        ),
        (&["jwt", "check", &file], "--served-by"),
        (
            &[&["jwt", "verify", &file], &of_shop[..]].concat(),
            "--served-by",
        ),
    ] {
        let ran = broker.run_as_anybody(&[line, &as_web].concat()).await;
        assert_refused(&ran, "not_authorised");
        let help = ran.error()["help"].as_str().unwrap().to_owned();
        assert!(help.contains(way), "{line:?}: {help}");
    }
}
