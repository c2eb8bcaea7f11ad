//! Phones that must come, hold or no hold: an unresolved HTLC on the channel of a sleeping phone closes that channel in the
//! end, and an unblocked payment that its payee does not fetch goes back. LDK lists the former, the holds say the latter; this task
//! sees to it that each has a wake, and that no wake outlives its reason.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use node::{ChannelCarry, PendingState, SleepingHtlc, SleepingSide};
use protocol::deadline::{EXPIRY_SOON_BLOCKS, settle_window};
use protocol::hold::Hold;
use protocol::units::BlockHeight;
use protocol::wake::WakeReason;
use storage::{ReadTx, Tx};

use super::closes::OUTBOUND_GRACE_BLOCKS;
use super::payee::payee_group;
use super::step::BLOCK_SECS;
use super::{Payments, lock};
use crate::store::wakes::{self, NewWake};
use crate::store::{StoreError, holds, parts};

/// How often LDK's list is looked at.
const SLEEPERS_SCAN_INTERVAL: Duration = Duration::from_secs(5);

/// Wakes opened or ended in one transaction.
const SLEEPERS_BATCH_MAX: usize = 200;

impl Payments {
    /// Rescans for ever; takes no input and is idempotent.
    pub async fn run_sleepers(self: Arc<Self>) {
        loop {
            self.clock.sleep(SLEEPERS_SCAN_INTERVAL).await;
            self.db.out_of_trouble().await;
            if let Err(error) = self.wake_sleepers().await {
                tracing::error!(%error, "phones with unresolved HTLCs were not woken");
            }
        }
    }

    /// One pass: opens the wakes that LDK's list asks for, and ends the others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_sleepers(&self) -> Result<(), StoreError> {
        let sleeping = self.node.sleeping_htlcs();
        let height = self.node.cautious_height();
        self.watch_closes(&sleeping, height);
        let now_unix = self.clock.now_unix();
        let (mut needed, open, moving) = self
            .db
            .read("sleepers", move |tx| {
                Box::pin(async move {
                    let needed = needed(tx, sleeping, height, now_unix).await?;
                    let open = wakes::open_without_hold(tx).await?;
                    Ok::<_, StoreError>((needed, open, holds::moving(tx, height).await?))
                })
            })
            .await?;
        for row in &moving.rows {
            needed.extend(self.awaited_payees(&row.hold, height, now_unix));
        }
        let keys: HashSet<_> = needed.iter().map(|wake| (wake.node_id, wake.group, wake.reason)).collect();
        let over: Vec<_> = open.into_iter().filter(|key| !keys.contains(key)).collect();
        let mut woke = false;
        for batch in needed.chunks(SLEEPERS_BATCH_MAX) {
            let batch = batch.to_vec();
            let opened = self.db.submit("wake_sleepers", move |tx| Box::pin(open_all(tx, batch)));
            woke |= opened.await?;
        }
        for batch in over.chunks(SLEEPERS_BATCH_MAX) {
            let (batch, payees) = (batch.to_vec(), self.payees.clone());
            let ended = self.db.submit("end_wakes_of_sleepers", move |tx| {
                Box::pin(async move {
                    for (node_id, group, reason) in batch {
                        // An HTLC without a hold may wait for it by now: it takes its place before it opens its wake.
                        let is_awaited =
                            reason == WakeReason::PaymentIncoming && lock(&payees).contains_key(&node_id);
                        if !is_awaited {
                            wakes::end(tx, node_id, group, reason).await?;
                        }
                    }
                    Ok::<_, StoreError>(())
                })
            });
            ended.await?;
        }
        if woke {
            self.waker.nudge();
        }
        Ok(())
    }

    /// The payees that a hold waits for, and for nothing else: its pid came, and they are clients of this LSP that have left before
    /// they could be paid, or never were here. Another node is no sleeper, and who could not be paid here is not called.
    fn awaited_payees(&self, hold: &Hold, height: BlockHeight, now_unix: u64) -> Vec<NewWake> {
        let Hold::Unblocked(group) = hold else { return Vec::new() };
        let blocks_left = height.blocks_until(group.terms.deadline);
        let lacking = lock(&self.routes).lacking(&*self.node, hold);
        let is_of_client = |carry: &ChannelCarry| {
            let channels = self.node.channels_with(carry.peer);
            let channel = channels.iter().find(|channel| channel.channel_id == carry.channel_id);
            channel.is_some_and(|channel| !channel.is_announced && !channel.is_shutting_down)
        };
        let awaited =
            lacking.iter().filter(|carry| !self.node.is_connected(carry.peer) && is_of_client(carry));
        let hashes: HashSet<_> = group.held().map(|part| part.payment_hash).collect();
        awaited
            .flat_map(|carry| hashes.iter().map(|hash| (carry.peer, *hash)))
            .map(|(peer, payment_hash)| NewWake {
                node_id: peer,
                reason: WakeReason::PaymentIncoming,
                group: payee_group(peer, payment_hash),
                expires_at_unix: now_unix + u64::from(blocks_left.max(1)) * BLOCK_SECS,
                now_unix,
            })
            .collect()
    }
}

async fn open_all(tx: &mut Tx, batch: Vec<NewWake>) -> Result<bool, StoreError> {
    let mut opened = false;
    for wake in &batch {
        opened |= wakes::ensure_open(tx, wake).await?;
    }
    Ok(opened)
}

/// The wakes that the sleeping HTLCs ask for now.
async fn needed(
    tx: &mut ReadTx,
    sleeping: Vec<SleepingHtlc>,
    height: BlockHeight,
    now_unix: u64,
) -> Result<Vec<NewWake>, StoreError> {
    let mut needed = Vec::new();
    for htlc in sleeping {
        let (reasons, blocks_left) = match htlc.side {
            SleepingSide::Outbound => {
                let closes_at = htlc.expiry.plus(OUTBOUND_GRACE_BLOCKS);
                (vec![WakeReason::PaymentIncoming], height.blocks_until(closes_at))
            }
            SleepingSide::Inbound { state: PendingState::Committed, .. } => continue,
            SleepingSide::Inbound { intercept_id, state } => {
                if parts::is_under_live_hold(tx, intercept_id).await? {
                    continue;
                }
                (reasons(state, htlc.expiry, height), settle_window(htlc.expiry, height))
            }
        };
        needed.extend(reasons.into_iter().map(|reason| NewWake {
            node_id: htlc.peer,
            reason,
            group: payee_group(htlc.peer, htlc.payment_hash),
            // LDK decides when it is too late; until it has, the phone is worth waking.
            expires_at_unix: now_unix + u64::from(blocks_left.max(1)) * BLOCK_SECS,
            now_unix,
        }));
    }
    Ok(needed)
}

fn reasons(state: PendingState, expiry: BlockHeight, height: BlockHeight) -> Vec<WakeReason> {
    let mut reasons = match state {
        PendingState::AwaitingRemoveFulfill => vec![WakeReason::PaymentSettled],
        PendingState::AwaitingRemoveFail => vec![WakeReason::PaymentFailed],
        PendingState::Committed => Vec::new(),
    };
    if !reasons.is_empty() && settle_window(expiry, height) <= EXPIRY_SOON_BLOCKS {
        reasons.push(WakeReason::ExpirySoon);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_escalate_as_the_expiry_nears() {
        let settled = PendingState::AwaitingRemoveFulfill;
        let expiry = BlockHeight(1_000);
        assert_eq!(reasons(settled, expiry, BlockHeight(900)), [WakeReason::PaymentSettled]);
        let late = BlockHeight(1_000 - 36 - EXPIRY_SOON_BLOCKS);
        assert_eq!(reasons(settled, expiry, late), [WakeReason::PaymentSettled, WakeReason::ExpirySoon]);
        let failed = reasons(PendingState::AwaitingRemoveFail, expiry, BlockHeight(990));
        assert_eq!(failed, [WakeReason::PaymentFailed, WakeReason::ExpirySoon]);
        assert!(reasons(PendingState::Committed, expiry, BlockHeight(999)).is_empty());
    }
}
