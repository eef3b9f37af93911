//! How many connections a listener holds, in all, by source, and in their handshake.

use super::observer::Outcome;
use super::settings::ConnectionLimits;
use crate::limits;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Admission {
    connections: Arc<Semaphore>,
    handshakes: Arc<Handshakes>,
    sources: Arc<Sources>,
}

/// A connection's place among all; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Handshakes in progress. When one too many begins, the oldest of the source that has the most of them is given up:
/// whoever holds all places only ever loses his own, however fast he comes back.
#[derive(Debug, Default)]
struct Handshakes(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// Oldest first. Those whose source has no address are of one source.
    all: BTreeMap<u64, (Option<IpAddr>, CancellationToken)>,
}

/// A connection's place among the handshakes; given back when dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    number: u64,
    given_up: CancellationToken,
    handshakes: Arc<Handshakes>,
}

/// Open connections by source. Entries go with their last connection, so there are no more of them than
/// there are connections.
#[derive(Debug)]
struct Sources {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among those of its source; given back when dropped.
#[derive(Debug)]
pub(super) struct SourcePlace {
    source: IpAddr,
    sources: Arc<Sources>,
}

impl Admission {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            handshakes: Arc::default(),
            sources: Arc::new(Sources {
                most: limits.connections_per_source,
                open: Mutex::default(),
            }),
        }
    }

    /// A place among all connections.
    pub(super) fn connection(&self) -> Result<Place, Outcome> {
        Arc::clone(&self.connections)
            .try_acquire_owned()
            .map(Place)
            .map_err(|_| Outcome::TooManyConnections)
    }

    /// A place among the handshakes, which another one may have to leave.
    pub(super) fn handshake(&self, address: Option<IpAddr>) -> Handshake {
        let given_up = CancellationToken::new();
        let mut pending = self.handshakes.lock();
        let number = pending.next;
        pending.next = number.wrapping_add(1);
        let place = (address.map(source), given_up.clone());
        pending.all.insert(number, place);
        pending.make_room();
        drop(pending);
        Handshake {
            number,
            given_up,
            handshakes: Arc::clone(&self.handshakes),
        }
    }

    /// A place among the connections of `address`.
    pub(super) fn source(&self, address: IpAddr) -> Result<SourcePlace, Outcome> {
        let source = source(address);
        let mut open = self.sources.lock();
        let count = open.entry(source).or_default();
        if *count >= self.sources.most {
            return Err(Outcome::TooManyFromSource);
        }
        *count += 1;
        drop(open);
        Ok(SourcePlace {
            source,
            sources: Arc::clone(&self.sources),
        })
    }
}

impl Pending {
    /// Where there is one too many, gives up the oldest of the most crowded source; of several such, the oldest of all.
    fn make_room(&mut self) {
        if self.all.len() <= limits::HANDSHAKES {
            return;
        }
        let mut counts: HashMap<_, usize> = HashMap::new();
        for (source, _) in self.all.values() {
            let count = counts.entry(*source).or_default();
            *count = count.saturating_add(1);
        }
        let most = counts.values().copied().max();
        let mut all = self.all.iter();
        let oldest = all.find(|(_, (source, _))| counts.get(source).copied() == most);
        let number = oldest.map(|(number, _)| *number);
        let given_up = number.and_then(|number| self.all.remove(&number));
        if let Some((_, given_up)) = given_up {
            given_up.cancel();
        }
    }
}

impl Handshake {
    /// Counts it as one of `address`, which a proxy has named.
    pub(super) fn comes_from(&self, address: IpAddr) {
        if let Some((known, _)) = self.handshakes.lock().all.get_mut(&self.number) {
            *known = Some(source(address));
        }
    }

    /// Waits until a later handshake needs the place.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Handshakes {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.lock().all.remove(&self.number);
    }
}

impl Sources {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let mut open = self.sources.lock();
        if let Some(count) = open.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

/// An IPv6 host has a whole /64 to choose its address from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(&ConnectionLimits {
            connections: 3,
            connections_per_source: 2,
            ..ConnectionLimits::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_end_at_n_and_come_back() {
        let admission = admission();
        let mut held: Vec<_> = (0..3).map(|_| admission.connection().unwrap()).collect();
        assert_eq!(
            admission.connection().unwrap_err(),
            Outcome::TooManyConnections
        );
        held.pop();
        assert!(admission.connection().is_ok());
    }

    #[test]
    fn the_oldest_handshake_makes_room_for_one_too_many() {
        let admission = admission();
        let mut held: Vec<_> = (0..limits::HANDSHAKES)
            .map(|_| admission.handshake(None))
            .collect();
        let given_up = |held: &[Handshake]| {
            let numbers = held.iter().filter(|h| h.given_up.is_cancelled());
            numbers.map(|h| h.number).collect::<Vec<_>>()
        };
        assert!(given_up(&held).is_empty());
        held.push(admission.handshake(None));
        assert_eq!(given_up(&held), [0]);
        drop(held.split_off(3));
        held.push(admission.handshake(None));
        assert_eq!(given_up(&held), [0]);
        drop(held);
        assert!(admission.handshakes.lock().all.is_empty());
    }

    #[test]
    fn who_goes_on_connecting_makes_room_himself() {
        let admission = admission();
        let from = |text| admission.handshake(Some(address(text)));
        let honest = from("192.0.2.1");
        let behind_a_proxy = from("198.51.100.1");
        behind_a_proxy.comes_from(address("192.0.2.2"));
        let mut held = Vec::new();
        for _ in 0..limits::HANDSHAKES * 3 {
            held.push(from("2001:db8::1"));
            held.push(from("2001:db8::2"));
            let hidden = from("198.51.100.1");
            hidden.comes_from(address("203.0.113.1"));
            held.push(hidden);
        }
        assert!(!honest.given_up.is_cancelled());
        assert!(!behind_a_proxy.given_up.is_cancelled());
        let left = held.iter().filter(|one| !one.given_up.is_cancelled());
        assert_eq!(left.count(), limits::HANDSHAKES - 2);
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        let admission = admission();
        let first = admission.source(address("2001:db8::1")).unwrap();
        let _second = admission.source(address("2001:db8::ffff:1")).unwrap();
        assert_eq!(
            admission.source(address("2001:db8::2")).unwrap_err(),
            Outcome::TooManyFromSource
        );
        assert!(admission.source(address("2001:db8:0:1::1")).is_ok());
        drop(first);
        assert!(admission.source(address("2001:db8::2")).is_ok());
        let _v4 = admission.source(address("192.0.2.1")).unwrap();
        let _mapped = admission.source(address("::ffff:192.0.2.1")).unwrap();
        assert!(admission.source(address("192.0.2.1")).is_err());
        assert!(admission.source(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn a_source_without_connections_is_forgotten() {
        let admission = admission();
        drop(admission.source(address("192.0.2.1")).unwrap());
        assert!(admission.sources.lock().is_empty());
    }
}
