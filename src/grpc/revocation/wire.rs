//! What watchers are sent, as gRPC has it: a message, with its length before it.

use crate::grpc::convert::timestamp;
use crate::proto as pb;
use crate::proto::watch_response::Event;
use crate::revocation::{Encode, End, Label};
use bytes::Bytes;
use prost::Message as _;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Writes the messages of `Revocation.Watch`.
#[derive(Clone, Copy, Debug)]
pub struct Wire;

impl Encode for Wire {
    fn part(&self, markers: Vec<u8>, is_first: bool, end: Option<&End>) -> Bytes {
        framed(Event::Snapshot(pb::SnapshotPart {
            markers: markers.into(),
            first: is_first,
            end: end.map(|end| pb::SnapshotEnd {
                revision: end.label.revision.to_string(),
                count: end.count,
                digest: end.digest.to_vec(),
                as_of: end.label.as_of.map(timestamp),
                view: end.view.to_vec(),
            }),
        }))
    }

    fn delta(&self, markers: Vec<u8>, label: &Label) -> Bytes {
        framed(Event::Delta(pb::Delta {
            revision: label.revision.to_string(),
            markers: markers.into(),
            as_of: label.as_of.map(timestamp),
        }))
    }

    fn heartbeat(&self, label: &Label) -> Bytes {
        framed(Event::Heartbeat(pb::Heartbeat {
            revision: label.revision.to_string(),
            as_of: label.as_of.map(timestamp),
            earliest: label.earliest.map(timestamp),
        }))
    }
}

fn framed(event: Event) -> Bytes {
    let message = pb::WatchResponse { event: Some(event) }.encode_to_vec();
    let mut frame = Vec::with_capacity(PREFIX.saturating_add(message.len()));
    frame.push(0);
    // A few markers over 64 KiB at most.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}
