//! Keys are made here, and their secrets leave exactly once.

use super::view::View;
use super::{WriteArgs, label, no_key, public_id};
use crate::cli::connect::{ConnectArgs, Connection};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::fields;
use crate::cli::time::{self, Instant};
use crate::cli::world::World;
use crate::proto::{CreateKeyRequest, Key, KeySpec, RotateKeyRequest};
use crate::secret::Secret;
use clap::Args;
use ipnet::IpNet;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// The team that answers for it
    #[arg(long)]
    owner: String,
    /// What it is for, in a sentence
    #[arg(long)]
    purpose: String,
    /// A registered audience it may ask for; may be repeated
    #[arg(long = "audience", required = true, value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// A scope it may ask for; may be repeated
    #[arg(long = "scope", required_unless_present = "no_scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// It may ask for no scope at all
    #[arg(long, conflicts_with = "scopes")]
    no_scope: bool,
    /// When it lapses: 30d, or 2030-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Instant,
    /// A network it may be used from, in CIDR form; may be repeated [default: any]
    #[arg(long = "network", value_name = "CIDR", value_parser = network)]
    networks: Vec<IpNet>,
    /// How many times it may be used [default: without limit]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// The tenant it belongs to
    #[arg(long)]
    tenant: Option<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A name for this write, so that repeating it is harmless [default: a random one]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    delivery: DeliveryArgs,
}

#[derive(Args, Debug)]
pub(super) struct RotateArgs {
    /// The key's public id: the 16 characters after cmb_
    id: String,
    /// How long the old key goes on; 0s revokes it at once
    #[arg(long, value_parser = time::length, value_name = "TIME")]
    overlap: Duration,
    /// When the successor lapses: 30d, or 2030-01-31T12:00:00Z [default: when the old key would have]
    #[arg(long, value_name = "WHEN")]
    expires: Option<Instant>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    delivery: DeliveryArgs,
}

#[derive(Args, Debug)]
struct DeliveryArgs {
    /// Write the secret to this new file, readable to nobody else, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A new key, as `--json` prints it: with its secret, or the file that holds it.
#[derive(Serialize)]
struct Created<'s> {
    key: View,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .map_err(|_| "not a network such as 10.20.0.0/16; one address is 10.20.0.1/32")
}

pub(super) async fn create(
    args: CreateArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let idempotency_key = world.idempotency_key(args.idempotency_key.as_deref())?;
    let spec = KeySpec {
        owner: args.owner,
        purpose: args.purpose,
        audiences: args.audiences,
        scopes: args.scopes,
        expires_at: Some(resolve(args.expires, world)?),
        networks: args.networks.iter().map(IpNet::to_string).collect(),
        uses: args.uses.unwrap_or_default(),
        tenant: args.tenant.unwrap_or_default(),
        labels: args.labels.into_iter().collect(),
    };
    let mut client = connect.connect().await?.inventory();
    let delivery = Delivery::open(args.delivery)?;
    let request = CreateKeyRequest {
        spec: Some(spec),
        idempotency_key: idempotency_key.clone(),
    };
    match client.create_key(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            delivery.deliver(answer.key, Secret::new(answer.secret), world)
        }
        Err(status) => Err(delivery.abandon(Connection::unsure(&status, &idempotency_key))),
    }
}

pub(super) async fn rotate(
    args: RotateArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let id = public_id(&args.id)?;
    let idempotency_key = world.idempotency_key(args.write.idempotency_key.as_deref())?;
    let expires_at = args.expires.map(|at| resolve(at, world)).transpose()?;
    let mut client = connect.connect().await?.inventory();
    let delivery = Delivery::open(args.delivery)?;
    let request = RotateKeyRequest {
        id: id.to_string(),
        overlap: Some(time::length_to_proto(args.overlap)),
        expires_at,
        idempotency_key: idempotency_key.clone(),
        expected_revision: args.write.expected(),
    };
    match client.rotate_key(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            delivery.deliver(answer.key, Secret::new(answer.secret), world)
        }
        Err(status) => Err(delivery.abandon(Connection::unsure(&status, &idempotency_key))),
    }
}

fn resolve(at: Instant, world: &World) -> Result<prost_types::Timestamp, Failure> {
    let now = world.clock.now();
    let at = at.resolve(now).filter(|at| *at > now);
    at.map(time::to_proto)
        .ok_or_else(|| Failure::usage("--expires does not name a time to come"))
}

/// Where a secret goes. A file is opened before the key is made: a secret with nowhere to go would be lost.
struct Delivery {
    file: Option<(PathBuf, File)>,
}

impl Delivery {
    fn open(args: DeliveryArgs) -> Result<Self, Failure> {
        let Some(path) = args.out else {
            return Ok(Self { file: None });
        };
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(|error| {
            Failure::usage(format!("{} cannot be made", path.display()))
                .why(error)
                .next("name a file that does not exist, in a directory that can be written")
        })?;
        Ok(Self {
            file: Some((path, file)),
        })
    }

    /// No secret came: the file that waits for one is taken away again.
    fn abandon(self, failure: Failure) -> Failure {
        if let Some((path, _)) = self.file {
            // What stays behind is an empty file; the failure to report is the other one.
            let _ = std::fs::remove_file(path);
        }
        failure
    }

    fn deliver(self, key: Option<Key>, secret: Secret, world: &World) -> Result<(), Failure> {
        let Some(key) = key else {
            return Err(self.abandon(no_key()));
        };
        let key = View::from(key);
        let again = format!("cambist key rotate {} --overlap 0s", key.id);
        if secret.expose().is_empty() {
            let failure = Failure::new(
                Exit::Refused,
                "already_delivered",
                format!(
                    "key {} was made by an earlier call, and its secret delivered then",
                    key.id
                ),
            );
            let next = format!("if the secret did not arrive: {again}");
            return Err(self.abandon(failure.next(next)));
        }
        let lost = format!("the secret of key {} could not be written", key.id);
        let lost = |error| {
            Failure::fault(lost)
                .why(error)
                .next(format!("replace it: {again}"))
        };
        let now = world.clock.now();
        if let Some((path, file)) = &self.file {
            let written = writeln!(&*file, "{}", secret.expose()).and_then(|()| file.sync_all());
            if let Err(error) = written {
                return Err(self.abandon(lost(error)));
            }
            let created = Created {
                key,
                secret: None,
                secret_file: Some(path.clone()),
            };
            return world.output.show(&created, || {
                let mut rows = created.key.fields(now);
                rows.push(("secret", format!("in {}", path.display())));
                fields(&rows)
            });
        }
        world.output.note(&fields(&key.fields(now)));
        world
            .output
            .warn("this is the only time that the secret is shown");
        let created = Created {
            key,
            secret: Some(secret.expose()),
            secret_file: None,
        };
        let printed = world.output.print(&created, || secret.expose().to_owned());
        // A reader who has left is as bad as a full disk: the secret is shown to nobody again.
        printed.map_err(lost)
    }
}
