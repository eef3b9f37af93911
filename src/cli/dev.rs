//! `cambist dev`: a broker with everything it needs, and a story told with it over the network.
//!
//! The folder holds a configuration like an operator's; the broker is started as `serve` starts it; every
//! step of the story is what a client would do.

mod copy;
mod folder;
mod pki;
mod revoke;
mod story;

use super::failure::{Failure, chain};
use super::world::World;
use crate::app;
use crate::client;
use crate::clock::random;
use crate::lifecycle::{Ended, Lifecycle, from_os};
use crate::limits;
use crate::telemetry::{LogFormat, init};
use clap::Args;
use folder::Folder;
use serde::Serialize;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use story::Story;

/// Where a development broker listens.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Its folder, in the working directory.
const FOLDER: &str = "cambist-dev";
/// Where a free port is looked for: below what the system gives to whoever asks for any (Linux: from 32768 on).
const PORTS: Range<u16> = 10_000..30_000;
/// So many are tried before none is free.
const PORT_DRAWS: usize = 100;

/// Run a broker to try things on: it makes its own certificates and key, and shows exchanges
#[derive(Args, Debug)]
pub struct DevArgs {
    /// Keep everything in this folder [default: ./cambist-dev, or a temporary one with --check]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Listen here [default: 127.0.0.1:8443, or a free port with --check]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Run the story, one line a step, and end: exit code 0 only if every step did what it should
    #[arg(long)]
    check: bool,
}

/// Every step of the story, in order. Ids only ever grow.
const STEPS: [&str; 13] = [
    "folder",
    "serve",
    "create-key",
    "exchange-key",
    "verify-key-token",
    "exchange-certificate",
    "verify-certificate-token",
    "exchange-token",
    "refuse-audience",
    "record",
    "verify-log",
    "revoke",
    "stop",
];

/// How a step went.
#[derive(Serialize)]
struct Told {
    id: &'static str,
    ok: bool,
    text: String,
}

/// The story as it is told: each step once, in the declared order.
struct Teller {
    check: bool,
    world: World,
    folder: PathBuf,
    told: Vec<Told>,
}

impl Teller {
    /// Runs a step and tells how it went.
    async fn step<T>(
        &mut self,
        id: &'static str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> Result<T, Failure> {
        let (done, told, next) = match work.await {
            Ok((value, text)) => (Some(value), Told { id, ok: true, text }, String::new()),
            Err(error) => {
                let (ok, text) = (false, chain(&error));
                (None, Told { id, ok, text }, self.advice(&error))
            }
        };
        let failure = Failure::fault(format!("the step `{id}` failed"));
        let failure = failure.why(&told.text).next(next);
        self.tell(&told)?;
        self.told.push(told);
        done.ok_or(failure)
    }

    /// What to do after a step failed. In a folder of its own the story is refused nothing that it asks for.
    fn advice(&self, error: &anyhow::Error) -> String {
        match error.downcast_ref::<client::Error>() {
            Some(error) if error.is_refusal() => format!(
                "what was revoked or changed in this folder still holds: give another --dir, or undo it: \
                 `cambist serve --config {}`, and at its socket `cambist marker list`",
                self.folder.join("cambist.toml").display()
            ),
            _ => String::new(),
        }
    }

    fn tell(&self, told: &Told) -> Result<(), Failure> {
        if self.world.output.is_json() {
            return Ok(());
        }
        let line = match (self.check, told.ok) {
            (true, true) => format!("ok {} {}", told.id, told.text.replace('\n', "; ")),
            (true, false) => format!("FAIL {} {}", told.id, told.text.replace('\n', "; ")),
            (false, _) => format!("\n{}\n{}", heading(told.id), told.text),
        };
        self.world.output.show(&(), || line)
    }

    /// Whether every declared step ran and did what it should.
    fn is_complete(&self) -> bool {
        self.told.iter().map(|told| told.id).eq(STEPS) && self.told.iter().all(|told| told.ok)
    }
}

fn heading(id: &str) -> String {
    format!("── {}", id.replace('-', " "))
}

/// Runs the story, then serves until Ctrl-C; with `--check`, ends after it.
pub(super) async fn run(args: DevArgs, world: &World) -> Result<(), Failure> {
    init("warn", LogFormat::of_a_service())
        .map_err(|error| Failure::fault("nothing can be logged").why(error))?;
    let temporary = temporary(&args)?;
    let path = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().join("dev"),
        (None, None) => PathBuf::from(FOLDER),
    };
    let listen = match args.listen {
        Some(address) => address,
        None if args.check => free_port(world)?,
        None => ADDRESS,
    };
    let mut teller = Teller {
        check: args.check,
        world: world.clone(),
        folder: path.clone(),
        told: Vec::with_capacity(STEPS.len()),
    };
    let result = tell(&mut teller, &path, listen, &args).await;
    if world.output.is_json() && args.check {
        world.output.show(
            &serde_json::json!({ "ok": teller.is_complete(), "steps": teller.told }),
            String::new,
        )?;
    }
    result
}

async fn tell(
    teller: &mut Teller,
    path: &Path,
    listen: SocketAddr,
    args: &DevArgs,
) -> Result<(), Failure> {
    let world = teller.world.clone();
    let ops = if args.check {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    } else {
        beside(listen)
    };
    let folder = teller
        .step("folder", async {
            Folder::prepare(path, listen, ops, &world)
        })
        .await?;
    let lifecycle = Lifecycle::new();
    let broker = app::World {
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
        lifecycle: lifecycle.clone(),
        accept_rollback: false,
        records: None,
    };
    teller.step("serve", serve(&folder, &broker)).await?;
    let mut story = Story::new(folder, world.clone());
    teller.step("create-key", story.create_key()).await?;
    let key_token = teller.step("exchange-key", story.exchange_key()).await?;
    teller
        .step("verify-key-token", story.verify(&key_token))
        .await?;
    let bound = teller
        .step("exchange-certificate", story.exchange_certificate())
        .await?;
    teller
        .step("verify-certificate-token", story.verify(&bound))
        .await?;
    let narrower = teller
        .step("exchange-token", story.exchange_token(&bound))
        .await?;
    teller
        .step("refuse-audience", story.refuse_audience())
        .await?;
    teller
        .step("record", story.record(&[&key_token, &bound, &narrower]))
        .await?;
    teller.step("verify-log", story.verify_log()).await?;
    teller
        .step("revoke", story.revoke(&bound, &narrower))
        .await?;
    if args.check {
        lifecycle.stop();
        return teller.step("stop", stop(&lifecycle)).await;
    }
    world
        .output
        .show(&serde_json::json!({ "steps": teller.told }), || {
            story.what_next()
        })?;
    ended(attend(&lifecycle).await?)
}

async fn serve(folder: &Folder, world: &app::World) -> anyhow::Result<((), String)> {
    let running = app::start(&folder.config, world).await?;
    tokio::time::timeout(limits::APPLY, running.readiness.becomes(true))
        .await
        .map_err(|_| anyhow::anyhow!("not ready: {:?}", running.readiness.reasons()))?;
    let text = format!(
        "the broker serves gRPC and HTTPS at {}, operations at http://{}",
        folder.issuer(),
        running.ops
    );
    Ok(((), text))
}

async fn attend(lifecycle: &Lifecycle) -> Result<Ended, Failure> {
    let signals = from_os(lifecycle.quiet().clone());
    let signals =
        signals.map_err(|error| Failure::fault("signals cannot be waited for").why(error))?;
    Ok(lifecycle.run(signals, limits::DRAIN).await)
}

fn ended(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Failed(reason) => Err(Failure::fault("the broker ended by itself").why(reason)),
    }
}

async fn stop(lifecycle: &Lifecycle) -> anyhow::Result<((), String)> {
    match attend(lifecycle).await {
        Ok(Ended::Stopped) => Ok(((), "the broker drained and stopped".to_owned())),
        Ok(Ended::Failed(reason)) => Err(anyhow::anyhow!(reason)),
        Err(_) => Err(anyhow::anyhow!("signals cannot be waited for")),
    }
}

fn temporary(args: &DevArgs) -> Result<Option<tempfile::TempDir>, Failure> {
    if args.dir.is_some() || !args.check {
        return Ok(None);
    }
    let made = tempfile::Builder::new().prefix("cambist-").tempdir();
    made.map(Some)
        .map_err(|error| Failure::fault("no temporary folder can be made").why(error))
}

/// A port that nobody has. Another process may take it before the broker does; then the broker says so.
fn free_port(world: &World) -> Result<SocketAddr, Failure> {
    let none = || Failure::fault("no port is free");
    for _ in 0..PORT_DRAWS {
        let drawn = random(&*world.random).map_err(|error| none().why(error))?;
        let offset = usize::from(u16::from_be_bytes(drawn)) % PORTS.len();
        let Some(port) = PORTS.clone().nth(offset) else {
            continue;
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(none())
}

/// The port after, for operations.
fn beside(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(0))
}
