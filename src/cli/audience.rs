//! `cambist audience`: what tokens are for, and who answers for it.

mod view;

use super::connect::{ConnectArgs, Connection};
use super::failure::Failure;
use super::key::WriteArgs;
use super::output::{fields, table};
use super::page;
use super::time;
use super::world::World;
use crate::limits;
use crate::proto::inventory_client::InventoryClient;
use crate::proto::{
    Audience, DeleteAudienceRequest, GetAudienceRequest, ListAudiencesRequest,
    ListAudiencesResponse, PutAudienceRequest,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::time::Duration;
use tonic::transport::Channel;
use view::View;

/// Audiences: what tokens are for
#[derive(Args, Debug)]
pub struct AudienceArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: AudienceCommand,
}

#[derive(Debug, Subcommand)]
enum AudienceCommand {
    /// Register an audience, or write one anew
    Put(Box<PutArgs>),
    /// List audiences
    List,
    /// Show one audience
    Show {
        /// Its name
        name: String,
    },
    /// Take an audience away: no token is issued for it any more
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Args, Debug)]
struct PutArgs {
    /// What `aud` will say
    name: String,
    /// The team that answers for it
    #[arg(long)]
    owner: String,
    /// Another name that callers may use; may be repeated
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// The `sub` of somebody who serves it; may be repeated
    #[arg(long = "served-by", value_name = "SUB")]
    servers: Vec<String>,
    /// A scope that exists for it; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Its tokens must be bound to a key that the caller proves
    #[arg(long)]
    bound: bool,
    /// Lifetime that its tokens never exceed
    #[arg(long, value_parser = time::length, value_name = "TIME")]
    max_lifetime: Option<Duration>,
    /// The tenant it belongs to
    #[arg(long)]
    tenant: Option<String>,
    /// Write over what is registered under this name
    #[arg(long, conflicts_with = "revision")]
    replace: bool,
    /// Write over what is registered, if it is still at this revision
    #[arg(long)]
    revision: Option<u64>,
    /// A name for this write, so that repeating it is harmless [default: a random one]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    idempotency_key: Option<String>,
}

#[derive(Serialize)]
struct One {
    audience: View,
}

#[derive(Serialize)]
struct Many {
    audiences: Vec<View>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

page::page!(ListAudiencesResponse, audiences, Audience);

pub(super) async fn run(args: AudienceArgs, world: &World) -> Result<(), Failure> {
    let connection = args.connect.connect().await?;
    match args.command {
        AudienceCommand::Put(args) => put(*args, &connection, world).await,
        AudienceCommand::List => list(&connection, world).await,
        AudienceCommand::Show { name } => {
            let audience = current(&mut connection.inventory(), &name).await?;
            print(audience, world)
        }
        AudienceCommand::Delete { name, write } => delete(name, write, &connection, world).await,
    }
}

async fn put(args: PutArgs, connection: &Connection, world: &World) -> Result<(), Failure> {
    let idempotency_key = world.idempotency_key(args.idempotency_key.as_deref())?;
    let mut client = connection.inventory();
    let expected_revision = match args.revision {
        Some(revision) => revision,
        None if args.replace => current(&mut client, &args.name).await?.revision,
        None => 0,
    };
    let audience = Audience {
        name: args.name,
        aliases: args.aliases,
        owner: args.owner,
        servers: args.servers,
        scopes: args.scopes,
        bound: args.bound,
        max_lifetime: args.max_lifetime.map(time::length_to_proto),
        tenant: args.tenant.unwrap_or_default(),
        // The broker's to say.
        from_configuration: false,
        revision: 0,
    };
    let request = PutAudienceRequest {
        audience: Some(audience),
        idempotency_key: idempotency_key.clone(),
        expected_revision,
    };
    let answer = client.put_audience(request).await;
    let answer = answer.map_err(|status| Connection::unsure(&status, &idempotency_key))?;
    print(answer.into_inner().audience.ok_or_else(nonsense)?, world)
}

async fn list(connection: &Connection, world: &World) -> Result<(), Failure> {
    let audiences = page::all(async |page_token| {
        let request = ListAudiencesRequest {
            page_size: u32::try_from(limits::PAGE).unwrap_or_default(),
            page_token,
        };
        connection.inventory().list_audiences(request).await
    })
    .await?;
    let many = Many {
        audiences: audiences.into_iter().map(View::from).collect(),
    };
    world.output.show(&many, || {
        let rows = many.audiences.iter().map(View::row).collect();
        table(&View::HEADER, rows, "There are no audiences.")
    })
}

async fn delete(
    name: String,
    write: WriteArgs,
    connection: &Connection,
    world: &World,
) -> Result<(), Failure> {
    let idempotency_key = world.idempotency_key(write.idempotency_key.as_deref())?;
    let mut client = connection.inventory();
    let request = DeleteAudienceRequest {
        name: name.clone(),
        idempotency_key: idempotency_key.clone(),
        expected_revision: write.expected(),
    };
    let answer = client.delete_audience(request).await;
    answer.map_err(|status| Connection::unsure(&status, &idempotency_key))?;
    let deleted = Deleted { deleted: name };
    world.output.show(&deleted, || {
        format!("The audience {} is gone.", deleted.deleted)
    })
}

fn print(audience: Audience, world: &World) -> Result<(), Failure> {
    let one = One {
        audience: audience.into(),
    };
    world.output.show(&one, || fields(&one.audience.fields()))
}

async fn current(client: &mut InventoryClient<Channel>, name: &str) -> Result<Audience, Failure> {
    let request = GetAudienceRequest {
        name: name.to_owned(),
    };
    let answer = client.get_audience(request).await;
    let answer = answer.map_err(|status| Failure::from_status(&status))?;
    answer.into_inner().audience.ok_or_else(nonsense)
}

fn nonsense() -> Failure {
    Failure::fault("the broker's answer makes no sense").why("it names no audience")
}
