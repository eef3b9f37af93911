//! `cambist backup`: a copy of the store, made by the broker that has it open.

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::world::World;
use crate::proto::BackupRequest;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Copy the store while it is in use
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// Absolute path of a file that does not exist, on the broker's host
    path: PathBuf,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Serialize)]
struct Done {
    path: PathBuf,
    revision: String,
    bytes: u64,
}

pub(super) async fn run(args: BackupArgs, world: &World) -> Result<(), Failure> {
    // The broker's working directory is not the caller's.
    let Some(path) = args.path.to_str().filter(|_| args.path.is_absolute()) else {
        return Err(Failure::usage(
            "the path of a backup is absolute text, on the broker's host",
        ));
    };
    let mut client = args.connect.connect().await?.inventory();
    let request = BackupRequest {
        path: path.to_owned(),
    };
    let progress = world.output.progress("copying the store");
    let answer = client.backup(request).await;
    drop(progress);
    let answer = answer
        .map_err(|status| Failure::from_status(&status))?
        .into_inner();
    let done = Done {
        path: args.path,
        revision: answer.revision,
        bytes: answer.bytes,
    };
    world.output.show(&done, || {
        let (path, revision, bytes) = (done.path.display(), &done.revision, done.bytes);
        format!("The store as of revision {revision} is in {path} ({bytes} bytes).")
    })
}
