//! What the broker tells, in our terms.

use crate::client::Error;
use crate::limits;
use crate::marker::{Marker, Second, unpack};
use jiff::Timestamp;
use std::sync::Arc;

/// The broker told something that cannot be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault(pub(super) &'static str);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Protocol(fault.0.into())
    }
}

pub(super) fn markers(bytes: &[u8]) -> Result<impl Iterator<Item = Marker> + Clone + '_, Fault> {
    let markers = unpack(bytes).map_err(|_| Fault("markers that are not whole"))?;
    Ok(markers.map(|mut marker| {
        // One that was taken back is not there: when it would have ended is nothing to keep.
        if is_taken_back(&marker) {
            marker.cover.until = Second::ZERO;
        }
        marker
    }))
}

pub(super) fn is_taken_back(marker: &Marker) -> bool {
    marker.cover.before == Second::ZERO
}

pub(super) fn instant(time: prost_types::Timestamp) -> Result<Timestamp, Fault> {
    Timestamp::new(time.seconds, time.nanos).map_err(|_| Fault("no valid time"))
}

pub(super) fn revision(text: &str) -> Result<Arc<str>, Fault> {
    if text.is_empty() || text.len() > limits::FEED_REVISION {
        return Err(Fault("no usable revision"));
    }
    Ok(text.into())
}

/// What a snapshot is of; a broker that tells everybody everything calls it nothing.
pub(super) fn view(token: &[u8]) -> Result<Arc<[u8]>, Fault> {
    if token.len() > limits::FEED_REVISION {
        return Err(Fault("no usable view"));
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_there_and_not_too_long() {
        let of = |length| revision(&"r".repeat(length)).is_ok();
        assert!(!of(0));
        assert!(of(limits::FEED_REVISION));
        assert!(!of(limits::FEED_REVISION + 1));
        assert!(view(&[0; limits::FEED_REVISION]).is_ok());
        assert!(view(&[0; limits::FEED_REVISION + 1]).is_err());
    }
}
