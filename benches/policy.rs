//! What one decision costs as policies grow: `cargo bench --bench policy`.
//!
//! Prints one line a size: microseconds a decision, afresh and remembered, milliseconds to load the set, and
//! the process's resident memory after it. The columns of microseconds should stay flat.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench measures real time, and stops where it cannot go on"
)]

use cambist::policy::{Document, Input, Origin, Policies};
use mimalloc::MiMalloc;
use serde_json::json;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const AUDIENCES: usize = 100;
const ROUNDS: usize = 7;

/// One policy a workload and audience, with a condition; and some for everyone.
fn policies(n: usize) -> String {
    let mut text = String::new();
    for i in 0..n {
        let condition =
            r#"when { context.lifetime <= 3600 && ["r", "w"].containsAll(context.scopes) }"#;
        let (workload, audience) = (workload(i), audience(i));
        writeln!(
            text,
            "permit(principal == Workload::\"{workload}\", action, resource == Audience::\"{audience}\") {condition};"
        )
        .unwrap();
    }
    text.push_str("forbid(principal, action, resource) unless { context.bound };\n");
    text.push_str("forbid(principal in TrustDomain::\"example.com\", action, resource);\n");
    text
}

fn workload(i: usize) -> String {
    format!("spiffe://example.org/ns/n{i}/sa/web")
}

fn audience(i: usize) -> String {
    format!("https://a{}.example.org/", i % AUDIENCES)
}

fn input(i: usize) -> Input {
    let input = json!({
        "principal": {
            "sub": workload(i), "credential": format!("x509:{}", "A".repeat(43)), "kind": "certificate",
            "owner": null, "tenant": null, "labels": {},
        },
        "audience": {
            "name": audience(i), "owner": "team-shop", "tenant": null, "scopes": ["r", "w", "x"],
            "bound": true, "max_lifetime": 1800,
        },
        "ask": { "scopes": ["r"], "lifetime": null, "binding": "where_possible" },
        "ceilings": {
            "audiences": "policy", "scopes": "policy", "exchange": "policy",
            "not_after": "2030-01-01T00:00:00Z", "must_bind": true,
            "default_lifetime": 900, "max_lifetime": 3600,
        },
        "context": { "source": "192.0.2.7", "proves_key": true, "actors": [] },
    });
    serde_json::from_value(input).unwrap()
}

/// The best of some rounds, in microseconds a call.
fn best(inputs: &[Input], mut decide: impl FnMut(&Input)) -> f64 {
    let calls = if cfg!(debug_assertions) { 500 } else { 20_000 };
    let round = |_| {
        let started = Instant::now();
        for i in 0..calls {
            decide(&inputs[i % inputs.len()]);
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(calls).unwrap())
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or_default() * 4 / 1024
}

fn main() {
    println!("policies   afresh µs   remembered µs   load ms   resident MiB");
    for n in [1, 10, 100, 1_000, 10_000] {
        let holder = Policies::new().unwrap();
        let document = Document {
            name: "bench".to_owned(),
            text: policies(n),
            origin: Origin::Configuration,
        };
        let started = Instant::now();
        holder.load(vec![document]).unwrap();
        let load = started.elapsed().as_secs_f64() * 1e3;
        let snapshot = holder.snapshot();
        let inputs: Vec<Input> = (0..n.min(1_000)).map(input).collect();
        assert!(
            inputs
                .iter()
                .all(|input| snapshot.decide_afresh(input).outcome.is_ok())
        );
        let afresh = best(&inputs, |input| {
            drop(black_box(snapshot.decide_afresh(input)))
        });
        let remembered = best(&inputs, |input| {
            drop(black_box(snapshot.decide(input.clone())));
        });
        let memory = resident();
        println!("{n:>8}   {afresh:>9.2}   {remembered:>13.2}   {load:>7.1}   {memory:>12}");
    }
}
