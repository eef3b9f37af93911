//! What watchers of revocations follow.

use super::World;
use crate::clock::guard::TimeGuard;
use crate::grpc::Wire;
use crate::revocation::{Feed, HotSet, Label};
use crate::store::replica::Replica;
use std::sync::Arc;

/// Starts the feed. It ends, and with it all who watch, when the drain begins.
pub(super) fn start(
    world: &World,
    hot: &Arc<HotSet>,
    replica: &Replica,
    guard: &Arc<TimeGuard>,
) -> Feed {
    let (following, guard) = (replica.clone(), Arc::clone(guard));
    let now = move || Label {
        earliest: guard.earliest().ok(),
        ..Label::of(&following)
    };
    let feed = Feed::new(Arc::clone(hot), Box::new(Wire), &now);
    let drain = world.lifecycle.shutdown().drain.clone();
    let run = feed.clone().run(replica.subscribe(), now, drain);
    world.lifecycle.spawn("feed", async move {
        run.await;
        Ok::<_, anyhow::Error>(())
    });
    feed
}
