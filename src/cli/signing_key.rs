//! `cambist signing-key`: the ring of keys that sign tokens.

use super::connect::{ConnectArgs, Connection};
use super::failure::Failure;
use super::output::table;
use super::page;
use super::time::{from_proto, relative};
use super::world::World;
use crate::limits;
use crate::proto::{
    ListSigningKeysRequest, ListSigningKeysResponse, RotateSigningKeyRequest,
    RotateSigningKeyResponse, SigningKey,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

/// The keys that sign tokens
#[derive(Args, Debug)]
pub struct SigningKeyArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: SigningKeyCommand,
}

#[derive(Debug, Subcommand)]
enum SigningKeyCommand {
    /// List signing keys; public parts only
    List,
    /// Make the spare key active now
    Rotate {
        /// This key is no longer trusted: every token signed with it is cut off at once
        #[arg(long, value_name = "KID", allow_hyphen_values = true)]
        compromised: Option<String>,
        /// Why, for the record
        #[arg(long)]
        reason: String,
        /// A name for this write, so that repeating it is harmless [default: a random one]
        #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
        idempotency_key: Option<String>,
    },
}

#[derive(Serialize)]
struct Ring {
    signing_keys: Vec<View>,
    /// Of a key that is no longer trusted: whether that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<bool>,
}

#[derive(Serialize)]
struct View {
    kid: String,
    algorithm: String,
    state: String,
    created_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
}

page::page!(ListSigningKeysResponse, keys, SigningKey);

pub(super) async fn run(args: SigningKeyArgs, world: &World) -> Result<(), Failure> {
    let connection = args.connect.connect().await?;
    let (keys, durable) = match args.command {
        SigningKeyCommand::List => {
            let keys = page::all(async |page_token| {
                let request = ListSigningKeysRequest {
                    page_size: u32::try_from(limits::PAGE).unwrap_or_default(),
                    page_token,
                };
                connection.inventory().list_signing_keys(request).await
            });
            (keys.await?, None)
        }
        SigningKeyCommand::Rotate {
            compromised,
            reason,
            idempotency_key,
        } => {
            let is_compromised = compromised.is_some();
            let idempotency_key = world.idempotency_key(idempotency_key.as_deref())?;
            let request = RotateSigningKeyRequest {
                compromised: compromised.unwrap_or_default(),
                reason,
                idempotency_key: idempotency_key.clone(),
            };
            let answer = connection.inventory().rotate_signing_key(request).await;
            let answer = answer.map_err(|status| Connection::unsure(&status, &idempotency_key))?;
            let RotateSigningKeyResponse { keys, durable } = answer.into_inner();
            (keys, is_compromised.then_some(durable))
        }
    };
    let ring = Ring {
        signing_keys: keys.into_iter().map(View::from).collect(),
        durable,
    };
    world.output.show(&ring, || {
        let now = world.clock.now();
        let rows = ring.signing_keys.iter().map(|key| key.row(now)).collect();
        table(
            &["KID", "ALGORITHM", "STATE", "CREATED", "ACTIVE", "RETIRED"],
            rows,
            "There are no signing keys.",
        )
    })?;
    match ring.durable {
        Some(false) => Err(Failure::not_durable()),
        _ => Ok(()),
    }
}

impl From<SigningKey> for View {
    fn from(key: SigningKey) -> Self {
        let SigningKey {
            kid,
            algorithm,
            state,
            created_at,
            activated_at,
            retired_at,
        } = key;
        Self {
            kid,
            algorithm,
            state,
            created_at: from_proto(created_at),
            activated_at: from_proto(activated_at),
            retired_at: from_proto(retired_at),
        }
    }
}

impl View {
    fn row(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.kid.clone(),
            self.algorithm.clone(),
            self.state.clone(),
            relative(self.created_at, now),
            relative(self.activated_at, now),
            relative(self.retired_at, now),
        ]
    }
}
