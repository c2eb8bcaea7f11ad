//! A clock that stands until the simulator moves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use node::clock::Clock;
use tokio::sync::oneshot;

/// When a simulation begins, in seconds since 1970.
pub const START_UNIX: u64 = 1_800_000_000;

/// Timers fire at whole multiples of this: a timer may always fire late, and a world with fewer moments is a faster one.
const GRAIN: Duration = Duration::from_secs(2);

/// The pause between two attempts at a release (`lsp-server/src/payment/unblock.rs`). A hundred of them, for each release that waits
/// for its payee, were most of what a world cost: they are further apart here.
const RELEASE_RETRY: Duration = Duration::from_millis(50);
const RELEASE_RETRY_GRAIN: Duration = Duration::from_secs(40);

/// One process's clock; its timers die with it.
#[derive(Clone, Default)]
pub struct SimClock {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    now: Duration,
    serial: u64,
    timers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl SimClock {
    /// A clock at this time since the simulation began.
    pub fn at(now: Duration) -> Self {
        let clock = Self::default();
        clock.with(|state| state.now = now);
        clock
    }

    /// When the next timer fires.
    pub fn next_timer(&self) -> Option<Duration> {
        self.with(|state| {
            state.timers.retain(|_, timer| !timer.is_closed());
            state.timers.keys().next().map(|(due, _)| *due)
        })
    }

    /// How many tasks sleep.
    pub fn sleeping(&self) -> usize {
        self.with(|state| {
            state.timers.retain(|_, timer| !timer.is_closed());
            state.timers.len()
        })
    }

    /// Moves to a time, and fires what is due by then.
    pub fn advance_to(&self, now: Duration) {
        self.with(|state| {
            state.now = state.now.max(now);
            let later = state.timers.split_off(&(state.now + Duration::from_nanos(1), 0));
            for (_, timer) in std::mem::replace(&mut state.timers, later) {
                // A task that is gone needs no waking.
                let _ = timer.send(());
            }
        });
    }

    fn with<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for SimClock {
    fn now_unix(&self) -> u64 {
        self.with(|state| START_UNIX + state.now.as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.with(|state| state.now)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (timer, fired) = oneshot::channel();
        self.with(|state| {
            let grain = if duration == RELEASE_RETRY { RELEASE_RETRY_GRAIN } else { GRAIN };
            let grains = (state.now + duration).as_millis().div_ceil(grain.as_millis());
            let due = grain * u32::try_from(grains).unwrap_or(u32::MAX);
            state.serial += 1;
            let serial = state.serial;
            state.timers.insert((due, serial), timer);
        });
        Box::pin(async move {
            if fired.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
