//! Inbound connections before their handshake: all that is known of them is an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::allowance::{Allowance, Rate};
use crate::limits::{NodeLimit, PeerLimits};

/// Addresses that are remembered; beyond that, those without a connection start afresh.
const ADDRESSES_MAX: usize = 10_000;

/// Who is connected from where.
#[derive(Clone)]
pub(crate) struct Connections {
    limits: PeerLimits,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    open: u32,
    addresses: HashMap<IpAddr, Address>,
}

struct Address {
    open: u32,
    allowance: Allowance,
}

/// The place of one connection, until it is dropped.
pub(crate) struct Place {
    address: IpAddr,
    table: Arc<Mutex<Table>>,
}

impl Connections {
    pub(crate) fn new(limits: PeerLimits) -> Self {
        Self { limits, table: Arc::default() }
    }

    /// A place for a connection from `address`.
    ///
    /// # Errors
    /// The bound that forbids it. Connections that have a place keep it.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> Result<Place, NodeLimit> {
        let address = network_of(address);
        let rate = Rate {
            burst: self.limits.connections_per_address_max,
            per_second: self.limits.connections_per_address_per_second,
        };
        let mut table = lock(&self.table);
        if table.addresses.len() >= ADDRESSES_MAX && !table.addresses.contains_key(&address) {
            table.addresses.retain(|_, known| known.open > 0 || !known.allowance.is_full(rate, now));
            if table.addresses.len() >= ADDRESSES_MAX {
                table.addresses.retain(|_, known| known.open > 0);
            }
        }
        let in_all = table.open;
        let known = table
            .addresses
            .entry(address)
            .or_insert_with(|| Address { open: 0, allowance: Allowance::full(rate, now) });
        if known.open >= self.limits.connections_per_address_max {
            return Err(NodeLimit::ConnectionsPerAddress);
        }
        if !known.allowance.take(rate, now) {
            return Err(NodeLimit::ConnectionRate);
        }
        if in_all >= self.limits.connections_max {
            return Err(NodeLimit::Connections);
        }
        known.open += 1;
        table.open += 1;
        Ok(Place { address, table: self.table.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.open = table.open.saturating_sub(1);
        if let Some(known) = table.addresses.get_mut(&self.address) {
            known.open = known.open.saturating_sub(1);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // Every change is a few additions that cannot fail in between.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one IPv6 address has its /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const LIMITS: PeerLimits = PeerLimits {
        connections_max: 5,
        connections_per_address_max: 3,
        connections_per_address_per_second: 1,
        without_channel_max: 1,
        onion_messages_per_second: 1,
        onion_messages_burst: 1,
    };

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn places_are_bounded_per_address_and_in_all_and_given_back() {
        let connections = Connections::new(LIMITS);
        let start = Instant::now();
        let mut first: Vec<_> = (0..3).map(|_| connections.admit(v4(1), start).ok()).collect();
        assert!(first.iter().all(Option::is_some));
        assert_eq!(connections.admit(v4(1), start).err(), Some(NodeLimit::ConnectionsPerAddress));
        let _second: Vec<_> = (0..2).map(|_| connections.admit(v4(2), start).ok().unwrap()).collect();
        assert_eq!(connections.admit(v4(3), start).err(), Some(NodeLimit::Connections));
        first.pop();
        let _third = connections.admit(v4(3), start).ok().unwrap();
        assert_eq!(connections.admit(v4(4), start).err(), Some(NodeLimit::Connections));
    }

    #[test]
    fn whoever_comes_and_goes_has_a_rate() {
        let connections = Connections::new(LIMITS);
        let start = Instant::now();
        for _ in 0..3 {
            drop(connections.admit(v4(1), start).ok().unwrap());
        }
        assert_eq!(connections.admit(v4(1), start).err(), Some(NodeLimit::ConnectionRate));
        assert!(connections.admit(v4(2), start).is_ok(), "others are not slowed down");
        let just_before = start + Duration::from_millis(999);
        assert_eq!(connections.admit(v4(1), just_before).err(), Some(NodeLimit::ConnectionRate));
        let later = start + Duration::from_secs(1);
        assert!(connections.admit(v4(1), later).is_ok());
        assert_eq!(connections.admit(v4(1), later).err(), Some(NodeLimit::ConnectionRate));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let address = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2:ffff::1"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), v4(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let connections = Connections::new(PeerLimits { connections_max: u32::MAX, ..LIMITS });
        let start = Instant::now();
        let address = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        let kept = connections.admit(address(0), start).ok().unwrap();
        for number in 1..=2 * ADDRESSES_MAX as u32 {
            drop(connections.admit(address(number), start));
        }
        let table = lock(&connections.table);
        assert!(table.addresses.len() <= ADDRESSES_MAX);
        assert_eq!(table.addresses.get(&kept.address).map(|known| known.open), Some(1));
        assert_eq!(table.open, 1);
    }
}
