//! The pid has come.

use std::sync::Arc;
use std::time::Duration;

use node::{ForwardVerdict, ForwardedOnion};
use protocol::hold::HoldEvent;
use protocol::ids::{Pid, PidHash};

use super::step::Select;
use super::{Payments, lock};
use crate::limits::{self, ServerLimit};
use crate::metrics::names;
use crate::store::{StoreError, holds, pending};

/// While a next hop's channel comes up, a released hold is tried again at this pace ...
const RELEASE_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// ... this often, before it is left to the rescan.
const RELEASE_RETRIES_MAX: u32 = 100;

/// The payer's packet was forwarded as it came; it is sent again after this long without an answer.
pub(super) const PENDING_FIRST_RETRY_SECS: u64 = 10;

impl Payments {
    /// A message that passes through carries one of our fields. Synchronous: LDK's delivering thread waits.
    pub fn on_forwarding(self: &Arc<Self>, seen: ForwardedOnion) -> ForwardVerdict {
        let arrived = self.clock.elapsed();
        if let Some(pid) = seen.payment_unblock {
            match self.unblocks.clone().try_acquire_owned() {
                Ok(place) => {
                    let this = self.clone();
                    self.tasks.spawn(async move {
                        if let Err(error) = this.unblock_since(pid, arrived).await {
                            tracing::error!(%error, "an unblock was not recorded; the payee repeats it");
                        }
                        drop(place);
                    });
                }
                Err(_) => limits::refused(ServerLimit::Unblocks, Some(seen.previous_hop)),
            }
            // An unblock ends here unless the payer is here to see it: it is no reason to wake anybody.
            let payer_is_here = seen.next_hop.is_some_and(|payer| self.node.is_connected(payer));
            return if payer_is_here { ForwardVerdict::Forward } else { ForwardVerdict::Consume };
        }
        if let (Some(pid_hash), Some(next_hop), Some(message)) =
            (seen.payment_pending_for, seen.next_hop, seen.outgoing)
        {
            if message.len() > self.limits.pending_bytes_max {
                limits::refused(ServerLimit::PendingMessageBytes, Some(seen.previous_hop));
            } else {
                self.keep_pending(pid_hash, next_hop, message);
            }
        }
        ForwardVerdict::Forward
    }

    /// Releases what this pid releases. An unknown pid changes nothing, and gives `false`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unblock(self: &Arc<Self>, pid: Pid) -> Result<bool, StoreError> {
        self.unblock_since(pid, self.clock.elapsed()).await
    }

    async fn unblock_since(self: &Arc<Self>, pid: Pid, arrived: Duration) -> Result<bool, StoreError> {
        let pid_hash = pid.hash();
        storage::crash_point!("unblock_seen");
        let known = self
            .db
            .read("holds_by_pid_hash", move |tx| Box::pin(holds::live_ids_by_pid_hash(tx, pid_hash)))
            .await?;
        if known.is_empty() {
            // Nobody can guess a pid; a payee repeats its own after the end.
            names::UNKNOWN_UNBLOCKS.add(1, &[]);
            tracing::debug!(%pid_hash, "an unblock for no live hold");
            return Ok(false);
        }
        // The payee repeats it; what is repeated must not pile up in front of the disk.
        self.writable()?;
        let stepped = self.submit_step("unblock", Select::PidHash(pid_hash), HoldEvent::Unblocked).await?;
        storage::crash_point!("unblock_stored");
        let mut waiting = false;
        for stepped in stepped {
            waiting |= stepped.forward.is_empty() && stepped.ended.is_none();
            self.act(stepped, Some(arrived));
        }
        if waiting {
            self.retry_release(pid_hash, arrived);
        }
        Ok(true)
    }

    /// A payee that has just connected may not have its channel up yet. However often it repeats its unblock, one task tries.
    fn retry_release(self: &Arc<Self>, pid_hash: PidHash, arrived: Duration) {
        if !lock(&self.retrying).insert(pid_hash) {
            return;
        }
        let this = self.clone();
        self.tasks.spawn_waiting(async move {
            for _ in 0..RELEASE_RETRIES_MAX {
                this.clock.sleep(RELEASE_RETRY_INTERVAL).await;
                match this.try_release(pid_hash, arrived).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(%error, "a release could not be tried");
                        break;
                    }
                }
            }
            lock(&this.retrying).remove(&pid_hash);
        });
    }

    /// True when nothing is left to release.
    async fn try_release(self: &Arc<Self>, pid_hash: PidHash, arrived: Duration) -> Result<bool, StoreError> {
        let rows = self
            .db
            .read("holds_by_pid_hash", move |tx| Box::pin(holds::find_by_pid_hash(tx, pid_hash)))
            .await?;
        let mut over = true;
        for row in rows {
            if row.hold.group().held().next().is_none() {
                continue;
            }
            let mut released = false;
            if self.could_release(&row.hold) {
                let event = HoldEvent::HeightAdvanced;
                for stepped in self.submit_step("release", Select::Hold(row.hold_id), event).await? {
                    released |= !stepped.forward.is_empty();
                    self.act(stepped, Some(arrived));
                }
            }
            over &= released;
        }
        Ok(over)
    }

    /// Takes a payment_pending into our care, if it belongs to a hold that waits for its unblock.
    fn keep_pending(&self, pid_hash: PidHash, next_hop: bitcoin::secp256k1::PublicKey, message: Vec<u8>) {
        storage::crash_point!("before_pending_queued");
        let now_unix = self.clock.now_unix();
        let due_at = now_unix + PENDING_FIRST_RETRY_SECS;
        let commit = self.db.submit("keep_pending", move |tx| {
            Box::pin(async move {
                let holds = holds::waiting_ids_by_pid_hash(tx, pid_hash).await?;
                for hold_id in &holds {
                    pending::keep(tx, *hold_id, next_hop, &message, due_at, now_unix).await?;
                }
                Ok::<_, StoreError>(!holds.is_empty())
            })
        });
        self.tasks.spawn(async move {
            match commit.await {
                Ok(false) => tracing::debug!(%pid_hash, "a payment_pending for no hold that waits"),
                Ok(true) => {
                    storage::crash_point!("pending_kept");
                    tracing::info!(%pid_hash, %next_hop, "payment_pending is in our care");
                }
                Err(error) => {
                    tracing::error!(%pid_hash, %error, "payment_pending was not kept; the payer asks")
                }
            }
        });
    }
}
