//! `Revocation.Watch`.

use crate::proto as pb;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub(super) type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;
