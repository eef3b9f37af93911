//! `Audit.Tail`: records as they come.
//!
//! The log itself is what waits for a slow reader, on disk. Whether the caller may still read is asked anew for each
//! stretch of it.

use super::outlet::{Closed, Outlet, Patience, Stream, too_slow};
use super::{AuditService, filter, record};
use crate::audit::read::ReadError;
use crate::audit::{Filter, Follow, Reading};
use crate::authn::Peer;
use crate::grpc::convert::invalid;
use crate::grpc::status::{go_on_from, unread};
use crate::grpc::{Gate, peer};
use crate::limits;
use crate::limits::seats::Seat;
use crate::proto as pb;
use crate::refusal::{Denial, Fault};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

/// How often it is looked whether there is more: a look is one load from memory.
const PACE: Duration = Duration::from_millis(100);
/// Records that are read before it is asked anew whether the caller may.
const STRETCH: u64 = 1_024;

pub(super) fn open(
    service: &AuditService,
    request: Request<pb::TailRequest>,
) -> Result<Stream<pb::TailResponse>, Status> {
    let peer = peer(&request)?;
    let reader = service.gate.reader(&peer)?;
    let pb::TailRequest {
        filter,
        from_sequence,
    } = request.into_inner();
    let filter = filter::parsed(filter)?;
    let end = service.reading.end();
    let from = from_sequence.unwrap_or(end);
    if from > end {
        return Err(invalid("from_sequence", "the log does not reach there").into());
    }
    let seat = service.reading.tail_seat(&reader.to_string())?;
    let draining = service.draining.clone();
    let patience = Patience {
        item: limits::READER_PATIENCE,
        // There is no end to what is followed.
        all: Duration::MAX,
    };
    let (outlet, stream) = Outlet::new(patience, draining.clone())?;
    let tail = Tail {
        gate: service.gate.clone(),
        peer,
        follow: service.reading.follow(from, outlet.is_wanted()),
        reading: service.reading.clone(),
        filter,
        outlet,
        draining,
        _seat: seat,
    };
    service.gate.exchange.tasks.spawn(tail.run());
    Ok(stream)
}

struct Tail {
    gate: Gate,
    peer: Arc<Peer>,
    reading: Reading,
    follow: Follow,
    filter: Filter,
    outlet: Outlet<pb::TailResponse>,
    draining: CancellationToken,
    _seat: Seat,
}

impl Tail {
    async fn run(mut self) {
        let first = pb::TailResponse {
            record: None,
            next: self.follow.next(),
        };
        if self.outlet.try_put(first).is_err() {
            return;
        }
        loop {
            tokio::select! {
                () = self.draining.cancelled() => {
                    let denial = Denial::failed(Fault::Draining, "the broker drains");
                    return self.end(&denial.into());
                }
                () = self.outlet.closed() => return,
                () = self.more() => {}
            }
            let filter = match self.gate.reader(&self.peer) {
                Ok(reader) => self.filter.clone().visible_to(reader.sight()),
                Err(status) => return self.end(&status),
            };
            let before = self.follow.next();
            let stretch = tokio::task::spawn_blocking(move || {
                let went = self.stretch(&filter);
                (self, went)
            });
            let Ok((this, went)) = stretch.await else {
                return;
            };
            self = this;
            match went {
                Ok(Err(Closed::Gone)) => return,
                Ok(Err(Closed::Slow)) => return self.end(&too_slow()),
                // The files do not show yet what is said to be there.
                Ok(Ok(())) if self.follow.next() == before => tokio::time::sleep(PACE).await,
                // Told above.
                Ok(Ok(()) | Err(Closed::Stopped)) => {}
                Err(_) if self.draining.is_cancelled() => {}
                Err(error) => return self.end(&unread(&error)),
            }
        }
    }

    /// Waits until there is something to read.
    async fn more(&self) {
        while self.follow.next() >= self.reading.end() {
            tokio::time::sleep(PACE).await;
        }
    }

    fn stretch(&mut self, filter: &Filter) -> Result<Result<(), Closed>, ReadError> {
        let end = self.follow.next().saturating_add(STRETCH);
        let end = end.min(self.reading.end());
        let mut put = Ok(());
        self.follow.read(end, filter, |entry| {
            let next = entry.sequence.saturating_add(1);
            let record = Some(record(entry));
            put = self.outlet.put(pb::TailResponse { record, next });
            put.is_ok()
        })?;
        Ok(put)
    }

    fn end(self, status: &Status) {
        let status = go_on_from(self.follow.next(), status);
        self.outlet.end(status);
    }
}
