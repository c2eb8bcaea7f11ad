//! Time and entropy, which gateways are given.

use std::fmt;
use std::sync::Arc;

/// Where a gateway has the time and random bytes from.
#[derive(Clone)]
pub struct Ambient {
    now_unix: Arc<dyn Fn() -> u64 + Send + Sync>,
    fresh_bytes: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

impl Ambient {
    /// `now_unix` answers in seconds since 1970, `fresh_bytes` with random bytes that nobody can guess.
    pub fn new(
        now_unix: impl Fn() -> u64 + Send + Sync + 'static,
        fresh_bytes: impl Fn() -> [u8; 32] + Send + Sync + 'static,
    ) -> Self {
        Self { now_unix: Arc::new(now_unix), fresh_bytes: Arc::new(fresh_bytes) }
    }

    pub(crate) fn now_unix(&self) -> u64 {
        (self.now_unix)()
    }

    pub(crate) fn fresh_bytes(&self) -> [u8; 32] {
        (self.fresh_bytes)()
    }

    /// A clock that stands still, and bytes that are always the same.
    #[cfg(test)]
    pub(crate) fn fixed(now_unix: u64) -> Self {
        Self::new(move || now_unix, || [7; 32])
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ambient")
    }
}
