//! Logs, metrics, readiness, and the listener that shows them.

mod feed_stats;
mod log;
mod log_stats;
mod metrics;
pub mod ops;
mod readiness;
mod sink_stats;

pub use log::{InvalidLog, LogFormat, init};
pub use metrics::{ExchangeOutcome, Metrics};
pub use readiness::{NotReady, Readiness};
