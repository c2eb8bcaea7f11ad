//! How many requests each host has open.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bound per host, so that one slow host takes neither all connections nor the dispatcher's time from the others.
pub(super) struct HostSlots {
    max: usize,
    in_flight: Mutex<HashMap<String, usize>>,
}

impl HostSlots {
    pub(super) fn new(max: usize) -> Self {
        Self { max, in_flight: Mutex::default() }
    }

    /// A slot until the guard is dropped; `None` when the host has no slot left.
    pub(super) fn take(&self, host: &str) -> Option<HostSlot<'_>> {
        let mut in_flight = self.lock();
        let count = in_flight.get(host).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        in_flight.insert(host.to_owned(), count + 1);
        Some(HostSlot { slots: self, host: host.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Every change below is a single step, so a panic elsewhere leaves nothing half done.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct HostSlot<'a> {
    slots: &'a HostSlots,
    host: String,
}

impl Drop for HostSlot<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.slots.lock();
        match in_flight.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(in_flight.remove(&self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_per_host_and_given_back() {
        let slots = HostSlots::new(2);
        let first = slots.take("a.example").unwrap();
        let second = slots.take("a.example").unwrap();
        assert!(slots.take("a.example").is_none());
        assert!(slots.take("b.example").is_some());
        drop(first);
        assert!(slots.take("a.example").is_some());
        drop(second);
        assert!(slots.lock().is_empty(), "a host that is idle takes no memory");
    }
}
