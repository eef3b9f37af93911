//! The networks that records are found by: each address is in one of each of a few lengths.

use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Prefix lengths, the narrowest first: what a site, a provider and a continent's worth of them have.
const V4: [u8; 3] = [24, 16, 8];
const V6: [u8; 3] = [64, 48, 32];
/// What a summary of refusals counts by. Another one here is another version of the index.
const V4_COUNTED: u8 = 24;
const V6_COUNTED: u8 = 48;

fn lengths(of: IpAddr) -> [u8; 3] {
    match of {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    }
}

const fn counted_length(of: IpAddr) -> u8 {
    match of {
        IpAddr::V4(_) => V4_COUNTED,
        IpAddr::V6(_) => V6_COUNTED,
    }
}

/// The networks of these lengths that an address is in.
pub(super) fn of(address: IpAddr) -> impl Iterator<Item = String> {
    lengths(address)
        .into_iter()
        .filter_map(move |length| text(address, length))
}

/// The networks under which whatever overlaps `network` is posted; `None` where it is wider than every length indexed.
///
/// The narrowest of these that holds it has its addresses, and all that a summary counts within it. But it may be a part of
/// what a summary counts: that is found by the first address it has.
pub(super) fn looked_up_by(network: &IpNet) -> Option<BTreeSet<String>> {
    let address = network.addr();
    let mut lengths = lengths(address).into_iter();
    let narrowest = lengths.clone().next()?;
    let length = lengths.find(|length| *length <= network.prefix_len())?;
    let mut found_by = BTreeSet::from([text(address, length)?]);
    if length == narrowest {
        let counted = IpNet::new(address, counted_length(address)).ok()?;
        found_by.insert(text(counted.network(), narrowest)?);
    }
    Some(found_by)
}

/// Whether a search for any part of what a summary counts finds it by its first address.
pub(super) fn can_be_found(network: &IpNet) -> bool {
    let address = network.addr();
    let narrowest = lengths(address).into_iter().next();
    network.prefix_len() == counted_length(address)
        || narrowest.is_some_and(|narrowest| network.prefix_len() >= narrowest)
}

fn text(address: IpAddr, length: u8) -> Option<String> {
    let network = IpNet::new(address, length).ok()?;
    Some(network.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::refusals::{V4_PREFIX, V6_PREFIX};
    use proptest::prelude::*;

    #[test]
    fn a_network_is_looked_for_in_the_narrowest_that_holds_it() {
        for (network, held_by) in [
            ("192.0.2.7/32", &["192.0.2.0/24"][..]),
            ("192.0.2.128/25", &["192.0.2.0/24"]),
            ("192.0.2.0/24", &["192.0.2.0/24"]),
            ("192.0.2.0/23", &["192.0.0.0/16"]),
            ("192.0.0.0/9", &["192.0.0.0/8"]),
            ("192.0.0.0/7", &[]),
            ("0.0.0.0/0", &[]),
            // And in the first of what a summary counts.
            (
                "2001:db8:1:2::1/128",
                &["2001:db8:1:2::/64", "2001:db8:1::/64"],
            ),
            ("2001:db8:1::/64", &["2001:db8:1::/64"]),
            ("2001:db8:1:8000::/63", &["2001:db8:1::/48"]),
            ("2001:db8:1::/49", &["2001:db8:1::/48"]),
            ("2001:db8:1::/47", &["2001:db8::/32"]),
            ("2001:d00::/31", &[]),
        ] {
            let found_by = looked_up_by(&network.parse().unwrap());
            let held_by = held_by.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(found_by.unwrap_or_default(), held_by, "{network}");
        }
    }

    #[test]
    fn networks_are_counted_by_what_they_are_looked_for_by() {
        assert_eq!((V4_COUNTED, V6_COUNTED), (V4_PREFIX, V6_PREFIX));
    }

    proptest! {
        /// Whatever is asked for, an address in it is found by what it is looked up by.
        #[test]
        fn no_address_of_a_network_is_passed_over(address in any::<IpAddr>(), length in 0_u8..=128) {
            let network = network(address, length);
            if let Some(held_by) = looked_up_by(&network) {
                prop_assert!(of(address).any(|one| held_by.contains(&one)));
            }
        }

        /// Nor is a summary that counts a network around it or within it.
        #[test]
        fn no_summary_of_a_network_is_passed_over(
            address in any::<IpAddr>(), length in 0_u8..=128, counted in 0_u8..=128, is_usual in any::<bool>(),
        ) {
            let counted = if is_usual { counted_length(address) } else { counted };
            let counted = network(address, counted);
            if let Some(held_by) = looked_up_by(&network(address, length)) {
                let is_found = of(counted.addr()).any(|one| held_by.contains(&one));
                prop_assert!(is_found || !can_be_found(&counted));
            }
            prop_assert!(can_be_found(&counted) || !is_usual);
        }
    }

    fn network(address: IpAddr, length: u8) -> IpNet {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(most)).unwrap().trunc()
    }
}
