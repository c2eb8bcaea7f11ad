//! Forgets what is over, so that no table and no map grows for ever.

use std::sync::Arc;
use std::time::Duration;

use super::{Payments, lock};
use crate::limits::ServerLimit;
use crate::store::{StoreError, parts, retention};
use crate::{limits, logging};

/// How often what is over is looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// Holds that one transaction forgets.
const FORGOTTEN_BATCH_MAX: u32 = 200;

/// How often the parts in memory are compared with the table, in rounds of [`TIDY_INTERVAL`]: once a day.
const KNOWN_PARTS_ROUNDS: u32 = 1_440;

/// Twice the 2016 blocks that an HTLC can live at most, in seconds.
pub(super) const KNOWN_PARTS_SECS: u64 = 2 * 2_016 * 600;

const DAY_SECS: u64 = 24 * 3_600;

impl Payments {
    /// Tidies for ever; takes no input and is idempotent.
    pub async fn run_tidy(self: Arc<Self>) {
        let mut rounds: u32 = 0;
        loop {
            self.clock.sleep(TIDY_INTERVAL).await;
            rounds = rounds.wrapping_add(1);
            let known_parts = if rounds.is_multiple_of(KNOWN_PARTS_ROUNDS) {
                self.forget_old_parts().await
            } else {
                Ok(())
            };
            let forgotten = self.forget_ended_holds().await;
            for outcome in [known_parts, forgotten.map(drop)] {
                if let Err(error) = outcome {
                    tracing::error!(%error, "what is over could not be forgotten");
                }
            }
            let left_out = logging::lines_left_out();
            if left_out > 0 {
                let limit = limits::Limit::from(ServerLimit::LogLines).as_str();
                tracing::warn!(limit, left_out, "log lines that strangers caused were left out");
            }
        }
    }

    /// One pass: forgets the holds that ended long ago and cannot be asked for again. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_ended_holds(&self) -> Result<u64, StoreError> {
        let before_unix = self.clock.now_unix().saturating_sub(self.limits.ended_days_kept * DAY_SECS);
        let mut forgotten = 0;
        loop {
            let height = self.node.height();
            let batch = self.db.submit("forget_ended_holds", move |tx| {
                Box::pin(retention::forget_ended_holds(tx, before_unix, height, FORGOTTEN_BATCH_MAX))
            });
            let batch = batch.await?;
            forgotten += batch;
            if batch < u64::from(FORGOTTEN_BATCH_MAX) {
                break;
            }
        }
        if forgotten > 0 {
            tracing::info!(forgotten, "holds that ended long ago are forgotten");
        }
        Ok(forgotten)
    }

    /// No HTLC outlives LDK's `CLTV_FAR_FAR_AWAY`, so parts of holds that ended longer ago are history.
    async fn forget_old_parts(&self) -> Result<(), StoreError> {
        let before = lock(&self.known_parts).clone();
        let since_unix = self.clock.now_unix().saturating_sub(KNOWN_PARTS_SECS);
        let recent = self
            .db
            .read("recent_parts", move |tx| Box::pin(parts::ids_updated_since(tx, since_unix)))
            .await?;
        let recent: std::collections::HashSet<_> = recent.into_iter().collect();
        // What came while the table was read is recent too.
        lock(&self.known_parts).retain(|id| recent.contains(id) || !before.contains(id));
        Ok(())
    }
}
