//! `cambist audit prove`: the proof that a record is in the log, to be kept.

use super::check_proof::unverified;
use super::source::refused;
use crate::audit::Proof;
use crate::cli::connect::ConnectArgs;
use crate::cli::failure::Failure;
use crate::cli::world::World;
use crate::proto::prove_request::Record as Wanted;
use crate::proto::{ProveRequest, ProveResponse, Record};
use clap::Args;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Prove that a record is in the log
#[derive(Args, Debug)]
pub(super) struct ProveArgs {
    /// The id of the token whose issue it is, or the record's index, as a receipt tells it
    #[arg(value_name = "JTI|INDEX", value_parser = wanted, allow_hyphen_values = true)]
    record: Wanted,
    /// File to write the proof to [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// File to write the record to: it is what the proof is of, and checked with it
    #[arg(long, value_name = "FILE")]
    record_out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Proven {
    sequence: u64,
    /// The exact text of its line.
    record: String,
    proof: String,
}

/// No token's id is as short as a number.
fn wanted(text: &str) -> Result<Wanted, std::convert::Infallible> {
    let index = text.parse().map(Wanted::Index);
    Ok(index.unwrap_or_else(|_| Wanted::TokenId(text.to_owned())))
}

pub(super) async fn run(
    args: ProveArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let record = Some(args.record.clone());
    let mut client = connect.connect().await?.audit();
    let answer = client.prove(ProveRequest { record }).await;
    let answer = answer.map_err(|status| refused(&status))?;
    let ProveResponse { record, proof } = answer.into_inner();
    let record = record.unwrap_or_default();
    keep(&args, &proof, &record)?;
    let proven = Proven {
        sequence: record.sequence,
        record: String::from_utf8_lossy(&record.line).into_owned(),
        proof,
    };
    world.output.show(&proven, || match &args.out {
        Some(path) => format!(
            "The proof that record {} is in the log is in {}.",
            proven.sequence,
            path.display()
        ),
        None => crate::cli::output::visible_lines(&proven.proof),
    })
}

/// What is kept must be worth keeping.
fn keep(args: &ProveArgs, proof: &str, record: &Record) -> Result<(), Failure> {
    check(proof, record)?;
    if let Some(path) = &args.out {
        write(path, proof.as_bytes())?;
    }
    if let Some(path) = &args.record_out {
        write(path, &record.line)?;
    }
    Ok(())
}

/// Whether the log's key signed the checkpoint in it is for who has that: `check-proof`.
fn check(proof: &str, record: &Record) -> Result<(), Failure> {
    let proof: Proof = proof.parse().map_err(|error| unverified(&error))?;
    if proof.index != record.sequence {
        return Err(unverified(&"it is of another record"));
    }
    let leads = proof.leads(&record.line);
    leads.map_err(|error| unverified(&error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes)
        .map_err(|error| Failure::fault(format!("{} cannot be written", path.display())).why(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Checkpoint;
    use crate::audit::tree::leaf;
    use crate::cli::exit::Exit;

    #[test]
    fn only_what_proves_the_record_is_kept() {
        let (line, sequence) = (b"record".to_vec(), 0);
        let checkpoint = Checkpoint {
            origin: "log".into(),
            size: 1,
            root: leaf(&line),
        };
        let (note, path) = (format!("{checkpoint}\n\u{2014} log AAAA\n"), Vec::new());
        let index = sequence;
        let proof = Proof { index, path, note }.to_string();
        let right = Record { sequence, line };
        let folder = tempfile::tempdir().unwrap();
        let files = ["proof", "record"].map(|name| folder.path().join(name));
        let args = ProveArgs {
            record: Wanted::Index(sequence),
            out: Some(files[0].clone()),
            record_out: Some(files[1].clone()),
        };
        let line = b"Record".to_vec();
        let (other, elsewhere) = (
            Record {
                line,
                ..right.clone()
            },
            Record {
                sequence: 1,
                ..right.clone()
            },
        );
        let moved = proof.replacen("index 0", "index 1", 1);
        for (proof, record) in [
            (proof.as_str(), &other),
            (&proof, &elsewhere),
            (&moved, &elsewhere),
            ("", &right),
        ] {
            let refused = keep(&args, proof, record).unwrap_err();
            assert_eq!(refused.exit(), Exit::Unverified);
            assert!(!files.iter().any(|path| path.exists()));
        }
        keep(&args, &proof, &right).unwrap();
        assert_eq!(fs::read(&files[0]).unwrap(), proof.as_bytes());
        assert_eq!(fs::read(&files[1]).unwrap(), right.line);
    }
}
