//! `cambist marker`: revocations in force, and taking them back.

use super::connect::{ConnectArgs, Connection};
use super::failure::Failure;
use super::output::{fields, table};
use super::page;
use super::time::{from_proto, relative};
use super::world::World;
use crate::limits;
use crate::marker::Kind;
use crate::proto::{ListMarkersRequest, ListMarkersResponse, Marker, ReinstateRequest};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

/// Revocations in force
#[derive(Args, Debug)]
pub struct MarkerArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: MarkerCommand,
}

#[derive(Debug, Subcommand)]
enum MarkerCommand {
    /// List what was revoked by `cambist revoke`, and all that waits to be written; keys and signing keys have lists of their
    /// own
    List {
        /// Also what was taken back, or has ended and is still stored
        #[arg(long)]
        all: bool,
    },
    /// Take a revocation back
    Reinstate {
        /// The marker's id
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Why, for the record
        #[arg(long)]
        reason: String,
        /// A name for this write, so that repeating it is harmless [default: a random one]
        #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
        idempotency_key: Option<String>,
    },
}

#[derive(Serialize)]
struct Many {
    markers: Vec<View>,
}

#[derive(Serialize)]
struct One {
    marker: View,
    /// At which it is no longer in force.
    revision: String,
}

/// A marker as people and programs see it.
#[derive(Serialize)]
pub(super) struct View {
    id: String,
    kind: String,
    thing: String,
    /// Absent: whatever its time.
    before: Option<Timestamp>,
    /// Absent: until it is taken back; of a signing key for good.
    until: Option<Timestamp>,
    reason: String,
    author: String,
    set_at: Option<Timestamp>,
    reinstated: bool,
    /// Whether it is written, and a restart leaves it in force.
    durable: bool,
}

page::page!(ListMarkersResponse, markers, Marker);

pub(super) async fn run(args: MarkerArgs, world: &World) -> Result<(), Failure> {
    let connection = args.connect.connect().await?;
    match args.command {
        MarkerCommand::List { all } => list(all, &connection, world).await,
        MarkerCommand::Reinstate {
            id,
            reason,
            idempotency_key,
        } => {
            let idempotency_key = world.idempotency_key(idempotency_key.as_deref())?;
            let request = ReinstateRequest {
                marker_id: id,
                reason,
                idempotency_key: idempotency_key.clone(),
            };
            let answer = connection.revocation().reinstate(request).await;
            let answer = answer.map_err(|status| Connection::unsure(&status, &idempotency_key))?;
            let answer = answer.into_inner();
            let none = || Failure::fault("the broker's answer makes no sense").why("no marker");
            let one = One {
                marker: answer.marker.ok_or_else(none)?.into(),
                revision: answer.revision,
            };
            world.output.show(&one, || {
                let marker = &one.marker;
                fields(&[
                    ("marker", marker.id.clone()),
                    (marker.label(), marker.thing.clone()),
                    ("reason", marker.reason.clone()),
                    ("good again at", one.revision.clone()),
                ])
            })
        }
    }
}

async fn list(all: bool, connection: &Connection, world: &World) -> Result<(), Failure> {
    let markers = page::all(async |page_token| {
        let request = ListMarkersRequest {
            page_size: u32::try_from(limits::PAGE).unwrap_or_default(),
            page_token,
            all,
        };
        connection.revocation().list_markers(request).await
    })
    .await?;
    let many = Many {
        markers: markers.into_iter().map(View::from).collect(),
    };
    world.output.show(&many, || {
        let now = world.clock.now();
        let rows = many.markers.iter().map(|marker| marker.row(now)).collect();
        table(&View::HEADER, rows, "There are no markers.")
    })
}

impl From<Marker> for View {
    fn from(marker: Marker) -> Self {
        let Marker {
            id,
            kind,
            thing,
            before,
            until,
            reason,
            author,
            set_at,
            reinstated,
            durable,
        } = marker;
        Self {
            id,
            kind,
            thing,
            before: from_proto(before),
            until: from_proto(until),
            reason,
            author,
            set_at: from_proto(set_at),
            reinstated,
            durable: durable.unwrap_or(true),
        }
    }
}

impl View {
    pub(super) const HEADER: [&'static str; 7] =
        ["MARKER", "KIND", "THING", "BEFORE", "UNTIL", "BY", "REASON"];

    fn label(&self) -> &'static str {
        match self.reinstated {
            true => "taken back of",
            false => "of",
        }
    }

    pub(super) fn row(&self, now: Timestamp) -> Vec<String> {
        let before = match (self.reinstated, self.before) {
            (true, _) => "taken back".to_owned(),
            (false, None) => "always".to_owned(),
            (false, before) => relative(before, now),
        };
        let until = match self.until {
            // No signing key is ever trusted again.
            None if self.kind == Kind::SigningKey.name() => "for good".to_owned(),
            None => "until reinstated".to_owned(),
            until => relative(until, now),
        };
        let until = match self.durable {
            true => until,
            false => format!("{until}, not durable"),
        };
        vec![
            self.id.clone(),
            self.kind.clone(),
            self.thing.clone(),
            before,
            until,
            self.author.clone(),
            self.reason.clone(),
        ]
    }
}
