//! The load bench: what a call costs the broker in CPU, beside the bare stack in the same run.
//!
//! `cargo bench --bench load [-- --pairs N --seconds S] [--calls | --log | --markers N]`: with `--calls` no handshakes, with
//! `--log` the log's share alone, and with `--markers` a broker that has so many markers in force beside one that has none.
//! Broker, bare stack and load are processes of their own, all of this binary: same allocator, runtime, TLS and message
//! sizes. The broker's log and store are on the disk of `target/`, synced. CPU is user + system of the whole server process,
//! as the scheduler counts it, for all calls of a window and whatever goes on beside them. Only ratios from one run mean
//! anything. The last lines are `ratio key=<x.xx> certificate=<x.xx>`, ours ÷ bare stack, medians of interleaved pairs; and
//! `ratio log=<x.xx> closed=<x.xx>`: what part of a call is tree, write and sync, by a broker whose log only grows beside one
//! whose records are encoded and discarded; and what part of ours is indexing and compressing the segments that are closed,
//! beside the one that grows. That one closes its first after a gigabyte: half a minute of windows is as much as says anything
//! of the log's share.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on stops, and measures real time"
)]

mod bare;
#[path = "../common/bench.rs"]
mod bench;
mod discard;
mod markers;
#[path = "../../tests/it/support/stored_markers.rs"]
mod stored_markers;

use bench::broker::{self, Folder};
use bench::exchanges::{self, CONNECTIONS, IN_FLIGHT, Window};
use bench::role::Role;
use bench::{median, option};
use discard::Discard;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration of a log whose segments are closed as seldom as may be: once a run or twice.
const SELDOM_CLOSED: &str = "segment_bytes = 1_073_741_824";

/// How much replies of the two sides may differ in length: by the digits of an index.
const SLACK: usize = 8;

fn main() {
    let (runtime, words) = bench::begin();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", tls] => runtime.block_on(bare::serve(Path::new(tls))),
        ["broker", config] => runtime.block_on(broker::serve(Path::new(config), None)),
        ["unlogged", config] => {
            let records = Arc::new(Discard::default());
            runtime.block_on(broker::serve(Path::new(config), Some(records)));
        }
        ["load", work, address, tls, subject] => {
            let key = (*subject != "certificate").then_some(*subject);
            exchanges::run(
                &runtime,
                address,
                Path::new(tls),
                key,
                *work == "handshakes",
            );
        }
        words => {
            let (pairs, seconds) = (option(words, "--pairs", 9), option(words, "--seconds", 2.0));
            match option(words, "--markers", 0) {
                0 => drive(&runtime, pairs, seconds, words),
                count => markers::drive(&runtime, count, pairs, seconds),
            }
        }
    }
}

/// A server under load, measured window by window.
struct Side<'a> {
    name: &'static str,
    server: &'a Role,
    load: Role,
    /// Length of token and reply.
    sizes: (usize, usize),
    /// CPU microseconds a call, one a window.
    cost: Vec<f64>,
    windows: Vec<Window>,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, server: &'a Role, load: &[&str]) -> Self {
        let mut load = Role::start("load", load);
        let sizes = load.line("sizes");
        let (token, reply) = sizes.split_once(' ').unwrap();
        let sizes = (token.parse().unwrap(), reply.parse().unwrap());
        Self {
            name,
            server,
            load,
            sizes,
            cost: Vec::new(),
            windows: Vec::new(),
        }
    }

    fn measure(&mut self, seconds: f64) {
        loop {
            let before = self.server.cpu();
            self.load.say(&format!("go {:.0}", seconds * 1000.0));
            let window: Window = serde_json::from_str(&self.load.line("window")).unwrap();
            // A thread that ended took its count with it: the window says nothing.
            if let Some(used) = self.server.cpu().since(&before) {
                self.cost.push(used as f64 / 1000.0 / window.calls as f64);
                return self.windows.push(window);
            }
        }
    }

    fn report(&self) {
        let medians =
            |of: fn(&Window) -> f64| median(&self.windows.iter().map(of).collect::<Vec<_>>());
        let mut cost = self.cost.clone();
        cost.sort_by(f64::total_cmp);
        println!(
            "  {:<7}{:>7.1} µs CPU a call ({:.1} to {:.1}) {:>7.0} calls/s  p50 {:>6.2} ms  p99 {:>6.2} ms  worst {:>6.2} ms  token {} B",
            self.name,
            median(&cost),
            cost[0],
            cost[cost.len() - 1],
            medians(|window| window.calls as f64 / window.seconds),
            medians(|window| f64::from(window.p50) / 1000.0),
            medians(|window| f64::from(window.p99) / 1000.0),
            medians(|window| f64::from(window.worst) / 1000.0),
            self.sizes.0,
        );
    }
}

/// A server that runs.
struct Server {
    name: &'static str,
    role: Role,
    address: String,
    /// The folder of certificates and keys.
    tls: String,
    /// What key callers show.
    key: String,
}

impl Server {
    fn start(name: &'static str, role: &str, argument: &Path, folder: &Folder) -> Self {
        let mut role = Role::start(role, &[&argument.display().to_string()]);
        Self {
            name,
            address: role.line("ready"),
            role,
            tls: folder.tls().display().to_string(),
            key: String::new(),
        }
    }

    fn side(&self, work: &str, by_key: bool) -> Side<'_> {
        let subject = if by_key { &self.key } else { "certificate" };
        let load = [work, &self.address, &self.tls, subject];
        Side::new(self.name, &self.role, &load)
    }
}

/// The median ratio, `ours` ÷ `other`, of interleaved pairs of windows. The load of one side is idle while the other's
/// runs.
fn compare(
    (other, ours): (&Server, &Server),
    work: &str,
    by_key: bool,
    pairs: usize,
    seconds: f64,
) -> f64 {
    let kind = if by_key { "key" } else { "certificate" };
    println!("{work}, {kind}: windows of {seconds} s");
    let (mut other, mut ours) = (other.side(work, by_key), ours.side(work, by_key));
    assert_eq!(other.sizes.0, ours.sizes.0, "the tokens differ in length");
    assert!(
        other.sizes.1.abs_diff(ours.sizes.1) < SLACK,
        "the replies differ in length"
    );
    for pair in 0..pairs {
        let mut order = [&mut other, &mut ours];
        order.rotate_left(pair % 2);
        for side in order {
            side.measure(seconds);
        }
    }
    other.report();
    ours.report();
    let costs = ours.cost.iter().zip(&other.cost);
    let ratios: Vec<f64> = costs.map(|(ours, other)| ours / other).collect();
    median(&ratios)
}

fn drive(runtime: &Runtime, pairs: usize, seconds: f64, words: &[&str]) {
    let (only_calls, only_log) = (words.contains(&"--calls"), words.contains(&"--log"));
    let folder = Folder::new("");
    let mut ours = Server::start("broker", "broker", &folder.config(), &folder);
    ours.key = runtime.block_on(folder.key()).secret;
    println!("{pairs} pairs of windows");
    if !only_log {
        let mut bare = Server::start("bare", "bare", &folder.tls(), &folder);
        bare.key.clone_from(&ours.key);
        let both = (&bare, &ours);
        if !only_calls {
            println!("handshakes: {CONNECTIONS} at a time, each with one call");
            let half = seconds / 2.0;
            let by_key = compare(both, "handshakes", true, pairs, half);
            let by_certificate = compare(both, "handshakes", false, pairs, half);
            println!("handshake ratio key={by_key:.2} certificate={by_certificate:.2}");
        }
        println!("calls: {CONNECTIONS} connections with {IN_FLIGHT} in flight each");
        let by_key = compare(both, "calls", true, pairs, seconds);
        let by_certificate = compare(both, "calls", false, pairs, seconds);
        println!("ratio key={by_key:.2} certificate={by_certificate:.2}");
    }
    let [open, other] = [SELDOM_CLOSED, ""].map(Folder::new);
    let mut unlogged = Server::start("no log", "unlogged", &other.config(), &other);
    let mut growing = Server::start("growing", "broker", &open.config(), &open);
    for (server, folder) in [(&mut unlogged, &other), (&mut growing, &open)] {
        server.key = runtime.block_on(folder.key()).secret;
    }
    let share = |without, with| 1.0 - 1.0 / compare((without, with), "calls", true, pairs, seconds);
    let log = share(&unlogged, &growing);
    let closed = share(&growing, &ours);
    println!("ratio log={log:.2} closed={closed:.2}");
}
