//! `cambist key`: API keys, from creation to revocation.

mod create;
mod view;

use super::connect::{ConnectArgs, Connection};
use super::failure::Failure;
use super::output::{fields, table};
use super::page;
use super::world::World;
use crate::id::KeyPublicId;
use crate::limits;
use crate::proto::inventory_client::InventoryClient;
use crate::proto::{
    GetKeyRequest, Key, ListKeysRequest, ListKeysResponse, ResumeKeyRequest, RevokeKeyRequest,
    SuspendKeyRequest,
};
use crate::secret::api_key;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::HashMap;
use tonic::Status;
use tonic::transport::Channel;
pub(super) use view::View;

/// API keys: create, look at, replace, stop.
#[derive(Args, Debug)]
pub struct KeyArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key; its secret is shown once
    Create(Box<create::CreateArgs>),
    /// List keys
    List(ListArgs),
    /// Show one key
    Show {
        /// The key's public id: the 16 characters after cmb_
        id: String,
    },
    /// Make a successor with the same reach; its secret is shown once
    Rotate(create::RotateArgs),
    /// Stop a key until it is resumed
    Suspend(ChangeArgs),
    /// Let a suspended key go on
    Resume(ChangeArgs),
    /// End a key and every token made from it, for ever
    Revoke(ChangeArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only this owner's
    #[arg(long)]
    owner: Option<String>,
    /// Only those that may ask for this audience
    #[arg(long)]
    audience: Option<String>,
    /// Only those with this label
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

#[derive(Args, Debug)]
struct ChangeArgs {
    /// The key's public id: the 16 characters after cmb_
    id: String,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    write: WriteArgs,
}

/// What every write takes.
#[derive(Args, Debug)]
pub(super) struct WriteArgs {
    /// Only if it is still at this revision [default: whatever it is at now]
    #[arg(long)]
    pub(super) revision: Option<u64>,
    /// A name for this write, so that repeating it is harmless [default: a random one]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) idempotency_key: Option<String>,
}

impl WriteArgs {
    /// The revision as it is sent: 0 means whatever it is at, which a repeat of the write still knows when the thing is
    /// gone.
    pub(super) fn expected(&self) -> u64 {
        self.revision.unwrap_or_default()
    }
}

/// One key, as `--json` prints it.
#[derive(Serialize)]
struct One {
    key: View,
    /// At which the change is in force.
    #[serde(skip_serializing_if = "String::is_empty")]
    revision: String,
    /// Of a revocation: whether it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

#[derive(Serialize)]
struct Many {
    keys: Vec<View>,
}

page::page!(ListKeysResponse, keys, Key);

#[derive(Clone, Copy)]
enum Change {
    Suspend,
    Resume,
    Revoke,
}

pub(super) async fn run(args: KeyArgs, world: &World) -> Result<(), Failure> {
    let connect = args.connect;
    match args.command {
        KeyCommand::Create(args) => create::create(*args, &connect, world).await,
        KeyCommand::Rotate(args) => create::rotate(args, &connect, world).await,
        KeyCommand::List(args) => list(args, &connect, world).await,
        KeyCommand::Show { id } => show(&id, &connect, world).await,
        KeyCommand::Suspend(args) => change(Change::Suspend, args, &connect, world).await,
        KeyCommand::Resume(args) => change(Change::Resume, args, &connect, world).await,
        KeyCommand::Revoke(args) => change(Change::Revoke, args, &connect, world).await,
    }
}

async fn list(args: ListArgs, connect: &ConnectArgs, world: &World) -> Result<(), Failure> {
    let connection = connect.connect().await?;
    let labels: HashMap<String, String> = args.labels.into_iter().collect();
    let (owner, audience) = (
        args.owner.unwrap_or_default(),
        args.audience.unwrap_or_default(),
    );
    let keys = page::all(async |page_token| {
        let request = ListKeysRequest {
            page_size: u32::try_from(limits::PAGE).unwrap_or_default(),
            page_token,
            owner: owner.clone(),
            audience: audience.clone(),
            labels: labels.clone(),
        };
        connection.inventory().list_keys(request).await
    })
    .await?;
    let many = Many {
        keys: keys.into_iter().map(View::from).collect(),
    };
    world.output.show(&many, || {
        let rows = many
            .keys
            .iter()
            .map(|key| key.row(world.clock.now()))
            .collect();
        table(&View::HEADER, rows, "There are no keys.")
    })
}

async fn show(id: &str, connect: &ConnectArgs, world: &World) -> Result<(), Failure> {
    let id = public_id(id)?;
    let mut client = connect.connect().await?.inventory();
    let key = current(&mut client, id).await?;
    print(key, At::default(), world)
}

async fn change(
    change: Change,
    args: ChangeArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let id = public_id(&args.id)?;
    let idempotency_key = world.idempotency_key(args.write.idempotency_key.as_deref())?;
    let mut client = connect.connect().await?.inventory();
    let changed = apply(
        &mut client,
        change,
        id,
        &args.reason,
        &idempotency_key,
        args.write.expected(),
    );
    let (key, at) = changed
        .await
        .map_err(|status| Connection::unsure(&status, &idempotency_key))?;
    let durable = at.durable;
    print(key.ok_or_else(no_key)?, at, world)?;
    match durable {
        Some(false) => Err(Failure::not_durable()),
        _ => Ok(()),
    }
}

/// What is told of a change beside the key.
#[derive(Default)]
struct At {
    revision: String,
    durable: Option<bool>,
}

async fn apply(
    client: &mut InventoryClient<Channel>,
    change: Change,
    id: KeyPublicId,
    reason: &str,
    idempotency_key: &str,
    expected_revision: u64,
) -> Result<(Option<Key>, At), Status> {
    let (id, reason) = (id.to_string(), reason.to_owned());
    let idempotency_key = idempotency_key.to_owned();
    match change {
        Change::Suspend => {
            let request = SuspendKeyRequest {
                id,
                reason,
                idempotency_key,
                expected_revision,
            };
            let answer = client.suspend_key(request).await?.into_inner();
            Ok((answer.key, At::default()))
        }
        Change::Resume => {
            let request = ResumeKeyRequest {
                id,
                reason,
                idempotency_key,
                expected_revision,
            };
            let answer = client.resume_key(request).await?.into_inner();
            Ok((answer.key, At::default()))
        }
        Change::Revoke => {
            let request = RevokeKeyRequest {
                id,
                reason,
                idempotency_key,
                expected_revision,
            };
            let answer = client.revoke_key(request).await?.into_inner();
            let at = At {
                revision: answer.revision,
                durable: Some(answer.durable),
            };
            Ok((answer.key, at))
        }
    }
}

fn print(key: Key, at: At, world: &World) -> Result<(), Failure> {
    let one = One {
        key: key.into(),
        revision: at.revision,
        durable: at.durable,
    };
    world.output.show(&one, || {
        let mut rows = one.key.fields(world.clock.now());
        rows.push(("in force at", one.revision.clone()));
        fields(&rows)
    })
}

async fn current(client: &mut InventoryClient<Channel>, id: KeyPublicId) -> Result<Key, Failure> {
    let request = GetKeyRequest { id: id.to_string() };
    let answer = client.get_key(request).await;
    let answer = answer.map_err(|status| Failure::from_status(&status))?;
    answer.into_inner().key.ok_or_else(no_key)
}

pub(super) fn no_key() -> Failure {
    Failure::fault("the broker's answer makes no sense").why("it names no key")
}

/// Parses a public id.
pub(super) fn public_id(text: &str) -> Result<KeyPublicId, Failure> {
    KeyPublicId::parse(text).map_err(|error| {
        if text.starts_with(api_key::PREFIX) {
            Failure::usage("an id is without what stands before and after it in a key")
                .next("give only the 16 characters after cmb_")
        } else {
            Failure::usage(format!("{text} is no key's id")).why(error)
        }
    })
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or("a label is NAME=VALUE")
}
