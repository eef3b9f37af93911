//! `cambist audit check-proof`: whether a record that somebody kept is in a log, from files alone.

use super::verify::note_key;
use crate::audit::Proof;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::Source;
use crate::cli::world::World;
use crate::limits;
use clap::Args;
use serde::Serialize;

/// Say whether a proof holds
#[derive(Args, Debug)]
pub(super) struct CheckProofArgs {
    /// The file with the proof, as `cambist audit prove` wrote it
    #[arg(value_name = "FILE")]
    proof: Source,
    /// File with the record that it is of, to the byte
    #[arg(long, value_name = "FILE")]
    record: Source,
    /// File with the key that the log's checkpoints are signed with
    #[arg(long, value_name = "FILE")]
    key: Source,
}

#[derive(Serialize)]
struct Checked {
    proven: bool,
    origin: String,
    sequence: u64,
    /// Records that the checkpoint in the proof is of.
    checkpoint: u64,
    root: String,
}

/// A proof is a note and its path: of no more hashes than a tree is high, each a line of 45 bytes.
const PROOF: usize = limits::NOTE + 64 * 45 + 128;

pub(super) fn unverified(why: &dyn ToString) -> Failure {
    let what = "this does not prove that the record is in the log";
    Failure::new(Exit::Unverified, "unverified", what).why(why.to_string())
}

pub(super) fn run(args: &CheckProofArgs, world: &World) -> Result<(), Failure> {
    let key = note_key(&args.key)?;
    let record = args.record.text(limits::RECORD + 1)?;
    // Editors and shells leave one; in the log it is what ends the line, and no part of it.
    let record = record.strip_suffix('\n').unwrap_or(&record);
    let proof: Proof = args
        .proof
        .text(PROOF)?
        .parse()
        .map_err(|error| unverified(&error))?;
    let checkpoint = proof.verify(record.as_bytes(), &key);
    let checkpoint = checkpoint.map_err(|error| unverified(&error))?;
    let checked = Checked {
        proven: true,
        origin: checkpoint.origin,
        sequence: proof.index,
        checkpoint: checkpoint.size,
        root: format!("{:?}", checkpoint.root),
    };
    world.output.show(&checked, || {
        format!(
            "{}: record {} is in the log, by its checkpoint of {} records.\nroot {}",
            checked.origin, checked.sequence, checked.checkpoint, checked.root
        )
    })
}
