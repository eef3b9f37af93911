//! The log over HTTPS: who is shown what of it, and how the answers are labelled.

use crate::support::broker::{Broker, Setup, Site, Svid, ask, crl, peer};
use crate::support::edge::until;
use cambist::audit::{Checkpoint, NoteKey};
use cambist::limits;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use serde_json::Value;
use std::fs;

const READERS: &str = r#"
[[log.reader]]
spiffe_id = "spiffe://example.org/siem"

[[log.reader]]
spiffe_id = "spiffe://example.org/on-call"
owners = ["team-shop"]
"#;

const PATHS: [&str; 4] = [
    "/log/checkpoint",
    "/log/vkey",
    "/log/tile/0/000.p/1",
    "/log/tile/entries/000.p/1",
];

fn with_readers(setup: &mut Setup) {
    setup.config.push_str(READERS);
}

fn with_the_public(setup: &mut Setup) {
    setup.config = setup
        .config
        .replacen("[log]\n", "[log]\npublic = true\n", 1);
    with_readers(setup);
}

/// An HTTP client that is not ours, with a certificate or without.
fn client(site: &Site, svid: Option<&Svid>) -> reqwest::Client {
    let tls = site.tls_config_of(svid);
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    client.no_proxy().build().unwrap()
}

async fn status(site: &Site, client: &reqwest::Client, path: &str) -> StatusCode {
    let url = format!("{}{path}", site.issuer);
    client.get(url).send().await.unwrap().status()
}

async fn statuses(site: &Site, svid: Option<&Svid>) -> [u16; 4] {
    let client = client(site, svid);
    let mut found = [0; 4];
    for (path, found) in PATHS.into_iter().zip(&mut found) {
        *found = status(site, &client, path).await.as_u16();
    }
    found
}

#[tokio::test]
async fn each_is_shown_as_much_as_is_meant_for_him() {
    let broker = Broker::with(with_readers).await;
    broker.published(1).await;
    let svid = |name: &str| broker.svid(&format!("spiffe://example.org/{name}"));
    let [admin, siem, on_call] = ["admin", "siem", "on-call"].map(svid);
    assert_eq!(statuses(&broker, Some(&admin)).await, [200, 200, 200, 200]);
    assert_eq!(statuses(&broker, Some(&siem)).await, [200, 200, 200, 200]);
    assert_eq!(
        statuses(&broker, Some(&on_call)).await,
        [200, 200, 200, 403]
    );
    assert_eq!(statuses(&broker, Some(&broker.web)).await, [403; 4]);
    assert_eq!(statuses(&broker, None).await, [403; 4]);
    // A certificate that has been revoked is nobody's, on the connections that it has, too.
    let kept = client(&broker, Some(&siem));
    assert_eq!(status(&broker, &kept, PATHS[3]).await, StatusCode::OK);
    let crl = crl(&broker.home, &[siem.serial]);
    fs::write(broker.path("crl.next"), crl).unwrap();
    fs::rename(broker.path("crl.next"), broker.path("example.org.crl")).unwrap();
    until("the revocation", async || {
        status(&broker, &kept, PATHS[3]).await == StatusCode::FORBIDDEN
    })
    .await;
    // Those who were turned away before it are on the record too, each after its answer.
    let of_the_siem = |record: &Value| record["peer_id"] == "spiffe://example.org/siem";
    let refused = broker
        .record(|record| record["kind"] == "refuse" && of_the_siem(record))
        .await;
    assert_eq!(refused["face"], "http");
}

#[tokio::test]
async fn a_public_log_shows_its_tree_and_none_of_its_records() {
    let broker = Broker::with(with_the_public).await;
    broker.published(1).await;
    let siem = broker.svid("spiffe://example.org/siem");
    assert_eq!(statuses(&broker, None).await, [200, 200, 200, 403]);
    assert_eq!(statuses(&broker, Some(&siem)).await, [200; 4]);
    let client = client(&broker, None);
    let answer = client.get(format!("{}/log/tile/entries/000.p/1", broker.issuer));
    let answer = answer.send().await.unwrap();
    let word = answer.text().await.unwrap();
    assert_eq!(word, "the caller is not authorised\n");
}

#[tokio::test]
async fn answers_say_what_they_are_and_how_long_they_hold() {
    for (public, whose) in [(false, "private"), (true, "public")] {
        let with = if public {
            with_the_public
        } else {
            with_readers
        };
        let broker = Broker::with(with).await;
        broker.published(1).await;
        let siem = broker.svid("spiffe://example.org/siem");
        let client = client(&broker, Some(&siem));
        let brief = limits::LOG_CHECKPOINT_AGE.as_secs();
        let year = limits::LOG_TILE_AGE.as_secs();
        let year = format!(", max-age={year}, immutable");
        let expected = [
            (
                "text/plain; charset=utf-8",
                format!("{whose}, max-age={brief}"),
            ),
            ("text/plain; charset=utf-8", format!("{whose}, max-age=300")),
            ("application/octet-stream", format!("{whose}{year}")),
            ("application/octet-stream", format!("private{year}")),
        ];
        for (path, (kind, cache)) in PATHS.into_iter().zip(expected) {
            let url = format!("{}{path}", broker.issuer);
            let answer = client.get(&url).send().await.unwrap();
            let headers = answer.headers().clone();
            assert_eq!(headers[CONTENT_TYPE], kind, "{path}");
            assert_eq!(headers[CACHE_CONTROL], *cache, "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let body = answer.bytes().await.unwrap();
            // HEAD says the same, and sends nothing.
            let head = client.head(&url).send().await.unwrap();
            assert_eq!(head.status(), StatusCode::OK);
            assert_eq!(head.headers()[CONTENT_TYPE], kind);
            if !path.ends_with("checkpoint") {
                assert_eq!(head.headers()[CONTENT_LENGTH], body.len().to_string());
            }
            assert!(head.bytes().await.unwrap().is_empty());
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                let answer = client.request(method, &url).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
                assert_eq!(answer.headers()["allow"], "GET,HEAD");
            }
        }
        let key = client.get(format!("{}/log/vkey", broker.issuer));
        let key = key.send().await.unwrap().text().await.unwrap();
        let key: NoteKey = key.trim_end().parse().unwrap();
        let note = client.get(format!("{}/log/checkpoint", broker.issuer));
        let note = note.send().await.unwrap().bytes().await.unwrap();
        let checkpoint: Checkpoint = key.open(&note).unwrap().parse().unwrap();
        assert_eq!(checkpoint.origin, format!("{}/node-1", broker.issuer));
        // What no path of the log is, or what no checkpoint covers yet.
        let far = format!("/log/tile/0/{:03}", checkpoint.size / 256 + 2);
        for path in [
            "/log",
            "/log/",
            "/log/key",
            "/log/00000000000000000000.seg",
            "/log/tile",
            "/log/tile/0/000",
            "/log/tile/0/0",
            "/log/tile/0/%30%30%30.p/1",
            "/log/tile/0/..%2f..%2fkey",
            "/log/tile/entries/000",
            "/log/tile/entries/000.p/255",
            "/log/tile/1/000.p/1",
            "/log/tile/7/000.p/1",
            &far,
        ] {
            assert_eq!(
                status(&broker, &client, path).await,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}

/// The tree that is served leads to the checkpoint, whatever became of the files.
#[tokio::test]
async fn a_tile_that_is_damaged_is_made_again_and_never_served() {
    let broker = Broker::with(with_readers).await;
    let caller = broker.web().await;
    let siem = broker.svid("spiffe://example.org/siem");
    let client = client(&broker, Some(&siem));
    let tile = broker.path("data/log/tile/0/000");
    while !tile.exists() {
        caller.yes(ask(peer(), "shop")).await;
    }
    let read = async |path: &str| {
        let url = format!("{}/log/{path}", broker.issuer);
        let answer = client.get(url).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    };
    while read("tile/1/000.p/1").await.0 != StatusCode::OK {}
    let good = fs::read(&tile).unwrap();
    let mut bent = good.clone();
    bent[77] ^= 1;
    for damaged in [&bent[..], &good[..96], b""] {
        fs::write(&tile, damaged).unwrap();
        let (status, served) = read("tile/0/000").await;
        assert_eq!(status, StatusCode::OK);
        assert!(served == good, "a tile of {} bytes", served.len());
        assert!(fs::read(&tile).unwrap() == good);
    }
    fs::remove_file(&tile).unwrap();
    // Also its narrower forms, and what is not full, which is in memory.
    assert_eq!(read("tile/0/000.p/7").await.1, &good[..7 * 32]);
    let top = read("tile/1/000.p/1").await.1;
    for above in fs::read_dir(broker.path("data/log/tile/1/000.p")).unwrap() {
        fs::write(above.unwrap().path(), [0; 32]).unwrap();
    }
    assert_eq!(read("tile/1/000.p/1").await.1, top);
    assert_eq!(read("tile/entries/000").await.0, StatusCode::OK);
    // Records that were changed are not served, nor do they make a tile.
    let segment = broker.path("data/log/00000000000000000000.seg");
    let text = fs::read_to_string(&segment).unwrap();
    let changed = text.replacen("spiffe://example.org/web", "spiffe://example.org/wob", 1);
    assert_ne!(changed, text);
    fs::write(&segment, changed).unwrap();
    assert_eq!(
        read("tile/entries/000").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(read("tile/0/000").await.0, StatusCode::OK);
    fs::write(&tile, &bent).unwrap();
    assert_eq!(
        read("tile/0/000").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        fs::read(&tile).unwrap(),
        bent,
        "left for `audit verify` to see"
    );
}
