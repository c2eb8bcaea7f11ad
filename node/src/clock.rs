//! Time as a parameter.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

/// What the default [`Clock::elapsed`] counts from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970, UTC. May jump.
    fn now_unix(&self) -> u64;

    /// Time since a moment that does not change while the process runs. Never goes back.
    fn elapsed(&self) -> Duration {
        START.elapsed()
    }

    /// Resolves once this much time has passed. Must be called within a tokio runtime.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}
