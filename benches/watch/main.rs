//! The watch bench: what a push of a revocation to all who watch costs the broker, beside the bare stack in the same run.
//!
//! `cargo bench --bench watch [-- --pairs N --pushes N --connections N --streams N]`; without a number of connections, 10,000
//! streams over 100 of them and then 1,000 over as many. Broker, bare stack and load are processes of their own, as in
//! the load bench. The bare stack is a tonic service that sends messages of the same bytes to the same watchers from
//! one broadcast channel, with the same heartbeats. A push at the broker is a token that is revoked by a call: it
//! is durable before it is answered, and what that costs is counted in. CPU is user + system of the whole server process.
//! Times count from the answer to that call, and at the bare stack from the word to send; those of the broker are told once
//! more from while the load bench's calls keep it busy.
//! The last line of each form is `ratio cpu=<x.xx> memory=<x.xx>`: ours ÷ bare stack, medians of interleaved pairs.

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
#[path = "../../tests/it/support/only_watched.rs"]
mod only_watched;
mod watchers;

use bench::broker::{self, Folder};
use bench::exchanges::{self, Window};
use bench::role::Role;
use bench::{median, option};
use cambist::id::TokenId;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::{RevokeRequest, revoke_request};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use watchers::Arrivals;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (runtime, words) = bench::begin();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", tls] => runtime.block_on(bare::serve(Path::new(tls))),
        ["broker", config] => runtime.block_on(broker::serve(Path::new(config), None)),
        ["watchers", address, tls, connections, streams] => {
            let form = (connections.parse().unwrap(), streams.parse().unwrap());
            runtime.block_on(watchers::run(address, Path::new(tls), form));
        }
        ["exchanges", address, tls, key] => {
            exchanges::run(&runtime, address, Path::new(tls), Some(key), false);
        }
        words => {
            let (pairs, pushes) = (option(words, "--pairs", 5), option(words, "--pushes", 20));
            let forms = match option(words, "--connections", 0) {
                0 => vec![(100, 100), (1_000, 1)],
                connections => vec![(connections, option(words, "--streams", 1))],
            };
            for form in forms {
                drive(&runtime, form, pairs, pushes);
            }
        }
    }
}

/// Nanoseconds of Unix time: what processes on one machine have in common.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_nanos().try_into().unwrap()
}

/// What makes a server push.
enum Push {
    /// A word to it.
    Word,
    /// Calls of an administrator, who revokes one token after the other.
    Revoke(RevocationClient<Channel>, u128),
}

/// How long tokens are issued meanwhile.
const UNDER_LOAD: Duration = Duration::from_secs(20);

/// A server with all who watch it.
struct Side {
    name: &'static str,
    /// Ended first: whoever watches does not expect the server to.
    watching: Role,
    server: Role,
    address: String,
    push: Push,
    watchers: usize,
    /// Bytes of memory for each watcher.
    memory: u64,
    /// CPU microseconds for each push to one watcher, one a window.
    cost: Vec<f64>,
    arrivals: Vec<Arrivals>,
}

impl Side {
    fn start(
        name: &'static str,
        role: &str,
        argument: &Path,
        folder: &Folder,
        (connections, streams): (usize, usize),
    ) -> Self {
        let mut server = Role::start(role, &[&argument.display().to_string()]);
        let address = server.line("ready");
        let before = memory(&server);
        let (tls, watchers) = (folder.tls().display().to_string(), connections * streams);
        let (connections, streams) = (connections.to_string(), streams.to_string());
        let mut watching = Role::start("watchers", &[&address, &tls, &connections, &streams]);
        watching.line("watching");
        let each = memory(&server).saturating_sub(before) / watchers as u64;
        Self {
            name,
            server,
            address,
            watching,
            push: Push::Word,
            watchers,
            memory: each,
            cost: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    /// Has something pushed. Answers when it arrived, from when it was acknowledged.
    fn push(&mut self, runtime: &Runtime) -> Arrivals {
        match &mut self.push {
            Push::Word => self.server.say("push"),
            Push::Revoke(revocation, count) => {
                *count += 1;
                let token = TokenId::new(count.to_be_bytes()).to_string();
                let request = RevokeRequest {
                    thing: Some(revoke_request::Thing::TokenId(token)),
                    ..RevokeRequest::default()
                };
                runtime.block_on(revocation.revoke(request)).unwrap();
            }
        }
        let acknowledged = now();
        let all: Arrivals = serde_json::from_str(&self.watching.line("pushed")).unwrap();
        all.since(acknowledged)
    }

    fn measure(&mut self, runtime: &Runtime, pushes: usize) {
        loop {
            let before = self.server.cpu();
            let mut arrivals: Vec<_> = (0..pushes).map(|_| self.push(runtime)).collect();
            // A thread that ended took its count with it: the window says nothing.
            if let Some(used) = self.server.cpu().since(&before) {
                self.cost
                    .push(used as f64 / 1000.0 / (pushes * self.watchers) as f64);
                return self.arrivals.append(&mut arrivals);
            }
        }
    }

    /// Pushes while tokens are issued as fast as they can be.
    fn measure_under_load(&mut self, runtime: &Runtime, folder: &Folder, pushes: usize) {
        let (tls, key) = (
            folder.tls().display().to_string(),
            runtime.block_on(folder.key()),
        );
        let mut load = Role::start("exchanges", &[&self.address, &tls, &key.secret]);
        load.line("sizes");
        load.say(&format!("go {}", UNDER_LOAD.as_millis()));
        let begun = Instant::now();
        let mut arrivals = Vec::new();
        // A push that begins in the last part of it may arrive after it.
        while arrivals.len() < pushes && begun.elapsed() < UNDER_LOAD * 4 / 5 {
            arrivals.push(self.push(runtime));
        }
        let window: Window = serde_json::from_str(&load.line("window")).unwrap();
        println!(
            "  {} pushes while {:.0} tokens a second are issued, each in {:.1} ms (p99 {:.1} ms): {}",
            arrivals.len(),
            window.calls as f64 / window.seconds,
            f64::from(window.p50) / 1000.0,
            f64::from(window.p99) / 1000.0,
            times(&arrivals),
        );
    }

    fn report(&self) {
        println!(
            "  {:<7}{:>6.2} µs CPU a push to one watcher, {:>6} bytes a watcher; {}",
            self.name,
            median(&self.cost),
            self.memory,
            times(&self.arrivals),
        );
    }
}

/// When pushes arrived, in words.
fn times(arrivals: &[Arrivals]) -> String {
    let all = |of: fn(&Arrivals) -> i64| arrivals.iter().map(move |all| of(all) as f64 / 1e6);
    let medians = |of| median(&all(of).collect::<Vec<_>>());
    format!(
        "first {:>6.2} ms  p50 {:>6.2} ms  p99 {:>6.2} ms  last {:>6.2} ms, at worst {:>6.2} ms",
        medians(|all| all.first),
        medians(|all| all.p50),
        medians(|all| all.p99),
        medians(|all| all.last),
        all(|all| all.last).fold(0.0, f64::max),
    )
}

/// Bytes of memory that a process holds.
fn memory(role: &Role) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", role.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.unwrap().trim_end_matches("kB").trim();
    kibibytes.parse::<u64>().unwrap() * 1024
}

fn drive(runtime: &Runtime, form: (usize, usize), pairs: usize, pushes: usize) {
    let folder = Folder::new("");
    let mut ours = Side::start("broker", "broker", &folder.config(), &folder, form);
    let mut bare = Side::start("bare", "bare", &folder.tls(), &folder, form);
    let revocation = RevocationClient::new(runtime.block_on(folder.channel()));
    ours.push = Push::Revoke(revocation, 0);
    println!(
        "{} connections with {} watchers each: {pairs} pairs of {pushes} pushes",
        form.0, form.1
    );
    for side in [&mut bare, &mut ours] {
        side.measure(runtime, 2);
        side.cost.clear();
        side.arrivals.clear();
    }
    for pair in 0..pairs {
        let mut order = [&mut bare, &mut ours];
        order.rotate_left(pair % 2);
        for side in order {
            side.measure(runtime, pushes);
        }
    }
    bare.report();
    ours.report();
    let costs = ours.cost.iter().zip(&bare.cost);
    let cpu: Vec<f64> = costs.map(|(ours, bare)| ours / bare).collect();
    let memory = ours.memory as f64 / bare.memory as f64;
    drop(bare);
    ours.measure_under_load(runtime, &folder, pairs * pushes);
    println!("ratio cpu={:.2} memory={memory:.2}", median(&cpu));
}
