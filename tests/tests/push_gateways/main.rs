//! The gateways of `notifier` against strict fakes of Apple's and Google's services.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod apns;
mod fcm;
mod strict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use notifier::{
    Ambient, GatewayKind, ProviderClient, ProviderClientConfig, Push, PushTarget, RootCertificates, WakeId,
};
use tests::fakes::Clock;
use tests::fakes::authority::Authority;

/// When the tests begin, in seconds since 1970.
const START: u64 = 1_790_000_000;

/// A clock that the test moves, for client and fake alike.
#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn ambient(&self) -> Ambient {
        let clock = self.clone();
        Ambient::new(move || clock.now(), || [7; 32])
    }

    fn fake(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

fn client(authority: &Authority) -> ProviderClient {
    client_with_timeout(authority, Duration::from_secs(9))
}

fn client_with_timeout(authority: &Authority, timeout: Duration) -> ProviderClient {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let extra_root_certificates = RootCertificates::from_pem(authority.pem().as_bytes()).unwrap();
    let config = ProviderClientConfig { timeout, extra_root_certificates, ..ProviderClientConfig::default() };
    ProviderClient::new(&config).unwrap()
}

fn push(clock: &TestClock) -> Push {
    Push::new("payment_incoming", WakeId([7; 16]), clock.now() + 600).unwrap().collapsing_as(WakeId([8; 16]))
}

fn target(kind: GatewayKind, token: &str) -> PushTarget {
    PushTarget { registered_at: START, ..PushTarget::new(kind, token) }
}
