//! `cambist.v1.Audit`: the log, for those who may read it, as far as they may.
//!
//! Reading blocks, so it goes on in threads of its own, a bounded number of them; what is found goes out through an
//! [`Outlet`] while the search goes on, and a search ends with its caller.

mod filter;
mod outlet;
mod tail;

use super::{Gate, peer};
use crate::audit::read::{Entry, ReadError};
use crate::audit::{Order, Reading};
use crate::limits;
use crate::proto::audit_server::Audit;
use crate::proto::{self as pb};
use crate::refusal::{Denial, Fault};
use outlet::{Outlet, Stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Serves the log's readers.
#[derive(Debug)]
pub struct AuditService {
    /// Who may.
    pub gate: Gate,
    /// What they read.
    pub reading: Reading,
    /// Ends readers that follow the log.
    pub draining: CancellationToken,
}

#[tonic::async_trait]
impl Audit for AuditService {
    type QueryStream = Stream<pb::QueryResponse>;
    type TailStream = Stream<pb::TailResponse>;

    async fn query(
        &self,
        request: Request<pb::QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        let reader = self.gate.reader(&peer(&request)?)?;
        let pb::QueryRequest {
            filter,
            newest_first,
            limit,
            from_sequence,
            before_sequence,
        } = request.into_inner();
        let filter = filter::parsed(filter)?.visible_to(reader.sight());
        let order = match newest_first {
            true => Order::NewestFirst,
            false => Order::OldestFirst,
        };
        let within = from_sequence..at_most(before_sequence);
        let limit = usize::try_from(at_most(limit.into())).unwrap_or(usize::MAX);
        let seat = self.reading.seat()?;
        let (outlet, stream) = Outlet::new(limits::READER_PATIENCE, CancellationToken::new())?;
        let reading = self.reading.clone();
        self.gate.exchange.tasks.spawn_blocking(move || {
            let _seat = seat;
            match reading.search(filter, within, order, outlet.is_wanted()) {
                Ok(found) => outlet.put_all(found.take(limit).map(response)),
                Err(error) => outlet.end(failed(&error)),
            }
        });
        Ok(Response::new(stream))
    }

    async fn tail(
        &self,
        request: Request<pb::TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        tail::open(self, request).map(Response::new)
    }
}

/// Zero stands for no bound.
fn at_most(bound: u64) -> u64 {
    match bound {
        0 => u64::MAX,
        bound => bound,
    }
}

fn record(entry: Entry) -> pb::Record {
    let Entry { sequence, line } = entry;
    pb::Record { sequence, line }
}

fn response(found: Result<Entry, ReadError>) -> pb::QueryResponse {
    match found {
        Ok(entry) => pb::QueryResponse {
            record: Some(record(entry)),
            problem: String::new(),
        },
        Err(error) => pb::QueryResponse {
            record: None,
            problem: error.to_string(),
        },
    }
}

/// The log cannot be read.
fn failed(error: &ReadError) -> Status {
    Denial::failed(Fault::LogUnavailable, error.to_string()).into()
}
