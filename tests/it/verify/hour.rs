//! An hour of tokens and revocations that come and go.

use super::world::{CLOSED, World};
use super::{ISSUER, SIGNER, claims};
use crate::support::edge::until;
use crate::support::myself::{alone, folder, resident};
use cambist::clock::Clock as _;
use cambist::marker::{Cover, Marker, Second, Thing};
use cambist::verify::{Guard, Keys, Presenter};
use jiff::Timestamp;
use serde_json::json;
use tokio::runtime;

/// Simulated seconds between two looks.
const STEP: u32 = 10;
/// Tokens that begin between them, half of them revoked.
const TOKENS: usize = 80;
/// How often each of them is checked.
const CHECKS: usize = 5;
/// Revocations that begin between them.
const MARKERS: usize = 160;
/// How long a revocation is in force.
const LASTS: i64 = 100;
/// What is remembered of tokens, in bytes.
const REMEMBERED: u64 = 512 * 1024;
/// Leaked in each check of a new token, and no more than that in each other check and for each marker, this would show.
const LEAK: u64 = 16;

#[test]
fn an_hour_leaves_nothing_behind() {
    if folder().is_some() {
        let mut runtime = runtime::Builder::new_current_thread();
        return runtime.enable_all().build().unwrap().block_on(hour());
    }
    println!("{}", alone("verify::hour::an_hour_leaves_nothing_behind"));
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
        let ids: Vec<_> = (0..MARKERS).map(|n| format!("{step}-{n}")).collect();
        let until_then = Second::of(Timestamp::from_second(now + LASTS).unwrap());
        let marker = |id: &String| Marker {
            id: Thing::Token(ISSUER, id).id(),
            cover: Cover::all(until_then),
        };
        // Tells by when markers have ended.
        world.server.beat();
        world
            .server
            .put(&ids.iter().map(marker).collect::<Vec<_>>());
        let revision = (step + 1).to_string();
        until("the change", async || {
            world.feed().status().revision.as_deref() == Some(&*revision)
        })
        .await;
        world.server.keep_nothing();
        for id in &ids[..TOKENS / 2] {
            let mut claims = claims();
            claims["iat"] = json!(now);
            claims["exp"] = json!(now + 900);
            for (id, passes) in [(id.clone(), false), (format!("{id}-good"), true)] {
                claims["jti"] = json!(id);
                let token = SIGNER.token("at+jwt", &claims);
                for _ in 0..CHECKS {
                    let result = guard.check_now(&token, Presenter::NoCertificate, CLOSED);
                    assert_eq!(result.is_ok(), passes, "{id}");
                }
            }
        }
        assert!(guard.remembered_bytes() <= REMEMBERED);
        let most = MARKERS * usize::try_from(LASTS / i64::from(STEP) + 4).unwrap();
        let markers = world.feed().status().markers;
        assert!(markers <= most, "{markers} markers");
        world.clock.advance(STEP);
        if step == 1200 / STEP {
            after_a_third = resident();
        }
    }
    let grown = resident().saturating_sub(after_a_third);
    println!("{} KiB more than after a third of the hour", grown >> 10);
    let tokens = u64::try_from(TOKENS).unwrap() * u64::from((3600 - 1200) / STEP - 1);
    assert!(grown < LEAK * tokens, "{grown} bytes for {tokens} tokens");
}
