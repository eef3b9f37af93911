//! Markers, a page at a time: what is stored, and what is in force and waits to be.

use super::{RevocationService, marker};
use crate::grpc::convert::invalid;
use crate::grpc::page::Page;
use crate::marker::Second;
use crate::proto as pb;
use crate::revocation::StoredMarker;
use crate::store::Key;
use tonic::Status;

/// The page that is asked for, while it fills.
struct Listing {
    page: Page<pb::Marker>,
    now: Second,
    all: bool,
}

impl Listing {
    /// Adds a marker, if it is wanted. `false`: the page is full without it.
    fn add(&mut self, key: &Key, stored: &StoredMarker, is_durable: bool) -> bool {
        let is_in_force = !stored.is_reinstated() && stored.marker.cover.until >= self.now;
        let is_wanted = self.all || is_in_force;
        !is_wanted || self.page.add(key.as_str(), marker(stored, is_durable))
    }
}

impl RevocationService {
    pub(super) async fn listed(
        &self,
        request: &pb::ListMarkersRequest,
    ) -> Result<pb::ListMarkersResponse, Status> {
        let page = Page::new(request.page_size, &request.page_token)?;
        let malformed = |_| invalid("page_token", "not one that this call gave out");
        let after = page.after.as_deref().map(Key::new).transpose();
        let mut after = after.map_err(malformed)?;
        let mut listing = Listing {
            page,
            now: Second::of(self.gate.exchange.guard.wall()),
            all: request.all,
        };
        let begin = after.clone();
        let is_told = move |key: &Key| begin.as_ref().is_some_and(|begin| key <= begin);
        // Looked at before the store: what is written meanwhile is in one of them.
        let waiting = self.revocations.waiting_markers().into_iter();
        let mut waiting = waiting.skip_while(|(key, _)| is_told(key)).peekable();
        let mut more = true;
        'pages: while more {
            let (entries, is_more) = self.revocations.stored(after).await?;
            after = entries.last().map(|last| last.key.clone());
            more = is_more && after.is_some();
            for entry in entries {
                let mut is_told = false;
                while let Some((key, stored)) = waiting.next_if(|(key, _)| *key <= entry.key) {
                    is_told = key == entry.key;
                    if !listing.add(&key, &stored, false) {
                        break 'pages;
                    }
                }
                // What waits takes its place.
                if is_told {
                    continue;
                }
                let stored = match StoredMarker::read(&entry) {
                    Ok(stored) => stored,
                    Err(error) => {
                        tracing::error!(%error, "a marker is not listed");
                        continue;
                    }
                };
                if !listing.add(&entry.key, &stored, true) {
                    break 'pages;
                }
            }
        }
        for (key, stored) in waiting {
            if !listing.add(&key, &stored, false) {
                break;
            }
        }
        let (markers, next_page_token) = listing.page.done();
        Ok(pb::ListMarkersResponse {
            markers,
            next_page_token,
        })
    }
}
