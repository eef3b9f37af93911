//! Where records come from: a broker, or the files of a log. Both are searched by the same code.

use crate::audit::read::{Entry, ReadError};
use crate::audit::{DiskReader, Filter, Order, Segments as _, search};
use crate::cli::connect::ConnectArgs;
use crate::cli::failure::Failure;
use crate::cli::output::counted;
use crate::proto::audit_client::AuditClient;
use crate::proto::{self as pb, QueryRequest, QueryResponse};
use crate::refusal::Code;
use clap::Args;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tonic::Status;
use tonic::transport::Channel;

/// Where the log is.
#[derive(Args, Debug)]
pub(super) struct SourceArgs {
    /// Read a log's folder, or a copy of it, instead of asking a broker
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A log that can be searched.
pub(super) enum Log {
    Broker(AuditClient<Channel>),
    Folder(Arc<DiskReader>),
}

/// What is found: a record, or what is wrong with the log in its place.
pub(super) type Found = Result<Entry, String>;

/// Whether more is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

impl SourceArgs {
    pub(super) async fn open(&self, connect: &ConnectArgs) -> Result<Log, Failure> {
        match &self.dir {
            Some(folder) => kept_in(folder).map(Log::Folder),
            None => Ok(Log::Broker(connect.connect().await?.audit())),
        }
    }
}

impl Log {
    /// Hands each record that a filter lets through to `each`, up to `limit`, if there is one.
    pub(super) async fn query(
        self,
        filter: &Filter,
        order: Order,
        limit: Option<u32>,
        mut each: impl FnMut(Found) -> Result<More, Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Broker(mut client) => {
                let request = QueryRequest {
                    filter: Some(super::filter::message(filter)),
                    newest_first: order == Order::NewestFirst,
                    limit: limit.unwrap_or_default(),
                    ..QueryRequest::default()
                };
                let status = |status: Status| Failure::from_status(&status);
                let answer = client.query(request).await.map_err(status)?;
                let mut answer = answer.into_inner();
                while let Some(QueryResponse { record, problem }) =
                    answer.message().await.map_err(status)?
                {
                    if each(record.map(entry).ok_or(problem))? == More::No {
                        break;
                    }
                }
            }
            Self::Folder(segments) => {
                let all = search(segments, filter.clone(), 0..u64::MAX, order).map_err(unread)?;
                let limit = limit.map_or(usize::MAX, |limit| {
                    usize::try_from(limit).unwrap_or(usize::MAX)
                });
                for found in all.take(limit) {
                    if each(found.map_err(|error| error.to_string()))? == More::No {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The log in a folder. Where there is none nothing would be found in it, which must not pass for an answer.
fn kept_in(folder: &Path) -> Result<Arc<DiskReader>, Failure> {
    if !folder.is_dir() {
        let what = format!("{} is no folder", folder.display());
        return Err(Failure::usage(what));
    }
    let log = DiskReader::new(folder);
    let segments = log.segments().map_err(|error| unread(error.into()))?;
    match segments.is_empty() {
        false => Ok(Arc::new(log)),
        true => Err(holds_none(folder)),
    }
}

/// Where a broker whose folder this is keeps its log.
pub(super) fn below(folder: &Path) -> PathBuf {
    folder.join("log")
}

pub(super) fn holds_none(folder: &Path) -> Failure {
    let none = Failure::usage(format!("{} holds no log", folder.display()));
    let below = below(folder);
    match below.is_dir() {
        false => none,
        true => none.next(format!("look in {}", below.display())),
    }
}

/// What the broker says of a record that was asked for.
pub(super) fn refused(status: &Status) -> Failure {
    let failure = Failure::from_status(status);
    match failure.code() == Code::NotFound.code() {
        true => failure.next("look for it with `cambist audit query`"),
        false => failure,
    }
}

pub(super) fn entry(record: pb::Record) -> Entry {
    let pb::Record { sequence, line } = record;
    Entry { sequence, line }
}

pub(super) fn unread(error: ReadError) -> Failure {
    Failure::fault("the log cannot be read").why(error)
}

/// Says how a command ended that met `problems` in the log, after everything that could be read was shown.
pub(super) fn sound(problems: &[impl fmt::Display]) -> Result<(), Failure> {
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let count = u64::try_from(problems.len()).unwrap_or(u64::MAX);
    let places = counted(count, "place", "places");
    let failure = Failure::fault(format!("{places} of the log cannot be read")).why(first);
    Err(failure.next("look at the whole log with `cambist audit verify`"))
}
