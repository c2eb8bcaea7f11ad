//! Holds against LDK's list of pending HTLCs: the task that moves every hold to its end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use node::{PendingInboundHtlc, PendingState};
use protocol::hold::{Hold, HoldEvent, Part, PartState};

use super::step::Select;
use super::{Payments, lock};
use crate::store::holds::{self, HoldRow};
use crate::store::{StoreError, parts};

/// The longest pause between two rescans; every event of a channel or a peer asks for one at once.
const RESCAN_INTERVAL: Duration = Duration::from_secs(1);

/// A part that LDK does not list may be between two of its maps: it counts as gone after this many rescans.
const MISSING_SCANS_MIN: u32 = 2;

/// Twice the 2016 blocks that an HTLC can live at most, in seconds.
const KNOWN_PARTS_SECS: u64 = 2 * 2_016 * 600;

/// A payer's channels as LDK lists them at one moment.
struct PayerChannels {
    pending: HashMap<InterceptId, PendingInboundHtlc>,
    channel_ids: HashSet<ChannelId>,
}

impl Payments {
    /// Steps every live hold with `Restarted`: what was decided before a crash is done again. Before LDK's events start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restart(self: &Arc<Self>) -> Result<(), StoreError> {
        let rows: Vec<HoldRow> = self.db.read("holds_live", |tx| Box::pin(holds::live(tx))).await?;
        tracing::info!(live_holds = rows.len(), "holds loaded");
        self.load_known_parts().await?;
        for row in rows {
            let stepped =
                self.submit_step("restarted", Select::Hold(row.hold_id), HoldEvent::Restarted).await?;
            stepped.into_iter().for_each(|stepped| self.act(stepped, None));
        }
        Ok(())
    }

    /// No HTLC outlives LDK's `CLTV_FAR_FAR_AWAY`, so parts of holds that ended longer ago are history.
    async fn load_known_parts(&self) -> Result<(), StoreError> {
        let since_unix = self.clock.now_unix().saturating_sub(KNOWN_PARTS_SECS);
        let ids = self
            .db
            .read("recent_parts", move |tx| Box::pin(parts::ids_updated_since(tx, since_unix)))
            .await?;
        *lock(&self.known_parts) = ids.into_iter().collect();
        Ok(())
    }

    /// Rescans for ever; takes no input and is idempotent.
    pub async fn run_reconcile(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.rescan.notified() => {},
                () = self.clock.sleep(RESCAN_INTERVAL) => {},
            }
            if let Err(error) = self.reconcile().await {
                tracing::error!(%error, "holds cannot be compared with LDK");
            }
        }
    }

    /// One pass: compares every live hold with LDK's list, and steps those that differ or that a new block concerns. What
    /// follows from that is done by tasks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile(self: &Arc<Self>) -> Result<(), StoreError> {
        let height = self.node.height();
        let height_advanced = *lock(&self.reconciled_at) != Some(height);
        let rows: Vec<HoldRow> = self.db.read("holds_live", |tx| Box::pin(holds::live(tx))).await?;
        let mut payers: HashMap<PublicKey, PayerChannels> = HashMap::new();
        let mut seen = HashSet::new();
        for row in &rows {
            let payer = row.hold.group().terms.payer;
            let channels = payers.entry(payer).or_insert_with(|| self.payer_channels(payer));
            if height_advanced {
                self.step_and_act("height_advanced", Select::Hold(row.hold_id), HoldEvent::HeightAdvanced);
            }
            for part in row.hold.group().parts.iter().filter(|part| part.is_live()) {
                seen.insert(part.intercept_id);
                if let Some(event) = self.compare(part, channels) {
                    self.step_and_act("reconciled", Select::Hold(row.hold_id), event);
                }
            }
            if self.could_release(&row.hold) {
                self.step_and_act("release", Select::Hold(row.hold_id), HoldEvent::HeightAdvanced);
            }
        }
        lock(&self.missing).retain(|id, _| seen.contains(id));
        // An id that no live hold has and no payer's channel lists is history.
        let is_pending = |id| payers.values().any(|channels| channels.pending.contains_key(&id));
        lock(&self.routes).retain_told(|id| seen.contains(&id) || is_pending(id));
        *lock(&self.reconciled_at) = Some(height);
        Ok(())
    }

    fn payer_channels(&self, payer: PublicKey) -> PayerChannels {
        PayerChannels {
            // The channels first: an HTLC that appears in between is of a channel that is known.
            channel_ids: self.node.channels_with(payer).iter().map(|channel| channel.channel_id).collect(),
            pending: self
                .node
                .pending_inbound_htlcs(payer)
                .into_iter()
                .map(|htlc| (htlc.intercept_id, htlc))
                .collect(),
        }
    }

    /// What LDK's list says of a part that its own state does not.
    fn compare(&self, part: &Part, channels: &PayerChannels) -> Option<HoldEvent> {
        let id = part.intercept_id;
        if let Some(htlc) = channels.pending.get(&id) {
            lock(&self.missing).remove(&id);
            return match (part.state, htlc.state) {
                (PartState::Held, PendingState::Committed) if htlc.channel_is_shutting_down => {
                    Some(HoldEvent::PayerChannelClosing(htlc.channel_id))
                }
                (PartState::Claimed, PendingState::AwaitingRemoveFulfill)
                | (PartState::FailedBack(_), PendingState::AwaitingRemoveFail)
                | (_, PendingState::Committed) => None,
                (_, PendingState::AwaitingRemoveFulfill) => Some(HoldEvent::PartClaimed(id)),
                (_, PendingState::AwaitingRemoveFail) => Some(HoldEvent::PartFailedBack(id)),
            };
        }
        {
            let mut missing = lock(&self.missing);
            let scans = missing.entry(id).or_default();
            *scans += 1;
            if *scans < MISSING_SCANS_MIN {
                return None;
            }
        }
        let channel_is_open = channels.channel_ids.contains(&part.inbound_channel_id);
        match part.state {
            PartState::Claimed => Some(HoldEvent::PartOffChannel { id, settled: true }),
            PartState::Failing(_) | PartState::FailedBack(_) => {
                Some(HoldEvent::PartOffChannel { id, settled: false })
            }
            PartState::Held if channel_is_open => Some(HoldEvent::PartUnknownToLdk(id)),
            PartState::Held => Some(HoldEvent::PayerChannelClosing(part.inbound_channel_id)),
            PartState::Releasing if channel_is_open => Some(HoldEvent::PartOffChannel { id, settled: false }),
            // The channel is closed and the next hop has not answered: LDK tells of the claim, or the HTLC times out.
            PartState::Releasing => part
                .inbound_expiry
                .filter(|expiry| self.node.height() > *expiry)
                .map(|_| HoldEvent::PartOffChannel { id, settled: false }),
            PartState::Settled | PartState::Failed(_) => None,
        }
    }

    /// Whether everything that an unblocked hold still holds could go now. The step looks again, with what others were
    /// promised meanwhile.
    pub(super) fn could_release(&self, hold: &Hold) -> bool {
        let Hold::Unblocked(group) = hold else { return false };
        let held = group.held().count();
        held > 0 && lock(&self.routes).carriable(&*self.node, hold).len() == held
    }
}
