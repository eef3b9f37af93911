//! The networks that records are found by: each address is in one of each of a few lengths.

use ipnet::IpNet;
use std::net::IpAddr;

/// Prefix lengths, the narrowest first: what a site, a provider and a continent's worth of them have.
const V4: [u8; 3] = [24, 16, 8];
const V6: [u8; 3] = [64, 48, 32];

fn lengths(of: IpAddr) -> [u8; 3] {
    match of {
        IpAddr::V4(_) => V4,
        IpAddr::V6(_) => V6,
    }
}

/// The networks of these lengths that an address is in.
pub(super) fn of(address: IpAddr) -> impl Iterator<Item = String> {
    lengths(address)
        .into_iter()
        .filter_map(move |length| text(address, length))
}

/// The narrowest of these networks that holds all of another one; none where that is wider than all of them.
pub(super) fn holding(network: &IpNet) -> Option<String> {
    let address = network.addr();
    let mut lengths = lengths(address).into_iter();
    let length = lengths.find(|length| *length <= network.prefix_len())?;
    text(address, length)
}

fn text(address: IpAddr, length: u8) -> Option<String> {
    let network = IpNet::new(address, length).ok()?;
    Some(network.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_is_looked_for_in_the_narrowest_that_holds_it() {
        for (network, held_by) in [
            ("192.0.2.7/32", Some("192.0.2.0/24")),
            ("192.0.2.128/25", Some("192.0.2.0/24")),
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("192.0.2.0/23", Some("192.0.0.0/16")),
            ("192.0.0.0/9", Some("192.0.0.0/8")),
            ("192.0.0.0/7", None),
            ("0.0.0.0/0", None),
            ("2001:db8::1/128", Some("2001:db8::/64")),
            ("2001:db8:1::/49", Some("2001:db8:1::/48")),
            ("2001:db8:1::/47", Some("2001:db8::/32")),
            ("2001:d00::/31", None),
        ] {
            let holding = holding(&network.parse().unwrap());
            assert_eq!(holding.as_deref(), held_by, "{network}");
        }
    }

    proptest! {
        /// Whatever is asked for, an address in it is found by what it is looked up by.
        #[test]
        fn no_address_of_a_network_is_passed_over(address in any::<IpAddr>(), length in 0_u8..=128) {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let network = IpNet::new(address, length.min(most)).unwrap().trunc();
            if let Some(held_by) = holding(&network) {
                prop_assert!(of(address).any(|one| one == held_by));
            }
        }
    }
}
