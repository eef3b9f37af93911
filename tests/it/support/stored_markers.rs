//! Stores with many markers, for what is measured with them.

use cambist::clock::{SystemClock, SystemRandomness};
use cambist::id::Tenant;
use cambist::marker::{Cover, Marker, Second, Thing};
use cambist::revocation::{StoredMarker, Told};
use cambist::store::embedded::EmbeddedStore;
use cambist::store::{Batch, Store};
use jiff::Timestamp;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How many go in at once.
const BATCH: usize = 100;

/// One of a token that nobody ever had. Every other one is a tenant's.
pub(crate) fn marker(number: usize, until: Second) -> StoredMarker {
    let id = format!("{number:022}");
    let thing = Thing::Token("https://cambist.example.org", &id);
    StoredMarker {
        marker: Marker {
            id: thing.id(),
            cover: Cover::all(until),
        },
        tenant: number
            .is_multiple_of(2)
            .then(|| Tenant::parse("retail").unwrap()),
        told: Told {
            kind: thing.kind().name().to_owned(),
            thing: id.clone(),
            reason: "the laptop that held it was stolen".to_owned(),
            author: "spiffe://example.org/admin".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            owner: None,
        },
    }
}

/// The store at this path.
pub(crate) fn open(path: &Path) -> Arc<EmbeddedStore> {
    let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
    Arc::new(EmbeddedStore::open(path, clock, random).unwrap())
}

/// Puts the markers of these numbers into a store, all with this end.
pub(crate) async fn fill(store: &dyn Store, numbers: Range<usize>, until: Second) {
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(BATCH) {
        let batch = some.iter().try_fold(Batch::new(), |batch, number| {
            let stored = marker(*number, until);
            batch.put(StoredMarker::key(&stored.marker.id)?, stored.value()?)
        });
        store.commit(batch.unwrap()).await.unwrap();
    }
}
