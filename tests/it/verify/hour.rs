//! An hour of tokens and revocations that come and go.

use super::world::{CLOSED, World};
use super::{ISSUER, SIGNER, claims};
use crate::support::edge::until;
use crate::support::myself::{folder, myself};
use cambist::clock::Clock as _;
use cambist::marker::{Cover, Marker, Second, Thing};
use cambist::verify::{Guard, Keys, Presenter};
use jiff::Timestamp;
use serde_json::json;
use std::process::Command;

/// Simulated seconds between two looks.
const STEP: u32 = 10;
/// What begins and ends between them: so many tokens, and as many revocations.
const EACH: i64 = 40;
/// How long a revocation is in force.
const LASTS: i64 = 300;
/// What is remembered of tokens, in bytes.
const REMEMBERED: u64 = 512 * 1024;

/// Kibibytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.unwrap().trim().trim_end_matches(" kB");
    size.parse().unwrap()
}

#[test]
fn an_hour_leaves_nothing_behind() {
    if folder().is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(hour());
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "verify::hour::an_hour_leaves_nothing_behind";
    // A process of its own, so that what other tests take is not counted.
    let ran = myself(test, dir.path(), Command::new("env"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

async fn hour() {
    let world = World::new().await;
    let audience = "https://shop.example.org".parse().unwrap();
    let keys = Keys::fixed(SIGNER.keys());
    let guard = Guard::builder(ISSUER, audience, keys, world.feed().clone());
    let guard = guard.remember(REMEMBERED).build();
    let mut after_a_third = 0;
    for step in 0..3600 / STEP {
        let now = world.clock.now().as_second();
        let ids: Vec<_> = (0..EACH).map(|n| format!("{step}-{n}")).collect();
        let until_then = Second::of(Timestamp::from_second(now + LASTS).unwrap());
        let marker = |id: &String| Marker {
            id: Thing::Token(ISSUER, id).id(),
            cover: Cover::all(until_then),
        };
        world
            .server
            .put(&ids.iter().map(marker).collect::<Vec<_>>());
        let revision = (step + 1).to_string();
        until("the change", async || {
            world.feed().status().revision.as_deref() == Some(&*revision)
        })
        .await;
        for id in &ids {
            let mut claims = claims();
            claims["iat"] = json!(now);
            claims["exp"] = json!(now + 900);
            for (id, passes) in [(id.clone(), false), (format!("{id}-good"), true)] {
                claims["jti"] = json!(id);
                let token = SIGNER.token("at+jwt", &claims);
                let result = guard.check_now(&token, Presenter::NoCertificate, CLOSED);
                assert_eq!(result.is_ok(), passes, "{id}");
            }
        }
        assert!(guard.remembered_bytes() <= REMEMBERED);
        let most = EACH * (LASTS / i64::from(STEP) + 4);
        let markers = i64::try_from(world.feed().status().markers).unwrap();
        assert!(markers <= most, "{markers} markers");
        world.clock.advance(STEP);
        if step == 1200 / STEP {
            after_a_third = resident();
        }
    }
    let grown = resident().saturating_sub(after_a_third);
    assert!(
        grown < 4 * 1024,
        "{grown} KiB more than after a third of the hour"
    );
}
