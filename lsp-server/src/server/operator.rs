//! What an operator asks for.

use std::sync::Arc;

use protocol::api::admin::{HoldDetail, HoldSummary, HoldsCheck};
use protocol::ids::{Pid, PidHash};
use storage::ReadTx;

use super::Server;
use crate::damage::Damage;
use crate::error::ServerError;
use crate::store::holds::{self, HoldRow};
use crate::store::{StoreError, pending};

/// Holds that `holds list` shows.
const HOLDS_LISTED_MAX: u32 = 1_000;

impl Server {
    /// The newest holds, live ones only unless `include_ended`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holds(&self, include_ended: bool) -> Result<Vec<HoldSummary>, ServerError> {
        let summaries = self
            .db
            .read("holds", move |tx| {
                Box::pin(async move {
                    let rows = if include_ended {
                        holds::newest(tx, HOLDS_LISTED_MAX).await?
                    } else {
                        holds::live(tx).await?.rows
                    };
                    let mut summaries = Vec::with_capacity(rows.len());
                    for row in rows {
                        let kept = pending::is_kept(tx, row.hold_id).await?;
                        summaries.push(HoldSummary::new(&row.hold, row.created_at, kept));
                    }
                    Ok::<_, StoreError>(summaries)
                })
            })
            .await?;
        Ok(summaries)
    }

    /// The holds of this pid hash: one, unless two payers chose the same.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold(&self, pid_hash: PidHash) -> Result<Vec<HoldDetail>, ServerError> {
        let rows = self.rows_of(pid_hash).await?;
        let mut details = Vec::with_capacity(rows.len());
        for (row, kept) in rows {
            let mut detail = HoldDetail::new(&row.hold, row.created_at, kept);
            detail.release_latency_micros = self.payments.release_latency_micros(pid_hash);
            details.push(detail);
        }
        Ok(details)
    }

    async fn rows_of(&self, pid_hash: PidHash) -> Result<Vec<(HoldRow, bool)>, StoreError> {
        self.db
            .read("holds_by_pid_hash", move |tx: &mut ReadTx| {
                Box::pin(async move {
                    let mut rows = Vec::new();
                    for row in holds::find_by_pid_hash(tx, pid_hash).await? {
                        let kept = pending::is_kept(tx, row.hold_id).await?;
                        rows.push((row, kept));
                    }
                    Ok(rows)
                })
            })
            .await
    }

    /// Compares the database with LDK now, and says what they did not agree on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check_holds(&self) -> Result<HoldsCheck, ServerError> {
        Ok(self.payments.check().await?)
    }

    /// What the last look through the tables found.
    pub fn damage(&self) -> &Arc<Damage> {
        &self.damage
    }

    /// What an operator should look at now, in words.
    pub fn alarms(&self) -> Vec<String> {
        let chain = self.node.chain_health().trouble.map(|trouble| format!("the chain: {trouble}"));
        let damaged = self
            .damage
            .found()
            .summary()
            .map(|found| format!("damaged rows are set aside ({found}); `lsp-server doctor` names them"));
        let left_out = self.left_out.iter().map(|mistake| format!("a push provider is left out: {mistake}"));
        chain
            .into_iter()
            .chain(damaged)
            .chain(self.payments.alarms())
            .chain(left_out)
            .chain(self.waker.alarms())
            .collect()
    }

    /// Unblocks as if the payee had.
    ///
    /// # Errors
    /// [`ServerError::NoSuchHold`] when the pid releases nothing here.
    pub async fn release_hold(&self, pid: Pid) -> Result<(), ServerError> {
        if self.payments.unblock(pid).await? { Ok(()) } else { Err(ServerError::NoSuchHold) }
    }

    /// Fails a hold back to its payer, unless it is released.
    ///
    /// # Errors
    /// [`ServerError::NoSuchHold`], or [`ServerError::Hold`] when it is released already.
    pub async fn cancel_hold(&self, pid_hash: PidHash) -> Result<(), ServerError> {
        let rows = self.rows_of(pid_hash).await?;
        if rows.is_empty() {
            return Err(ServerError::NoSuchHold);
        }
        for (row, _) in rows {
            if row.hold.group().is_committed() {
                return Err(protocol::hold::StepError::CancelTooLate.into());
            }
            self.payments.cancel_hold(row.hold.group().terms.payer, pid_hash).await?;
        }
        Ok(())
    }
}
