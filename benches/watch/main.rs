//! The watch bench: what a push of a revocation to all who watch costs the broker, beside the bare stack in the same run.
//!
//! `cargo bench --bench watch [-- --pairs N --pushes N --connections N --streams N]`; without a number of connections, 10,000
//! streams over 100 of them and then 1,000 over as many. Broker, bare stack and load are processes of their own, as in
//! the load bench. The bare stack is a tonic service that sends messages of the same bytes to the same watchers from
//! one broadcast channel, with the same heartbeats. A push at the broker is a key that is suspended or resumed by a
//! call: its record is durable before it is answered, and what that costs is counted in. CPU is user + system of the
//! whole server process. Times count from the answer to that call, and at the bare stack from the word to send.
//! The last line of each form is `ratio cpu=<x.xx> memory=<x.xx>`: ours ÷ bare stack, medians of interleaved pairs.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on stops, and measures real time"
)]

mod bare;
#[path = "../load/broker.rs"]
mod broker;
mod load;
#[path = "../load/role.rs"]
mod role;

use broker::Folder;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::{ResumeKeyRequest, SuspendKeyRequest};
use load::Arrivals;
use role::Role;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match words.as_slice() {
        ["bare", tls] => runtime.block_on(bare::serve(Path::new(tls))),
        ["broker", config] => runtime.block_on(broker::serve(Path::new(config), None)),
        ["load", address, tls, connections, streams] => {
            let form = (connections.parse().unwrap(), streams.parse().unwrap());
            runtime.block_on(load::run(address, Path::new(tls), form));
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

fn option(words: &[&str], name: &str, default: usize) -> usize {
    let at = words.iter().position(|word| *word == name);
    at.map_or(default, |at| words[at + 1].parse().unwrap())
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
    /// Calls of an administrator.
    Key {
        inventory: InventoryClient<Channel>,
        id: String,
        is_suspended: bool,
    },
}

/// A server with all who watch it.
struct Side {
    name: &'static str,
    server: Role,
    load: Role,
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
        let mut load = Role::start("load", &[&address, &tls, &connections, &streams]);
        load.line("watching");
        let each = memory(&server).saturating_sub(before) / watchers as u64;
        Self {
            name,
            server,
            load,
            push: Push::Word,
            watchers,
            memory: each,
            cost: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    /// Has something pushed. Answers when that was acknowledged.
    fn push(&mut self, runtime: &Runtime) -> u64 {
        match &mut self.push {
            Push::Word => self.server.say("push"),
            Push::Key {
                inventory,
                id,
                is_suspended,
            } => {
                let id = id.clone();
                *is_suspended = !*is_suspended;
                runtime.block_on(async {
                    if *is_suspended {
                        let request = SuspendKeyRequest {
                            id,
                            ..SuspendKeyRequest::default()
                        };
                        inventory.suspend_key(request).await.unwrap();
                    } else {
                        let request = ResumeKeyRequest {
                            id,
                            ..ResumeKeyRequest::default()
                        };
                        inventory.resume_key(request).await.unwrap();
                    }
                });
            }
        }
        now()
    }

    fn measure(&mut self, runtime: &Runtime, pushes: usize) {
        loop {
            let before = self.server.cpu();
            let mut arrivals = Vec::new();
            for _ in 0..pushes {
                let acknowledged = self.push(runtime);
                let all: Arrivals = serde_json::from_str(&self.load.line("pushed")).unwrap();
                arrivals.push(all.since(acknowledged));
            }
            // A thread that ended took its count with it: the window says nothing.
            if let Some(used) = self.server.cpu().since(&before) {
                self.cost
                    .push(used as f64 / 1000.0 / (pushes * self.watchers) as f64);
                return self.arrivals.append(&mut arrivals);
            }
        }
    }

    fn report(&self) {
        let medians = |of: fn(&Arrivals) -> i64| {
            let all: Vec<_> = self
                .arrivals
                .iter()
                .map(|all| of(all) as f64 / 1e6)
                .collect();
            median(&all)
        };
        println!(
            "  {:<7}{:>6.2} µs CPU a push to one watcher, {:>6} bytes a watcher; first {:>6.2} ms  p50 {:>6.2} ms  p99 {:>6.2} ms  last {:>6.2} ms",
            self.name,
            median(&self.cost),
            self.memory,
            medians(|all| all.first),
            medians(|all| all.p50),
            medians(|all| all.p99),
            medians(|all| all.last),
        );
    }
}

/// Bytes of memory that a process holds.
fn memory(role: &Role) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", role.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.unwrap().trim_end_matches("kB").trim();
    kibibytes.parse::<u64>().unwrap() * 1024
}

fn drive(runtime: &Runtime, form: (usize, usize), pairs: usize, pushes: usize) {
    let folder = Folder::new();
    let mut ours = Side::start("broker", "broker", &folder.config(), &folder, form);
    let mut bare = Side::start("bare", "bare", &folder.tls(), &folder, form);
    ours.push = runtime.block_on(async {
        Push::Key {
            inventory: folder.inventory().await,
            id: folder.key().await.key.unwrap().id,
            is_suspended: false,
        }
    });
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
    println!("ratio cpu={:.2} memory={memory:.2}", median(&cpu));
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
