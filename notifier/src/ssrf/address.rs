//! Which addresses a stranger's URL may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressPolicy {
    /// Addresses of the public internet, over https.
    PublicOnly,
    /// Anything: for development.
    Any,
}

impl AddressPolicy {
    pub(crate) fn new(allow_private_addresses: bool) -> Self {
        if allow_private_addresses { Self::Any } else { Self::PublicOnly }
    }

    pub(crate) fn allows(self, address: IpAddr) -> bool {
        self == Self::Any || is_public(address)
    }
}

/// Whether the address is globally reachable unicast, by the IANA special-purpose registries (RFC 6890 and its
/// successors). An IPv6 address that stands for an IPv4 one is judged as that one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |a, b, c, d, prefix_bits| {
        let mask = u32::MAX << (32 - prefix_bits);
        u32::from(address) & mask == u32::from(Ipv4Addr::new(a, b, c, d))
    };
    !(within(0, 0, 0, 0, 8) // this network
        || within(10, 0, 0, 0, 8) // private
        || within(100, 64, 0, 0, 10) // carrier-grade NAT
        || within(127, 0, 0, 0, 8) // loopback
        || within(169, 254, 0, 0, 16) // link-local, and the metadata services of clouds
        || within(172, 16, 0, 0, 12) // private
        || within(192, 0, 0, 0, 24) // protocol assignments
        || within(192, 0, 2, 0, 24) // documentation
        || within(192, 88, 99, 0, 24) // 6to4 relays
        || within(192, 168, 0, 0, 16) // private
        || within(198, 18, 0, 0, 15) // benchmarks
        || within(198, 51, 100, 0, 24) // documentation
        || within(203, 0, 113, 0, 24) // documentation
        || within(224, 0, 0, 0, 4) // multicast
        || within(240, 0, 0, 0, 4)) // reserved, and broadcast
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let embedded = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] => return is_public_v4(embedded), // v4-mapped
        [0x64, 0xff9b, 0, 0, 0, 0] => return is_public_v4(embedded), // NAT64, RFC 6052
        _ => {}
    }
    // Only 2000::/3 is global unicast at all; loopback, unique local, link-local, multicast, v4-compatible and local
    // NAT64 prefixes lie outside.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x0200) // protocol assignments: Teredo, ORCHID, benchmarks
        && !(a == 0x2001 && b == 0x0db8) // documentation
        && a != 0x2002 // 6to4: carries an IPv4 address
        && !(a == 0x3fff && b < 0x1000) // documentation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn special_addresses_are_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::1.1.1.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1.1.1.1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    proptest! {
        /// No way to write an IPv4 address in IPv6 makes it more reachable than it is.
        #[test]
        fn embedding_changes_nothing(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let nat64 = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            prop_assert_eq!(is_public(IpAddr::V6(v4.to_ipv6_mapped())), is_public(IpAddr::V4(v4)));
            prop_assert_eq!(is_public(IpAddr::V6(nat64)), is_public(IpAddr::V4(v4)));
            prop_assert!(!is_public(IpAddr::V6(Ipv6Addr::from(u128::from(bits)))));
        }

        #[test]
        fn what_the_standard_library_calls_special_is_not_public(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!(special && is_public(IpAddr::V4(v4))));
        }
    }
}
