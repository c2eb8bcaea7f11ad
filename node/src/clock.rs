//! Time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the wall clock comes from.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970, UTC.
    fn now_unix(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}
