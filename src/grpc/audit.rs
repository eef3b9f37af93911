//! `cambist.v1.Audit`: the log, for those who may read it, as far as they may.
//!
//! Reading blocks, so it goes on in threads of its own, a bounded number of them; what is found goes out through an
//! [`Outlet`] while the search goes on, and a search ends with its caller.

mod filter;
mod outlet;
mod tail;

use super::convert::{invalid, open};
use super::status::unread;
use super::{Gate, peer};
use crate::audit::read::{Entry, ReadError};
use crate::audit::{Field, Filter, Order, Reading, Relation};
use crate::authn::Reader;
use crate::id::TokenId;
use crate::limits;
use crate::limits::seats::Seat;
use crate::proto::audit_server::Audit;
use crate::proto::prove_request::Record as Wanted;
use crate::proto::{self as pb};
use crate::refusal::{Code, Denial, Fault, Refusal};
use outlet::{Outlet, Patience, Stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How long a reader may take over an answer that has an end.
const PATIENCE: Patience = Patience {
    item: limits::READER_PATIENCE,
    all: limits::READER_TIME,
};

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
    type ShowStream = Stream<pb::ShowResponse>;

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
        let seat = self.reading.seat(&reader.to_string())?;
        let (outlet, stream) = Outlet::new(PATIENCE, CancellationToken::new())?;
        let reading = self.reading.clone();
        self.gate.exchange.tasks.spawn_blocking(move || {
            let _seat = seat;
            match reading.search(filter, within, order, outlet.is_wanted()) {
                Ok(found) => outlet.put_all(found.take(limit).map(response)),
                Err(error) => outlet.end(unread(&error)),
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

    async fn show(
        &self,
        request: Request<pb::ShowRequest>,
    ) -> Result<Response<Self::ShowStream>, Status> {
        let reader = self.gate.reader(&peer(&request)?)?;
        let pb::ShowRequest { token_id } = request.into_inner();
        let token = token("token_id", &token_id)?;
        let visible = Filter::default().visible_to(reader.sight());
        let tell = move |reading: &Reading, left: CancellationToken| {
            reading.story(&token.to_string(), visible, move || !left.is_cancelled())
        };
        let (story, seat) = self.read(&reader, tell).await?;
        // Where something cannot be read, it may have been that.
        if story.records.is_empty() && story.problems.is_empty() {
            return Err(not_found().into());
        }
        let (outlet, stream) = Outlet::new(PATIENCE, CancellationToken::new())?;
        let records = story.records.into_iter().map(part);
        let problems = story.problems.into_iter().map(problem);
        let all = records.chain(problems).chain(story.longer.then(longer));
        let tasks = &self.gate.exchange.tasks;
        tasks.spawn_blocking(move || {
            // A story that is held for a slow caller takes room as well.
            let _seat = seat;
            outlet.put_all(all);
        });
        Ok(Response::new(stream))
    }

    async fn prove(
        &self,
        request: Request<pb::ProveRequest>,
    ) -> Result<Response<pb::ProveResponse>, Status> {
        let reader = self.gate.reader(&peer(&request)?)?;
        let pb::ProveRequest { record: wanted } = request.into_inner();
        let visible = Filter::default().visible_to(reader.sight());
        let (filter, within) = match wanted {
            Some(Wanted::Index(index)) => (visible, index..index.saturating_add(1)),
            Some(Wanted::TokenId(id)) => {
                let token = token("token_id", &id)?.to_string();
                let issue = visible.within(Field::Kind, ["issue".to_owned()].into());
                (issue.within(Field::Token, [token].into()), 0..u64::MAX)
            }
            None => return Err(invalid("record", "missing").into()),
        };
        let find = move |reading: &Reading, left: CancellationToken| {
            let is_wanted = move || !left.is_cancelled();
            let mut problem = None;
            for found in reading.search(filter, within, Order::NewestFirst, is_wanted)? {
                match found {
                    Ok(entry) => return Ok(Some(entry)),
                    Err(error) => problem = problem.or(Some(error)),
                }
            }
            // It may have been what cannot be read.
            problem.map_or(Ok(None), Err)
        };
        let (entry, _) = self.read(&reader, find).await?;
        let entry = entry.ok_or_else(not_found)?;
        let index = entry.sequence;
        if !self.reading.is_covered(index, limits::PROOF_WAIT).await {
            let cause = "no checkpoint covers the record yet";
            return Err(Denial::failed(Fault::LogUnavailable, cause).into());
        }
        let prove = move |reading: &Reading, _| Ok((reading.proof(&entry)?, entry));
        let ((proof, entry), _) = self.read(&reader, prove).await?;
        Ok(Response::new(pb::ProveResponse {
            record: Some(record(entry)),
            proof: proof.ok_or_else(not_found)?.to_string(),
        }))
    }
}

impl AuditService {
    /// As [`read`].
    async fn read<T: Send + 'static>(
        &self,
        reader: &Reader,
        work: impl FnOnce(&Reading, CancellationToken) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<(T, Seat), Status> {
        read(&self.reading, &self.gate, &reader.to_string(), work).await
    }
}

/// Reads the log for the principal `who` in a thread of its own, for as long as the caller waits. Also gives the seat that this took.
pub(super) async fn read<T: Send + 'static>(
    reading: &Reading,
    gate: &Gate,
    who: &str,
    work: impl FnOnce(&Reading, CancellationToken) -> Result<T, ReadError> + Send + 'static,
) -> Result<(T, Seat), Status> {
    let seat = reading.seat(who)?;
    let left = CancellationToken::new();
    let _leaves = left.clone().drop_guard();
    let reading = reading.clone();
    let done = gate.exchange.tasks.spawn_blocking(move || {
        // Taken along: the thread may outlive this call.
        work(&reading, left).map(|done| (done, seat))
    });
    let lost = |error| Denial::failed(Fault::Internal, format!("the reading ended: {error}"));
    done.await.map_err(lost)?.map_err(|error| unread(&error))
}

fn token(field: &str, text: &str) -> Result<TokenId, Refusal> {
    TokenId::parse(open(field, text)?).map_err(|error| invalid(field, error))
}

/// Said alike of what is not there and of what is not for the caller.
fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "nothing like that is on the record")
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

fn part((relation, entry): (Relation, Entry)) -> pb::ShowResponse {
    let relation = match relation {
        Relation::Ancestor => pb::Relation::Ancestor,
        Relation::Token => pb::Relation::Token,
        Relation::Descendant => pb::Relation::Descendant,
        Relation::Refusal => pb::Relation::Refusal,
        Relation::Change => pb::Relation::Change,
    };
    pb::ShowResponse {
        record: Some(record(entry)),
        relation: relation.into(),
        ..pb::ShowResponse::default()
    }
}

fn problem(problem: String) -> pb::ShowResponse {
    pb::ShowResponse {
        problem,
        ..pb::ShowResponse::default()
    }
}

fn longer() -> pb::ShowResponse {
    pb::ShowResponse {
        longer: true,
        ..pb::ShowResponse::default()
    }
}
