//! New blocks: wakes that have been tried for minutes are tried again with each ([`protocol::wake`]). Many of them are spread, so
//! that one block is no storm.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use protocol::wake::BLOCK_HURRY_SECONDS;
use storage::StorageError;

use super::Waker;
use super::in_flight::{InFlight, meanwhile};
use crate::store::wakes;

/// The wakes of one block come over so many seconds at most, however many there are: half the time to the next block.
const SPREAD_SECONDS_MAX: u64 = 300;

/// What has come of blocks so far.
#[derive(Default)]
pub(super) struct Blocks {
    heard: AtomicBool,
    /// When wakes were last hurried, in seconds since 1970.
    hurried_at_unix: AtomicU64,
    hurrying: Mutex<Option<Hurrying>>,
}

/// A block whose wakes are being hurried, a transaction's worth after another.
#[derive(Clone, Copy)]
struct Hurrying {
    heard_at_unix: u64,
    /// What is due until then was hurried, or is not to be.
    after_unix: u64,
    /// Transactions so far: the wakes of each come a second later.
    pages: u64,
}

impl Blocks {
    fn now(&self) -> Option<Hurrying> {
        *self.hurrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, hurrying: Option<Hurrying>) {
        *self.hurrying.lock().unwrap_or_else(PoisonError::into_inner) = hurrying;
    }

    /// The block that wakes are to be hurried for now, if there is one. Of several within a minute it is the first, and once
    /// more one for all others.
    fn due(&self, now_unix: u64) -> Option<Hurrying> {
        if let Some(hurrying) = self.now() {
            return Some(hurrying);
        }
        let hurried_at = self.hurried_at_unix.load(Ordering::Relaxed);
        // A clock that was set back delays no block for longer.
        let too_soon = (hurried_at..hurried_at.saturating_add(BLOCK_HURRY_SECONDS)).contains(&now_unix);
        if too_soon || !self.heard.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.hurried_at_unix.store(now_unix, Ordering::Relaxed);
        Some(Hurrying { heard_at_unix: now_unix, after_unix: 0, pages: 0 })
    }
}

impl Waker {
    /// LDK has seen a new block: whoever has been woken in vain for minutes is woken again.
    pub fn on_block(&self) {
        self.blocks.heard.store(true, Ordering::Relaxed);
        self.nudge();
    }

    /// One transaction's worth of the wakes that a block hurries. Answers whether there was a block.
    pub(super) async fn hurry_some(&self, in_flight: &mut InFlight<'_>) -> Result<bool, StorageError> {
        let now_unix = self.clock.now_unix();
        let Some(block) = self.blocks.due(now_unix) else { return Ok(false) };
        // If this fails, the same is done again.
        self.blocks.set(Some(block));
        let due_at = block.heard_at_unix + block.pages.min(SPREAD_SECONDS_MAX);
        let hurried = self.database.submit("hurry_wakes", move |tx| {
            Box::pin(wakes::hurry(tx, block.heard_at_unix, now_unix, due_at, block.after_unix))
        });
        let rest = meanwhile(in_flight, hurried).await?;
        self.blocks.set(rest.map(|after_unix| Hurrying { after_unix, pages: block.pages + 1, ..block }));
        Ok(true)
    }
}
