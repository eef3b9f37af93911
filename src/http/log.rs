//! The log, read-only (C2SP tlog-tiles): its checkpoint, its tree, and, to those who may see everything, its records.
//!
//! Under the issuer's path: `/log/checkpoint`, `/log/tile/<L>/<N>[.p/<W>]`, `/log/tile/entries/<N>[.p/<W>]`, and
//! `/log/vkey`, the key that checkpoints are verified with. Who keeps that key and a checkpoint elsewhere can tell later
//! that the log has only grown.
//!
//! There are no entity tags: what is served never changes, but for the checkpoint, which is shorter than a request for it.

use super::{context, path_of};
use crate::audit::tree::Tile;
use crate::audit::{Publisher, ReadError};
use crate::authn::{Administrators, Peer, Sight};
use crate::exchange::Exchange;
use crate::limits;
use crate::refusal::{Code, Refusal};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// What the log is served from, and to whom.
#[derive(Clone, Debug)]
pub struct LogFace {
    /// Verifies readers, and records who is none.
    pub exchange: Arc<Exchange>,
    /// Who may read.
    pub administrators: Arc<Administrators>,
    /// The published tree.
    pub publisher: Arc<Publisher>,
    /// Whether anybody may have checkpoint and tiles. Records are never for anybody.
    pub public: bool,
    /// How many requests may read files at a time.
    pub reads: Arc<Semaphore>,
    /// How many bundles may be in memory.
    pub bundles: Arc<Semaphore>,
}

/// A bundle on its way, and its place among those in memory: a caller who reads slowly holds one, not any number.
struct Bundle {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Bundle {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl LogFace {
    /// What a broker serves it with.
    #[must_use]
    pub fn new(
        exchange: Arc<Exchange>,
        administrators: Arc<Administrators>,
        publisher: Arc<Publisher>,
        public: bool,
    ) -> Self {
        Self {
            exchange,
            administrators,
            publisher,
            public,
            reads: Arc::new(Semaphore::new(limits::LOG_READS)),
            bundles: Arc::new(Semaphore::new(limits::LOG_BUNDLES)),
        }
    }

    /// The routes, for an issuer that is an https URL with or without a path.
    pub fn router(self, issuer: &str) -> Router {
        let path = path_of(issuer);
        Router::new()
            .without_v07_checks()
            .route(&format!("{path}/log/checkpoint"), get(checkpoint))
            .route(&format!("{path}/log/vkey"), get(vkey))
            .route(&format!("{path}/log/tile/{{*tile}}"), get(tile))
            .with_state(self)
    }

    /// How much the peer may see; nobody at all is refused, on the record.
    fn admit(&self, peer: Arc<Peer>) -> Result<Sight, No> {
        let now = self.exchange.guard.wall();
        let reader = self.exchange.authn.reader(&peer, &self.administrators, now);
        reader
            .map(|reader| reader.sight().clone())
            .map_err(|refusal| self.refused(refusal, peer))
    }

    /// Checkpoint and tiles: hashes, which say how much is logged, and nothing of what.
    fn admit_to_hashes(&self, peer: Arc<Peer>) -> Result<(), No> {
        match self.public {
            true => Ok(()),
            false => self.admit(peer).map(drop),
        }
    }

    /// Records, of whomever they are.
    fn admit_to_records(&self, peer: Arc<Peer>) -> Result<(), No> {
        match self.admit(Arc::clone(&peer))? {
            Sight::Everything => Ok(()),
            Sight::Owned(_) => {
                let detail =
                    "bundles hold the records of all owners, and the reader sees only some";
                Err(self.refused(Refusal::new(Code::NotAuthorised, detail), peer))
            }
        }
    }

    fn refused(&self, refusal: Refusal, peer: Arc<Peer>) -> No {
        self.exchange.refused(&refusal, &context(peer));
        No::Refused(refusal)
    }

    /// Counts who may read and found no place.
    fn told(&self, answer: Result<Response, No>, peer: Arc<Peer>) -> Result<Response, No> {
        answer.inspect_err(|why| {
            if matches!(why, No::Busy) {
                self.exchange.turned_away(Code::TooBusy, &context(peer));
            }
        })
    }

    async fn tile(&self, tile: Tile) -> Result<Response, No> {
        let _place = place(&self.reads).await?;
        let publisher = Arc::clone(&self.publisher);
        let read = tokio::task::spawn_blocking(move || publisher.tile(tile)).await;
        let read = read.map_err(|_| No::Busy)?.map_err(No::unreadable)?;
        let hashes = read.ok_or(No::Absent)?;
        Ok(answer(BYTES, for_ever(self.hashes_are()), hashes.into()))
    }

    async fn bundle(&self, leaves: Tile) -> Result<Response, No> {
        let _place = place(&self.bundles).await?;
        let publisher = Arc::clone(&self.publisher);
        let read = tokio::task::spawn_blocking(move || publisher.bundle(leaves)).await;
        let read = read.map_err(|_| No::Busy)?;
        let bytes = read.map_err(|error: ReadError| No::unreadable(error))?;
        let bytes = bytes.ok_or(No::Absent)?;
        let bundle = Bundle { bytes, _place };
        let body = Body::from(Bytes::from_owner(bundle));
        Ok(answer(BYTES, for_ever("private"), body))
    }

    /// Whose caches may keep checkpoint and tiles.
    fn hashes_are(&self) -> &'static str {
        if self.public { "public" } else { "private" }
    }
}

async fn checkpoint(
    State(face): State<LogFace>,
    Extension(peer): Extension<Arc<Peer>>,
) -> Result<Response, No> {
    face.admit_to_hashes(peer)?;
    let last = face.publisher.published().ok_or(No::Absent)?;
    let cache = brief(face.hashes_are(), limits::LOG_CHECKPOINT_AGE);
    Ok(answer(TEXT, cache, last.note.clone().into()))
}

async fn vkey(
    State(face): State<LogFace>,
    Extension(peer): Extension<Arc<Peer>>,
) -> Result<Response, No> {
    face.admit_to_hashes(peer)?;
    let key = format!("{}\n", face.publisher.verifier());
    let cache = brief(face.hashes_are(), limits::JWKS_MAX_AGE);
    Ok(answer(TEXT, cache, key.into()))
}

async fn tile(
    State(face): State<LogFace>,
    Extension(peer): Extension<Arc<Peer>>,
    uri: Uri,
) -> Result<Response, No> {
    match named(uri.path()) {
        Some(Named::Entries(leaves)) => {
            face.admit_to_records(Arc::clone(&peer))?;
            face.told(face.bundle(leaves).await, peer)
        }
        Some(Named::Tile(tile)) => {
            face.admit_to_hashes(Arc::clone(&peer))?;
            face.told(face.tile(tile).await, peer)
        }
        None => {
            face.admit_to_hashes(peer)?;
            Err(No::Absent)
        }
    }
}

/// What a path under `/log/` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Tile(Tile),
    /// The records whose hashes this tile holds.
    Entries(Tile),
}

/// The path as it stands, nothing in it decoded: one tile has one path.
fn named(path: &str) -> Option<Named> {
    let (_, tile) = path.rsplit_once("/log/tile/")?;
    match tile.strip_prefix("entries/") {
        Some(place) => format!("tile/0/{place}").parse().ok().map(Named::Entries),
        None => format!("tile/{tile}").parse().ok().map(Named::Tile),
    }
}

/// A place among those who read, or word that there is none for now.
async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, No> {
    let place = timeout(limits::LOG_READ_WAIT, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or(No::Busy)
}

fn brief(whose: &str, age: Duration) -> String {
    format!("{whose}, max-age={}", age.as_secs())
}

fn for_ever(whose: &str) -> String {
    format!("{}, immutable", brief(whose, limits::LOG_TILE_AGE))
}

fn answer(kind: &'static str, cache: String, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, body).into_response()
}

/// Why there is no answer.
#[derive(Debug)]
enum No {
    Refused(Refusal),
    Absent,
    Busy,
    Unreadable,
}

impl No {
    /// What is wrong is for the operator; the caller learns that something is.
    fn unreadable(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the log cannot be served");
        Self::Unreadable
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let (status, word) = match &self {
            Self::Refused(refusal) => (StatusCode::FORBIDDEN, refusal.code().text()),
            Self::Absent => (StatusCode::NOT_FOUND, "the log has no such thing"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Code::TooBusy.text()),
            Self::Unreadable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the log cannot be read here: its operator is told why",
            ),
        };
        let headers = [
            (header::CONTENT_TYPE, TEXT),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (status, headers, format!("{word}\n")).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_one_path() {
        let tile = |text: &str| text.parse::<Tile>().unwrap();
        let cases = [
            ("/log/tile/0/000", Named::Tile(tile("tile/0/000"))),
            (
                "/a/log/tile/2/x001/017.p/3",
                Named::Tile(tile("tile/2/x001/017.p/3")),
            ),
            (
                "/log/tile/entries/004.p/255",
                Named::Entries(tile("tile/0/004.p/255")),
            ),
        ];
        for (path, meant) in cases {
            assert_eq!(named(path), Some(meant), "{path}");
        }
        for path in [
            "/log/tile/",
            "/log/tile/0",
            "/log/tile/0/0",
            "/log/tile/0/000/",
            "/log/tile/0/000.p/256",
            "/log/tile/0/%30%30%30",
            "/log/tile/9/000",
            "/log/tile/entries/",
            "/log/tile/entries/0/000",
            "/log/tile/entries/000.p/0",
            "/log/tile/entries/../checkpoint",
            "/log/tile/../key",
            "/log/tile/0//000",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }

    /// A caller who reads slowly has his place until he has read it all, or gone.
    #[tokio::test]
    async fn a_bundle_has_its_place_for_as_long_as_it_is_in_memory() {
        let places = Arc::new(Semaphore::new(1));
        let bundle = Bundle {
            bytes: vec![7; 9],
            _place: place(&places).await.unwrap(),
        };
        let mut bytes = Bytes::from_owner(bundle);
        let first = bytes.split_to(4);
        drop(bytes);
        assert_eq!(places.available_permits(), 0);
        drop(first);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_at_a_time_are_bounded() {
        for bound in [limits::LOG_READS, limits::LOG_BUNDLES] {
            let places = Arc::new(Semaphore::new(bound));
            let mut taken = Vec::new();
            for _ in 0..bound {
                taken.push(place(&places).await.unwrap());
            }
            // One more waits, and not for ever.
            let start = tokio::time::Instant::now();
            assert!(matches!(place(&places).await, Err(No::Busy)));
            assert_eq!(start.elapsed(), limits::LOG_READ_WAIT);
            taken.pop();
            drop(place(&places).await.unwrap());
        }
    }
}
