//! Sinks: records flow on to where teams look, asynchronously, at least once and in order.
//!
//! Each sink has one task, which follows the durable log from a cursor of its own: it reads, delivers, then moves the cursor.
//! Nothing wakes it: it looks a few times a second, so that the hot path knows nothing of it. What waits for a sink waits in
//! the log's files, and never in memory: a batch is all that a task holds.
//!
//! What a crash leaves behind, step by step:
//!
//! | crash after | the cursor on disk | the receiver holds | after the next start |
//! |---|---|---|---|
//! | a new cursor is made | where it began | nothing | it goes on from there, whatever `start` says |
//! | a batch is read | before the batch | nothing of it | the batch is delivered |
//! | it is delivered, or a part of it | before the batch | that part | the batch is delivered once more, from its first record |
//! | the cursor is moved | after the batch | the batch | the next record is delivered |
//!
//! So a record is there twice after some crashes and after answers that were lost, and never missing: receivers tell copies
//! by the log's origin and the record's sequence, which every kind of sink gives them. A cursor is bound to the log's id: one of
//! another log, or beyond the end of this one, says nothing, and neither does one that cannot be read: the sink begins at the
//! log's beginning, which is the first record that is still there. What retention removes before a sink has come to it is
//! passed over, counted and told. Retention asks [`Sinks::taken`] so as not to.
//!
//! A sink may take only some records, by kind, action or owner: those of one team, or those of leaked keys, so that an owner
//! is told of them as surely as records are. The others are passed over as if they had been delivered, and not counted.
//!
//! A delivery **fails** when it may succeed later: no connection, no answer in time, and every answer that speaks of us
//! rather than of a record, such as 401 or 404. It is tried again, with ever longer pauses, for as long as it takes. A
//! receiver **refuses** what it will never take: a batch is then delivered in ever smaller parts, until the record that it is
//! about stands alone. That one is set aside: counted, named in a warning, and still in the log, where its sequence finds it. A
//! receiver that refuses [`limits::SINK_REFUSALS`] records in a row refuses us: nothing more is set aside then, and the
//! deliveries fail.
//!
//! [`limits::SINK_REFUSALS`]: crate::limits::SINK_REFUSALS

mod backoff;
mod cursor;
mod event;
pub mod ocsf;
mod otlp;
mod relay;
mod settings;
mod stats;
mod stdout;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;
mod webhook;

pub use cursor::{Cursor, Cursors};
pub use event::{Event, Format, Weight};
pub use otlp::Otlp;
pub use relay::{Around, Relay, RelayError};
pub use settings::{InvalidSinkName, Kind, Settings, SinkName, Start};
pub use stats::{SinkStats, Sinks};
pub use stdout::Stdout;
pub use syslog::Syslog;
pub use tls::{MaterialError, TlsFiles};
pub use webhook::{Body, Webhook};

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A place that records are delivered to.
pub trait Sink: fmt::Debug + Send {
    /// Delivers a batch, in order. Answers how many of its records the receiver threw away for good, which is none for most.
    ///
    /// A delivery that takes too long is dropped. What was not delivered comes again, the same or a part of it: whatever a failed
    /// or dropped delivery left half done on a connection must not be gone on with.
    fn deliver<'a>(&'a mut self, batch: &'a [Event]) -> Delivery<'a>;
}

/// A delivery on its way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<u64, Undelivered>> + Send + 'a>>;

/// Why a batch is not delivered. The reason is for the operator, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// It may be, later.
    #[error("{0}")]
    Failed(String),
    /// The receiver will never take it.
    #[error("refused: {0}")]
    Refused(String),
}

impl Undelivered {
    /// A failure, with what caused it.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self::Failed(causes.join(": "))
    }
}
