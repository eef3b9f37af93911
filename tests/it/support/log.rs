//! A log in a real folder.

use cambist::audit::{Author, Disk, Headers, Log, LogHealth, OpenError, Options, Recovered};
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::keys::Kek;
use cambist::revocation::HotSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "https://broker.example.org/node-1";
pub(crate) const RESERVE: u64 = 1 << 20;

pub(crate) fn headers() -> Headers {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    Headers::new(kek.mac_key(Author::PURPOSE).unwrap(), Some(0))
}

pub(crate) fn open(folder: &Path) -> Result<(Log, Recovered), OpenError> {
    open_on(Arc::new(Disk::open(folder, RESERVE)?))
}

pub(crate) fn open_on(device: Arc<Disk>) -> Result<(Log, Recovered), OpenError> {
    let options = Options {
        retry: Duration::from_millis(1),
        ..Options::default()
    };
    let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
    Log::open(
        device,
        ORIGIN,
        Arc::<HotSet>::default(),
        clock,
        random,
        headers(),
        options,
    )
}

/// Waits until the log takes records.
pub(crate) async fn until_writing(log: &Log) {
    let mut changes = log.health_changes();
    let writing = async {
        while *log.health() != LogHealth::Writing {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), writing)
        .await
        .unwrap();
}
