//! `cambist audit verify`: the log, as those who must believe it look at it.

use super::source::{below, holds_none, unread};
use crate::audit::{
    Checkpoint, DiskReader, DiskShelf, Finding, NoteKey, Segments, verify, verify_from,
};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::{self, Source};
use crate::cli::output::counted;
use crate::cli::world::World;
use crate::limits;
use crate::regular;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The log's folder, or a copy of it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// File with the key that its checkpoints are signed with, kept from before [default: the one in DIR, which says
    /// nothing against somebody who could change it]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with a checkpoint that was seen before: the log must have grown from it; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// File with a checkpoint that was verified before: records that it is of are not read again, only their hashes
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Serialize)]
struct Verified {
    sound: bool,
    origin: String,
    /// Records there are, and those of them that the last checkpoint is of.
    records: u64,
    /// The first that is there; those before it were removed, and the log says so.
    begins: u64,
    /// The first that was read; of those before it there are the hashes.
    read_from: u64,
    checkpoint: u64,
    /// The checkpoint's.
    root: String,
    key: String,
    /// Whether the key was given, and is not just the one in the folder, which whoever could rewrite the log could have put
    /// there.
    key_given: bool,
    /// Bytes after the last whole record, of a write that is under way or was cut off.
    torn_bytes: u64,
    /// An issue that follows a revocation, which may have been taken back before.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
    /// Revocations that were too many to be held against the issues that follow them.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

#[derive(Serialize)]
struct Doubt {
    issue: u64,
    revocation: u64,
}

pub(super) fn run(args: &VerifyArgs, world: &World) -> Result<(), Failure> {
    if !args.folder.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no folder",
            args.folder.display()
        )));
    }
    let segments = DiskReader::new(&args.folder);
    let firsts = segments.segments().map_err(|error| unread(error.into()))?;
    // Without one below it, the folder may be a log's that was emptied.
    if firsts.is_empty() && below(&args.folder).is_dir() {
        return Err(holds_none(&args.folder));
    }
    let key = key(args)?;
    let earlier = args.checkpoint.iter().map(|path| checkpoint(path, &key));
    let earlier: Vec<Checkpoint> = earlier.collect::<Result<_, _>>()?;
    let from = args.from.as_ref().map(|path| checkpoint(path, &key));
    let from = from.transpose()?;
    if args.key.is_none() {
        world.output.warn(
            "the key is the one in the folder: whoever could rewrite the log could have put it there; keep it elsewhere and name it with --key",
        );
    }
    let progress = world.output.progress_of("reading the log");
    let segments: Arc<dyn Segments> = Arc::new(segments);
    let shelf = DiskShelf::new(&args.folder);
    let sound = match &from {
        None => verify(segments, &shelf, &key, &earlier, |reached| {
            progress.reached(reached.records, reached.of);
        }),
        Some(from) => verify_from(segments, &shelf, &key, from, &earlier, |reached| {
            progress.reached(reached.records, reached.of);
        }),
    };
    drop(progress);
    let sound = sound.map_err(|finding| match finding {
        Finding::Io(error) => Failure::fault("the log cannot be read").why(error),
        finding => {
            let failure = Failure::new(Exit::Unverified, "unverified", "the log does not verify");
            let is_of_records = !matches!(finding, Finding::Lacks(_));
            let failure = failure.why(finding);
            match from {
                Some(_) if is_of_records => failure.next(
                    "run it without --from: with all records read, it is told which of them, or which tile, is wrong",
                ),
                _ => failure,
            }
        }
    })?;
    if let Some(late) = sound.doubt {
        world.output.warn(&format!(
            "{late}; unless that was taken back before, which the log, ending soon after, does not say yet"
        ));
    }
    if sound.left_out > 0 {
        world.output.warn(&format!(
            "{} too many to be held against the issues that follow",
            counted(sound.left_out, "revocation was", "revocations were")
        ));
    }
    let shown = Verified {
        sound: true,
        origin: key.name().to_owned(),
        records: sound.records,
        begins: sound.begins,
        read_from: sound.read_from,
        checkpoint: sound.checkpoint.size,
        root: format!("{:?}", sound.checkpoint.root),
        key: key.to_string(),
        key_given: args.key.is_some(),
        torn_bytes: sound.torn,
        doubt: sound.doubt.map(|late| Doubt {
            issue: late.issue,
            revocation: late.revocation,
        }),
        left_out: (sound.left_out > 0).then_some(sound.left_out),
    };
    world.output.show(&shown, || {
        let gone = match shown.begins {
            0 => String::new(),
            begins => format!(
                "\nThose before record {begins} were removed, as the log says; their hashes are those of the checkpoint."
            ),
        };
        let read = match shown.read_from {
            from if from > shown.begins => {
                format!("\nRead from record {from} on; those before it by their hashes alone.")
            }
            _ => String::new(),
        };
        let torn = match shown.torn_bytes {
            0 => String::new(),
            bytes => format!(
                "\nThe {bytes} bytes after the last record are of a write that is under way or was cut off: no part of the log."
            ),
        };
        format!(
            "{}: {} records, whole and unchanged up to the checkpoint of {}.{gone}{read}{torn}\nroot {}",
            shown.origin, shown.records, shown.checkpoint, shown.root
        )
    })
}

fn key(args: &VerifyArgs) -> Result<NoteKey, Failure> {
    if let Some(path) = &args.key {
        return note_key(&Source::File(path.clone()));
    }
    let path = args.folder.join(DiskShelf::KEY);
    let name = path.display().to_string();
    // What is named is read whatever it is; here others may have put a pipe.
    let text = input::text(&name, regular::open(&path), limits::NOTE)?;
    parsed(&text, &name)
}

/// The key that a log's checkpoints are signed with.
pub(super) fn note_key(source: &Source) -> Result<NoteKey, Failure> {
    parsed(&source.text(limits::NOTE)?, &source.name())
}

fn parsed(text: &str, name: &str) -> Result<NoteKey, Failure> {
    let key = text.trim_end().parse();
    key.map_err(|error| Failure::usage(format!("{name} holds no key")).why(error))
}

/// A checkpoint that somebody kept: believed only if the log's key signed it.
fn checkpoint(path: &Path, key: &NoteKey) -> Result<Checkpoint, Failure> {
    let text = Source::File(path.to_owned()).text(limits::NOTE)?;
    let unverified = |why: &dyn ToString| {
        let what = format!("{} is no checkpoint of this log", path.display());
        Failure::new(Exit::Unverified, "unverified", what).why(why.to_string())
    };
    let text = key
        .open(text.as_bytes())
        .map_err(|error| unverified(&error))?;
    text.parse()
        .map_err(|error: crate::audit::InvalidCheckpoint| unverified(&error))
}
