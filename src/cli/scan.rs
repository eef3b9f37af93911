//! `cambist scan`: finds API keys in files and streams, and shows nothing of their secrets.

mod walk;

use super::exit::Exit;
use super::failure::Failure;
use super::input::Source;
use super::output::{Output, counted, visible};
use super::world::World;
use crate::limits;
use crate::secret::scan::{Found, Scanner, redacted};
use clap::Args;
use serde::Serialize;
use std::io;
use std::path::Path;

/// Find API keys in files and streams; their secrets are not shown
#[derive(Args, Debug)]
#[command(
    after_help = "Ends with 5 where keys were found, and with 1 where none were and something could not be read.\n\
                        Keys that are compressed, encrypted or encoded are not found."
)]
pub struct ScanArgs {
    /// Files, folders with all that is in them, or - for standard input. Links in folders are not followed
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<Source>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// Keys that were found, also where not all are listed.
    found: u64,
    keys: Vec<Place>,
    /// Files and folders that could not be read, also where not all are listed.
    unread: u64,
    unreadable: Vec<Unread>,
    /// What was looked through.
    files: u64,
    bytes: u64,
}

/// Where a key stands.
#[derive(Serialize)]
struct Place {
    path: String,
    line: u64,
    /// In bytes, the first of the line being 1.
    column: u64,
    /// Bytes before it.
    offset: u64,
    /// The key's public id.
    id: String,
}

#[derive(Serialize)]
struct Unread {
    path: String,
    why: String,
}

/// A scan of everything that is named.
struct Work {
    scanner: Scanner,
    output: Output,
    report: Report,
    /// Nobody reads on.
    is_over: bool,
    failed: Option<Failure>,
}

pub(super) fn run(args: &ScanArgs, world: &World) -> Result<(), Failure> {
    let mut work = Work {
        scanner: Scanner::new(),
        output: world.output,
        report: Report {
            found: 0,
            keys: Vec::new(),
            unread: 0,
            unreadable: Vec::new(),
            files: 0,
            bytes: 0,
        },
        is_over: false,
        failed: None,
    };
    for source in &args.paths {
        match source {
            Source::Stdin => work.stream("-", &mut io::stdin().lock()),
            Source::File(path) => walk::files(path, &mut work),
        }
    }
    work.end()
}

impl walk::Visitor for Work {
    fn file(&mut self, path: &Path, file: &mut dyn io::Read) -> bool {
        self.stream(&shown(path), file);
        !self.is_over
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.unread(shown(path), error);
    }
}

impl Work {
    fn stream(&mut self, path: &str, stream: &mut dyn io::Read) {
        let Self {
            scanner,
            output,
            report,
            is_over,
            failed,
        } = self;
        let scanned = scanner.scan(stream, &mut |key| {
            report.found = report.found.saturating_add(1);
            let place = Place::of(path, &key);
            if output.is_json() {
                if report.keys.len() < limits::SCAN_LISTED {
                    report.keys.push(place);
                }
            } else if !*is_over {
                match output.line(&place.text()) {
                    Ok(goes_on) => *is_over = !goes_on,
                    Err(failure) => {
                        *is_over = true;
                        *failed = Some(failure);
                    }
                }
            }
        });
        match scanned {
            Ok(bytes) => {
                self.report.files = self.report.files.saturating_add(1);
                self.report.bytes = self.report.bytes.saturating_add(bytes);
            }
            Err(error) => self.unread(path.to_owned(), &error),
        }
    }

    fn unread(&mut self, path: String, error: &io::Error) {
        self.report.unread = self.report.unread.saturating_add(1);
        let why = error.to_string();
        self.output.warn(&format!("{path}: {why}"));
        if self.report.unreadable.len() < limits::SCAN_LISTED {
            self.report.unreadable.push(Unread { path, why });
        }
    }

    fn end(self) -> Result<(), Failure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let Report {
            found,
            unread,
            files,
            bytes,
            ..
        } = self.report;
        match self.output.is_json() {
            true => self.output.show(&self.report, String::new)?,
            false => self.output.note(&format!(
                "{} looked through, {bytes} bytes",
                counted(files, "file", "files")
            )),
        }
        let incomplete = format!(
            "{} could not be read",
            counted(unread, "file or folder", "files or folders")
        );
        match (found, unread) {
            (0, 0) => Ok(()),
            (0, _) => Err(Failure::fault(incomplete).why("no key was found in the others")),
            (_, unread) => {
                let what = format!("{} found", counted(found, "API key", "API keys"));
                let why = if unread > 0 { &incomplete } else { "" };
                Err(Failure::new(Exit::Unverified, "keys_found", what)
                    .why(why)
                    .next("those that are in use: cambist revoke --key FILE, with the key's text in it; administrators also: cambist key revoke ID"))
            }
        }
    }
}

impl Place {
    fn of(path: &str, key: &Found) -> Self {
        Self {
            path: path.to_owned(),
            line: key.line,
            column: key.column,
            offset: key.offset,
            id: key.id.to_string(),
        }
    }

    fn text(&self) -> String {
        let Self {
            path,
            line,
            column,
            id,
            ..
        } = self;
        format!("{path}:{line}:{column}: {id}")
    }
}

/// A path as it may be shown: a file may be called by a key.
fn shown(path: &Path) -> String {
    visible(&redacted(&path.to_string_lossy()))
}
