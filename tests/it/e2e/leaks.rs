//! Leaked keys: who may report them, what is done, and who is told.

mod command;

use crate::sinks::{Hook, section, until_taken};
use crate::support::broker::{Broker, api_key, ask, spec, token};
use crate::support::edge::until;
use crate::support::https::Https;
use crate::support::reporter::{KEY, Reporter, SIGNATURE, findings, post, published};
use crate::support::svid::pem;
use cambist::limits;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

const URL: &str = "https://git.example.org/team-shop/blob/12ab/deploy.sh";

/// A reporter whose keys are in a file, and the section that names it.
fn known(name: &str, document: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, document).unwrap();
    let section = format!(
        "\n[[leak.reporter]]\nname = \"{name}\"\nfile = \"{}\"\n",
        path.display()
    );
    (folder, section)
}

async fn send(broker: &Broker, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let mut client = broker.http("h2").await;
    let (status, _, body) = client.send(request).await.unwrap();
    (status, body)
}

async fn status(broker: &Broker, request: Request<Full<Bytes>>) -> u16 {
    send(broker, request).await.0.as_u16()
}

/// The labels of a report's answer.
fn labels(answer: &str) -> Vec<String> {
    let answer: Vec<Value> = serde_json::from_str(answer).unwrap();
    let label = |told: &Value| told["label"].as_str().unwrap().to_owned();
    answer.iter().map(label).collect()
}

/// Another key's text with this one's id: its checksum holds, its secret is another.
fn with_the_id_of(key: &str) -> String {
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let body = format!("{}{}", &key[..21], "A".repeat(43));
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut check = [b'0'; 6];
    for place in check.iter_mut().rev() {
        *place = alphabet[usize::try_from(rest % 62).unwrap()];
        rest /= 62;
    }
    let forged = format!("{body}{}", std::str::from_utf8(&check).unwrap());
    assert!(cambist::secret::api_key::parse(&forged).is_ok());
    forged
}

async fn leaks(broker: &Broker, outcome: &str) -> u64 {
    let name = format!("leak_reports_total{{outcome=\"{outcome}\"}}");
    broker.metric(&name).await.unwrap()
}

/// Every file under a folder.
fn files(under: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        match path.metadata().unwrap() {
            about if about.is_dir() => found.extend(files(&path)),
            about if about.is_file() => found.push(fs::read(&path).unwrap()),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn a_reported_key_ends_with_its_tokens_and_its_owner_is_told() {
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let (ours, theirs) = (Hook::plain().await, Hook::plain().await);
    let mut broker = Broker::with(|setup| {
        setup.config += &reporters;
        for (name, hook, owner) in [
            ("ours", &ours, "team-shop"),
            ("theirs", &theirs, "team-press"),
        ] {
            let only = format!(
                "url = \"{}\"\nactions = [\"key.leaked\"]\nowners = [\"{owner}\"]",
                hook.url
            );
            setup.config += &section(name, "webhook", &only);
        }
    })
    .await;
    let anybody = broker.anybody().await;
    let leaked = broker.create_key(spec(&["shop", "billing"], &[])).await;
    let other = broker.api_key().to_owned();
    let made = anybody.yes(ask(api_key(&leaked.secret), "shop")).await;
    let shop = broker.svid("spiffe://example.org/shop");
    let shop = broker.workload(&shop).await;
    let again = || ask(token(&made.access_token), "billing");
    shop.yes(again()).await;

    let forged = with_the_id_of(&other);
    let random = cambist::clock::SystemRandomness::shared();
    let stranger = cambist::secret::api_key::generate(&*random).unwrap().0;
    let tokens = [
        &leaked.secret,
        &forged,
        stranger.expose(),
        "hunter2",
        &leaked.secret,
    ];
    let body = findings(&tokens.map(|token| token as &str), URL);
    let (status, answer) = send(&broker, reporter.report(&body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let told = ["true", "false", "false", "false", "true"].map(|is| format!("{is}_positive"));
    assert_eq!(labels(&answer), told);
    assert!(tokens.iter().all(|token| !answer.contains(*token)));

    let key = || ask(api_key(&leaked.secret), "shop");
    assert_eq!(anybody.no(key()).await, "credential_refused");
    assert_eq!(shop.no(again()).await, "token_refused");
    // Whoever knows no more than an id ends nothing.
    anybody.yes(ask(api_key(&other), "shop")).await;

    let id = leaked.key.unwrap().id;
    let records = broker.records();
    let mut of_leaks = records
        .iter()
        .filter(|record| record["action"] == "key.leaked");
    let record = of_leaks.next().unwrap();
    assert!(
        of_leaks.next().is_none(),
        "once, however often it is reported"
    );
    assert_eq!(record["kind"], "admin");
    assert_eq!(record["sub"], "reporter:github");
    assert_eq!(record["owner"], "team-shop");
    assert_eq!(record["target"], format!("key:{id}"));
    assert_eq!(record["face"], "http");
    assert_eq!(record["peer"]["address"], "127.0.0.1");
    let change = json!({ "state": "revoked", "reason": "reported as leaked", "leak": { "url": URL, "source": "commit" } });
    assert_eq!(record["change"], change);
    for (outcome, count) in [
        ("revoked", 1),
        ("already_revoked", 1),
        ("wrong_secret", 1),
        ("unknown", 2),
        ("failed", 0),
    ] {
        assert_eq!(leaks(&broker, outcome).await, count, "{outcome}");
    }

    for sink in ["ours", "theirs"] {
        until_taken(&broker, sink).await;
    }
    assert_eq!(ours.records(), std::slice::from_ref(record));
    assert!(theirs.asked().is_empty());

    broker.kill9().await;
    broker.restart().await;
    assert_eq!(broker.anybody().await.no(key()).await, "credential_refused");
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    assert!(broker.terminate().await.success());
    let mut places = files(broker.folder.path());
    places.push(metrics.into_bytes());
    places.extend(ours.asked().into_iter().map(|request| request.body));
    for token in tokens.iter().filter(|token| token.len() > 50) {
        let secret = &token.as_bytes()[21..];
        let holds = |place: &&Vec<u8>| place.windows(secret.len()).any(|part| part == secret);
        assert_eq!(places.iter().filter(holds).count(), 0);
    }
}

#[tokio::test]
async fn a_finding_that_cannot_be_read_keeps_no_key_alive() {
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    let key = broker.api_key().to_owned();
    let body = format!(r#"[{{"token":1}},{{"token":"{key}","type":"a","url":5}},7]"#);
    let answered = status(&broker, reporter.report(body.as_bytes())).await;
    assert_eq!(answered, 400);
    assert_eq!(
        broker.anybody().await.no(ask(api_key(&key), "shop")).await,
        "credential_refused"
    );
}

#[tokio::test]
async fn nobody_but_a_reporter_is_believed_and_nothing_but_what_was_signed() {
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    let key = broker.api_key().to_owned();
    let body = findings(&[&key], URL);
    let signature = reporter.sign(&body);
    let stranger = Reporter::new("k1").sign(&body);
    let (key_id, signed) = ((KEY, "k1"), (SIGNATURE, signature.as_str()));
    let mut longer = body.clone();
    longer.push(b'\n');
    let mut trimmed = body.clone();
    trimmed.pop();
    for (what, body, headers) in [
        ("unsigned", &body, &[][..]),
        ("no signature", &body, &[key_id]),
        ("no key", &body, &[signed]),
        ("two keys", &body, &[key_id, (KEY, "k2"), signed]),
        ("two signatures", &body, &[key_id, signed, signed]),
        ("unknown key", &body, &[(KEY, "k2"), signed]),
        ("no base64", &body, &[key_id, (SIGNATURE, "%")]),
        ("empty", &body, &[key_id, (SIGNATURE, "")]),
        ("a stranger's", &body, &[key_id, (SIGNATURE, &stranger)]),
        ("one more newline", &longer, &[key_id, signed]),
        ("one newline less", &trimmed, &[key_id, signed]),
    ] {
        let (status, answer) = send(&broker, post(body, headers)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}: {answer}");
        assert!(!answer.contains(&key), "{what}");
    }
    // Of a reporter, and no report all the same.
    for (what, body, expected) in [
        ("no JSON", b"cmb_".to_vec(), 400),
        ("no array", br#"{"token":"a","type":"b"}"#.to_vec(), 400),
        ("nothing", Vec::new(), 400),
        (
            "too many",
            findings(&vec!["a"; limits::LEAK_ALERTS + 1], ""),
            413,
        ),
        ("too long", vec![b' '; limits::LEAK_REPORT + 1], 413),
    ] {
        let (status, answer) = send(&broker, reporter.report(&body)).await;
        assert_eq!(status, expected, "{what}: {answer}");
    }
    let get = Request::get("https://localhost/leaks").body(Full::default());
    assert_eq!(status(&broker, get.unwrap()).await, 405);
    broker.anybody().await.yes(ask(api_key(&key), "shop")).await;
    assert!(
        broker
            .records()
            .iter()
            .all(|record| record["action"] != "key.leaked")
    );
    // And signed, the same bytes are believed.
    assert_eq!(status(&broker, post(&body, &[key_id, signed])).await, 200);
    assert_eq!(
        broker.anybody().await.no(ask(api_key(&key), "shop")).await,
        "credential_refused"
    );
    assert_eq!(leaks(&broker, "revoked").await, 1);
    // Those who were turned away are on the record, counted.
    let refused = broker.record(|record| record["kind"] == "refusals").await;
    assert_eq!(refused["refused"][0]["code"], "not_authorised", "{refused}");
}

/// What calls itself gRPC has no bound of the listener's.
#[tokio::test]
async fn a_report_is_as_long_as_it_may_be_and_no_longer_whatever_it_calls_itself() {
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    for kind in ["application/json", "application/grpc"] {
        for (length, expected) in [(limits::LEAK_REPORT, 200), (limits::LEAK_REPORT + 1, 413)] {
            let mut body = findings(&["a"], "");
            body.resize(length, b' ');
            let mut request = reporter.report(&body);
            request
                .headers_mut()
                .insert("content-type", kind.parse().unwrap());
            let (status, answer) = send(&broker, request).await;
            assert_eq!(status, expected, "{kind} {length}: {answer}");
        }
    }
    let most = findings(&vec!["a"; limits::LEAK_ALERTS], "");
    let (status, answer) = send(&broker, reporter.report(&most)).await;
    assert_eq!(
        (status, labels(&answer).len()),
        (StatusCode::OK, limits::LEAK_ALERTS)
    );
}

/// The sample of GitHub's documentation: nothing of it was made here.
#[tokio::test]
async fn the_sample_of_the_partner_programme_is_taken() {
    const ID: &str = "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d";
    const SPKI: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUqkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==";
    const SIGNED: &str = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=";
    const BODY: &[u8] = br#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#;
    let (_folder, reporters) = known("github", &published(ID, SPKI));
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    let headers = [
        ("Github-Public-Key-Identifier", ID),
        ("Github-Public-Key-Signature", SIGNED),
    ];
    let (status, answer) = send(&broker, post(BODY, &headers)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // SHA-256 of "some_token", as sha256sum has it.
    let told = json!([{
        "token_hash": "9a45520a1213f15016d2d768b5fb3d904492a44ee274b44d4de8803e00fb536a",
        "token_type": "some_type",
        "label": "false_positive",
    }]);
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), told);
    let with_newline = [BODY, b"\n"].concat();
    let (status, _) = send(&broker, post(&with_newline, &headers)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn keys_are_fetched_over_https_from_whom_the_configured_ca_vouches_for() {
    let (good, foreign) = (Reporter::new("k1"), Reporter::new("k2"));
    let document = good.published();
    let server = Https::serve(|_| {
        let head = "200 OK\r\ncontent-type: application/json".to_owned();
        [("/keys".to_owned(), (head, document))].into()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (ca, wrong) = (
        folder.path().join("ca.pem"),
        folder.path().join("wrong.pem"),
    );
    fs::write(&ca, pem("CERTIFICATE", &server.ca)).unwrap();
    let other = crate::support::pki::Authority::new("other");
    fs::write(&wrong, other.pem()).unwrap();
    let reporter = |path: &str, ca: &Path| {
        let (origin, ca) = (&server.origin, ca.display());
        format!("\n[[leak.reporter]]\nname = \"github\"\nurl = \"{origin}{path}\"\nca = \"{ca}\"\n")
    };
    let body = findings(&["a"], "");
    let broker = Broker::with(|setup| setup.config += &reporter("/keys", &ca)).await;
    assert_eq!(status(&broker, good.report(&body)).await, 200);
    // Somebody may have published it since: the reporter is to come again when that is looked for.
    let mut client = broker.http("h2").await;
    let (status_of, headers, _) = client.send(foreign.report(&body)).await.unwrap();
    assert_eq!(status_of, StatusCode::SERVICE_UNAVAILABLE);
    let again = headers["retry-after"].to_str().unwrap();
    let again: u64 = again.parse().unwrap();
    assert!(
        (1..=limits::LEAK_KEYS_PACE.as_secs()).contains(&again),
        "{again}"
    );
    // Not to be found out is not to be wrong: the reporter is to come again.
    for (path, ca) in [("/keys", &wrong), ("/absent", &ca)] {
        let broker = Broker::with(|setup| setup.config += &reporter(path, ca)).await;
        assert_eq!(status(&broker, good.report(&body)).await, 503);
        broker
            .says("the keys of a reporter of leaks cannot be had")
            .await;
        broker
            .anybody()
            .await
            .yes(ask(api_key(broker.api_key()), "shop"))
            .await;
    }
}

#[tokio::test]
async fn who_is_no_reporter_is_turned_away_unread_in_the_end() {
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    let body = findings(&["a"], "");
    let mut client = broker.http("h2").await;
    let mut status = async |request| client.send(request).await.unwrap().0.as_u16();
    // Of those that prove themselves, any number.
    for _ in 0..limits::LEAK_STRANGERS * 2 {
        assert_eq!(status(reporter.report(&body)).await, 200);
    }
    for _ in 0..limits::LEAK_STRANGERS {
        assert_eq!(status(post(&body, &[])).await, 401);
    }
    assert_eq!(status(post(&body, &[])).await, 429);
    // Whoever is known to be a reporter is none of them, wherever it comes from.
    assert_eq!(status(reporter.report(&body)).await, 200);
    broker
        .anybody()
        .await
        .yes(ask(api_key(broker.api_key()), "shop"))
        .await;
}

/// Who hangs up keeps no key by it.
#[tokio::test]
async fn a_report_is_dealt_with_though_nobody_waits_for_the_answer() {
    /// So many that somebody can hang up meanwhile.
    const KEYS: u64 = 100;
    let reporter = Reporter::new("k1");
    let (_folder, reporters) = known("github", &reporter.published());
    let broker = Broker::with(|setup| setup.config += &reporters).await;
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        keys.push(broker.create_key(spec(&["shop"], &[])).await.secret);
    }
    // The reporter's keys are known from then on, so that nothing holds the next one up.
    let first = findings(&["a"], "");
    assert_eq!(status(&broker, reporter.report(&first)).await, 200);
    let body = findings(&keys.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let (head, _) = reporter.report(&body).into_parts();
    let mut text = format!("POST /leaks HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut stream = broker.tls("http/1.1").await;
    let request = [text.as_bytes(), b"\r\n", &body].concat();
    stream.write_all(&request).await.unwrap();
    stream.flush().await.unwrap();
    let begun = async || leaks(&broker, "revoked").await > 0;
    until("the first to be revoked", begun).await;
    drop(stream);
    let all = async || leaks(&broker, "revoked").await == KEYS;
    until("all of them to be revoked", all).await;
}

#[tokio::test]
async fn without_reporters_there_is_nowhere_to_report_to() {
    let broker = Broker::start().await;
    let request = Reporter::new("k1").report(&findings(&["a"], ""));
    assert_eq!(status(&broker, request).await, 404);
}
