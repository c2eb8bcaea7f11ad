//! Holds against LDK's list of pending HTLCs: the task that moves every hold to its end.
//!
//! Each second, and at each event, the holds are looked at that something may move now. At each block, and every ten seconds, it is
//! all of them, and both ways: see `audit`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use node::{PendingInboundHtlc, PendingState};
use protocol::api::admin::HoldsCheck;
use protocol::deadline::DEADLINE_NEAR_BLOCKS;
use protocol::hold::{Hold, HoldEvent, Part, PartState};
use protocol::units::BlockHeight;

use super::differences::DifferenceKind;
use super::step::Select;
use super::tidy::KNOWN_PARTS_SECS;
use super::{Payments, lock};
use crate::metrics::names;
use crate::store::holds::{self, HoldRow, Loaded, Unreadable};
use crate::store::{StoreError, parts, wakes};

/// The longest pause between two looks; every event of a channel or a peer asks for one at once.
const RESCAN_INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause between two looks at all holds.
const FULL_PASS_INTERVAL: Duration = Duration::from_secs(10);

/// A part that LDK does not list may be between two of its maps: it counts as gone after so many looks.
const MISSING_SCANS_MIN: u32 = 2;

/// A payer's channels as LDK lists them at one moment.
struct PayerChannels {
    pending: HashMap<InterceptId, PendingInboundHtlc>,
    channel_ids: HashSet<ChannelId>,
}

/// What a look has seen of LDK.
#[derive(Default)]
struct Look {
    payers: HashMap<PublicKey, PayerChannels>,
    parts: HashSet<InterceptId>,
}

impl Payments {
    /// Steps every live hold with `Restarted`: what was decided before a crash is done again. Before LDK's events start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restart(self: &Arc<Self>) -> Result<(), StoreError> {
        let loaded = self.db.read("holds_live", |tx| Box::pin(holds::live(tx))).await?;
        tracing::info!(live_holds = loaded.rows.len(), "holds loaded");
        self.note_unreadable(&loaded);
        self.load_known_parts().await?;
        // Queued together, so committed together.
        let commits: Vec<_> = loaded
            .rows
            .iter()
            .map(|row| self.submit_step("restarted", Select::Hold(row.hold_id), HoldEvent::Restarted))
            .collect();
        for commit in commits {
            let stepped = commit.await?;
            storage::crash_point!("hold_restarted");
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
        let mut full_at = None::<Duration>;
        loop {
            tokio::select! {
                () = self.rescan.notified() => {},
                () = self.clock.sleep(RESCAN_INTERVAL) => {},
            }
            // Its steps would pile up in front of the disk, one a second.
            self.db.out_of_trouble().await;
            let now = self.clock.elapsed();
            let is_new_height = *lock(&self.reconciled_at) != Some(self.node.cautious_height());
            let is_full =
                is_new_height || full_at.is_none_or(|at| now.saturating_sub(at) >= FULL_PASS_INTERVAL);
            let outcome = if is_full { self.reconcile().await } else { self.reconcile_moving().await };
            let pass = if is_full { "full" } else { "moving" };
            names::RECONCILE_SECONDS
                .record(self.clock.elapsed().saturating_sub(now).as_secs_f64(), &[("pass", pass)]);
            match outcome {
                Ok(()) if is_full => full_at = Some(now),
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "holds cannot be compared with LDK"),
            }
        }
    }

    /// One full pass: compares every live hold with LDK's list, and LDK's list with them, and steps those that differ or that a
    /// new block concerns. What follows from that is done by tasks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile(self: &Arc<Self>) -> Result<(), StoreError> {
        self.full_pass().await.map(drop)
    }

    /// One full pass, for somebody who asks whether anything is odd.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check(self: &Arc<Self>) -> Result<HoldsCheck, StoreError> {
        let (live_holds, pending_htlcs) = self.full_pass().await?;
        let differences = lock(&self.differences);
        Ok(HoldsCheck {
            checked_at: self.clock.now_unix(),
            live_holds,
            pending_htlcs,
            counts: differences.counts(),
            newest: differences.newest(),
        })
    }

    /// Answers how many holds are live, and how many unresolved HTLCs of phones LDK lists.
    async fn full_pass(self: &Arc<Self>) -> Result<(usize, usize), StoreError> {
        let height = self.node.cautious_height();
        self.promised.begin_look();
        let (loaded, open) = self
            .db
            .read("holds_live", |tx| {
                Box::pin(async move {
                    let loaded = holds::live(tx).await?;
                    let open: HashSet<_> = wakes::open_of_live_holds(tx).await?.into_iter().collect();
                    Ok::<_, StoreError>((loaded, open))
                })
            })
            .await?;
        self.promised.looked(&loaded.rows);
        self.note_unreadable(&loaded);
        let look = self.look_at(&loaded.rows, height);
        lock(&self.missing).retain(|id, _| look.parts.contains(id));
        // An id that no live hold has and no payer's channel lists is history.
        let is_pending = |id| look.payers.values().any(|channels| channels.pending.contains_key(&id));
        lock(&self.routes).retain(|id| look.parts.contains(&id) || is_pending(id));
        let pending_htlcs = self.audit_htlcs(&look.parts);
        self.audit_wakes(&loaded.rows, &open).await?;
        *lock(&self.reconciled_at) = Some(height);
        Ok((loaded.rows.len(), pending_htlcs))
    }

    /// A look at the holds that something may move now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reconcile_moving(self: &Arc<Self>) -> Result<(), StoreError> {
        let height = self.node.cautious_height();
        let loaded = self.db.read("holds_moving", move |tx| Box::pin(holds::moving(tx, height))).await?;
        self.look_at(&loaded.rows, height);
        Ok(())
    }

    fn look_at(self: &Arc<Self>, rows: &[HoldRow], height: BlockHeight) -> Look {
        let height_advanced = *lock(&self.reconciled_at) != Some(height);
        let mut look = Look::default();
        for row in rows {
            let group = row.hold.group();
            let payer = group.terms.payer;
            let channels = look.payers.entry(payer).or_insert_with(|| self.payer_channels(payer));
            if is_due(&row.hold, height, height_advanced) {
                storage::crash_point!("before_height_queued");
                self.step_and_act("height_advanced", Select::Hold(row.hold_id), HoldEvent::HeightAdvanced);
                storage::crash_point!("height_queued");
            }
            for part in group.parts.iter().filter(|part| part.is_live()) {
                look.parts.insert(part.intercept_id);
                if let Some(event) = self.compare(part, channels) {
                    self.step_and_act("reconciled", Select::Hold(row.hold_id), event);
                }
            }
            if self.could_release(&row.hold) {
                self.step_and_act("release", Select::Hold(row.hold_id), HoldEvent::HeightAdvanced);
            }
        }
        look
    }

    fn note_unreadable(&self, loaded: &Loaded) {
        for Unreadable { hold_id, error, .. } in &loaded.unreadable {
            let detail = crate::error::with_causes(error);
            self.note(DifferenceKind::UnreadableHold, format!("hold {hold_id}"), detail);
        }
        *lock(&self.blind) = loaded.unreadable.iter().filter_map(|hold| hold.blind).collect();
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
            if let Some(detail) = contradiction(part, htlc) {
                self.note(DifferenceKind::ContentsDiffer, id.to_string(), detail);
                return (part.state == PartState::Held).then_some(HoldEvent::PartContradicted(id));
            }
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
            PartState::Held if channel_is_open => {
                let detail = format!("{} of {}", part.payment_hash, part.inbound_amount);
                self.note(DifferenceKind::PartWithoutHtlc, id.to_string(), detail);
                Some(HoldEvent::PartUnknownToLdk(id))
            }
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

/// Whether a block, or the time that passed since the last one, may move the hold.
fn is_due(hold: &Hold, height: BlockHeight, height_advanced: bool) -> bool {
    let group = hold.group();
    let has_held = group.held().next().is_some();
    let is_overdue = height >= group.terms.deadline && (has_held || matches!(hold, Hold::Waiting(_)));
    let is_near = height.plus(DEADLINE_NEAR_BLOCKS) >= group.terms.deadline;
    let is_moving =
        (matches!(hold, Hold::Unblocked(_)) && has_held) || group.parts.iter().any(Part::waits_for_payer);
    is_overdue || (height_advanced && (is_near || is_moving))
}

/// In what LDK's HTLC is not the part, if it is not.
fn contradiction(part: &Part, htlc: &PendingInboundHtlc) -> Option<String> {
    let differs = |what: &str, row: &dyn std::fmt::Display, ldk: &dyn std::fmt::Display| {
        Some(format!("{what}: {row} in the database, {ldk} in LDK"))
    };
    if part.payment_hash != htlc.payment_hash {
        return differs("payment hash", &part.payment_hash, &htlc.payment_hash);
    }
    if part.inbound_amount != htlc.amount {
        return differs("amount", &part.inbound_amount, &htlc.amount);
    }
    match part.inbound_expiry {
        Some(expiry) if expiry != htlc.expiry => differs("expiry", &expiry, &htlc.expiry),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
