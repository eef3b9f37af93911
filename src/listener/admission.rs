//! How many connections a listener holds, in all, by source, and in their handshake.

use super::observer::Outcome;
use super::settings::ConnectionLimits;
use crate::limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Admission {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    sources: Arc<Sources>,
}

/// A connection's place among all; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

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
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES)),
            sources: Arc::new(Sources {
                most: limits.connections_per_source,
                open: Mutex::default(),
            }),
        }
    }

    /// A place among all connections.
    pub(super) fn connection(&self) -> Result<Place, Outcome> {
        take(&self.connections, Outcome::TooManyConnections)
    }

    /// A place among the handshakes. None is waited for: those that are slow must not hold up the others.
    pub(super) fn handshake(&self) -> Result<Place, Outcome> {
        take(&self.handshakes, Outcome::TooManyHandshakes)
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

impl Sources {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
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

fn take(places: &Arc<Semaphore>, full: Outcome) -> Result<Place, Outcome> {
    let place = Arc::clone(places).try_acquire_owned();
    place.map(Place).map_err(|_| full)
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
        let held: Vec<_> = (0..limits::HANDSHAKES)
            .map(|_| admission.handshake().unwrap())
            .collect();
        assert_eq!(
            admission.handshake().unwrap_err(),
            Outcome::TooManyHandshakes
        );
        drop(held);
        assert!(admission.handshake().is_ok());
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
