//! The gRPC face: messages in, domain calls, messages out. Methods are short; decisions are elsewhere.

mod audience;
mod audit;
mod convert;
mod exchange;
mod inventory;
mod lease;
mod page;
mod policy;
mod revocation;
mod status;
mod told;

pub use audit::AuditService;
pub use exchange::TokenExchangeService;
pub use inventory::InventoryService;
pub use policy::PolicyService;
pub use revocation::{RevocationService, Wire, watched};
pub use told::{OnRecord, Told};

use crate::administration::{Author, Precondition};
use crate::audit::Context;
use crate::authn::{Administrators, Duty, Face, Follower, Peer, Reader};
use crate::exchange::Exchange;
use crate::policy::Ask;
use crate::refusal::Refusal;
use std::sync::Arc;
use tonic::{Request, Status};

/// The connection that a request came over, as the listener proved it.
fn peer<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    request
        .extensions()
        .get::<Arc<Peer>>()
        .cloned()
        .ok_or_else(|| Status::internal("the listener named no peer"))
}

fn context(peer: Arc<Peer>, ask: Option<Ask>) -> Context {
    Context {
        face: Face::Grpc,
        peer,
        ask,
        request: None,
    }
}

/// Who may make administrative calls, and how that is told.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Verifies peers.
    pub exchange: Arc<Exchange>,
    /// Who is allowed.
    pub administrators: Arc<Administrators>,
}

impl Gate {
    /// The administrator who makes this call; anybody else is refused, on the record.
    fn author<T>(&self, request: &Request<T>) -> Result<Author, Status> {
        self.admit(request, Duty::Administer)
    }

    /// Somebody who may ask why; anybody else is refused, on the record.
    fn inquirer<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.admit(request, Duty::Explain).map(drop)
    }

    /// Turns everybody else away by the headers alone, before anything of a message is taken in: administrators'
    /// messages may be large, and nobody else's take memory.
    pub fn doorkeeper(
        &self,
    ) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
        let gate = self.clone();
        move |request| gate.author(&request).map(|_| request)
    }

    /// The administrator at the other end, if it is one. That it is not is no refusal yet.
    fn administrator(&self, peer: &Arc<Peer>) -> Result<Author, Refusal> {
        let context = context(Arc::clone(peer), None);
        let (authn, now) = (&self.exchange.authn, self.exchange.guard.wall());
        let who = authn.administrator(peer, &self.administrators, Duty::Administer, now)?;
        let who = who.into();
        Ok(Author { who, context })
    }

    fn admit<T>(&self, request: &Request<T>, duty: Duty) -> Result<Author, Status> {
        let context = context(peer(request)?, None);
        let (authn, now) = (&self.exchange.authn, self.exchange.guard.wall());
        match authn.administrator(&context.peer, &self.administrators, duty, now) {
            Ok(who) => Ok(Author {
                who: who.into(),
                context,
            }),
            Err(refusal) => Err(self.refused(refusal, &context)),
        }
    }

    /// Somebody who may read the log, now; anybody else is refused, on the record.
    fn reader(&self, peer: &Arc<Peer>) -> Result<Reader, Status> {
        let (authn, now) = (&self.exchange.authn, self.exchange.guard.wall());
        authn
            .reader(peer, &self.administrators, now)
            .map_err(|refusal| self.refused(refusal, &context(Arc::clone(peer), None)))
    }

    /// Somebody who may watch what is revoked, now; anybody else is refused, on the record.
    fn watcher(&self, peer: &Arc<Peer>) -> Result<Follower, Status> {
        let (authn, time) = (&self.exchange.authn, &self.exchange.guard);
        authn
            .watcher(peer, &self.administrators, time)
            .map_err(|refusal| self.refused(refusal, &context(Arc::clone(peer), None)))
    }

    fn refused(&self, refusal: Refusal, context: &Context) -> Status {
        self.exchange.refused(&refusal, context);
        status::on_record(refusal)
    }
}

/// The write that a request is, from its common fields. Zero means that no revision is expected.
fn precondition(idempotency_key: &str, expected_revision: u64) -> Result<Precondition, Refusal> {
    let parsed = Some(idempotency_key)
        .filter(|key| !key.is_empty())
        .map(str::parse)
        .transpose();
    Ok(Precondition {
        idempotency_key: parsed.map_err(|error| convert::invalid("idempotency_key", error))?,
        expected_revision: Some(expected_revision).filter(|revision| *revision != 0),
    })
}
