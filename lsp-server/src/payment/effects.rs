//! Acting on what is committed.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use node::PendingState;
use protocol::hold::{HoldEvent, Part};
use storage::Commit;

use super::step::{Select, Stepped};
use super::{Payments, lock};
use crate::limits;
use crate::store::StoreError;

impl Payments {
    /// Queues a step now and acts once it is durable.
    pub(super) fn step_and_act(self: &Arc<Self>, name: &'static str, select: Select, event: HoldEvent) {
        let commit = self.submit_step(name, select, event);
        self.act_on(commit);
    }

    /// Waits for the commit in a task of its own, then acts. If it never comes the database has failed and stops the
    /// process; the next start finds what is durable.
    pub(super) fn act_on(self: &Arc<Self>, commit: Commit<Vec<Stepped>, StoreError>) {
        let this = self.clone();
        self.tasks.spawn(async move {
            match commit.await {
                Ok(stepped) => stepped.into_iter().for_each(|stepped| this.act(stepped, None)),
                Err(error) => tracing::error!(%error, "a hold was not stepped"),
            }
        });
    }

    /// Tells LDK. `unblocked_at` is when, by the clock's [`elapsed`](crate::clock::Clock::elapsed), the unblock
    /// arrived, if this is its release.
    pub(super) fn act(self: &Arc<Self>, stepped: Stepped, unblocked_at: Option<Duration>) {
        let pid_hash = stepped.pid_hash;
        let _span = tracing::info_span!("hold", %pid_hash, payer = %stepped.payer).entered();
        if let Some(refusal) = &stepped.refused {
            tracing::debug!(%refusal, "the event did not apply");
        }
        if let Some((kind, part)) = &stepped.unasked {
            let detail = format!("{} of {}", part.payment_hash, part.inbound_amount);
            self.note(*kind, part.intercept_id.to_string(), detail);
        }
        if let Some(limit) = stepped.over {
            limits::refused(limit, Some(stepped.payer));
        }
        if stepped.forward.iter().any(|part| !self.is_open(part)) {
            self.withdraw(&stepped.forward);
        } else if !stepped.forward.is_empty() {
            storage::crash_point!("before_release");
            for part in &stepped.forward {
                self.release(part);
                storage::crash_point!("part_released");
            }
            storage::crash_point!("released");
            self.node.flush_forwards();
            storage::crash_point!("release_flushed");
            lock(&self.routes).taken(&*self.node, &stepped.forward);
            let latency_us = unblocked_at.map(|at| micros(self.clock.elapsed().saturating_sub(at)));
            if let Some(latency_us) = latency_us {
                self.remember_latency(pid_hash, latency_us);
            }
            tracing::info!(parts = stepped.forward.len(), latency_us, "released");
        }
        for (part, cause) in &stepped.fail {
            storage::crash_point!("before_fail_back");
            match self.node.fail_intercepted(part.intercept_id) {
                Ok(()) => tracing::info!(intercept_id = %part.intercept_id, %cause, "failed back"),
                Err(error) => {
                    tracing::debug!(intercept_id = %part.intercept_id, %error, "nothing to fail back");
                }
            }
        }
        if !stepped.fail.is_empty() {
            storage::crash_point!("failed_back");
            self.node.flush_forwards();
            storage::crash_point!("fail_back_flushed");
            self.rescan.notify_one();
        }
        if let Some(outcome) = stepped.ended {
            tracing::info!(?outcome, "the hold is over");
        }
        if stepped.woke {
            self.waker.nudge();
        }
    }

    /// Its way out is as it was when its release was decided.
    fn is_open(&self, part: &Part) -> bool {
        self.node.carry(part.next_hop_scid).is_some_and(|carry| carry.is_usable)
    }

    /// Holds on to what cannot go any more: LDK would answer Ok for a peer that is gone, and fail the HTLC. It was told nothing, and
    /// the next hop's coming asks for a look. A part whose channel is gone meanwhile takes the others back.
    fn withdraw(self: &Arc<Self>, parts: &[Part]) {
        let is_told = |part: &&Part| lock(&self.routes).is_told(part.intercept_id);
        let (kept, lost): (Vec<_>, Vec<_>) =
            parts.iter().filter(is_told).partition(|part| self.peer_of(part).is_some());
        let kept = kept.into_iter().filter(|part| self.is_pending(part));
        let withdrawn: Vec<_> = kept.chain(lost.iter().copied()).map(|part| part.intercept_id).collect();
        tracing::info!(
            parts = parts.len(),
            withdrawn = withdrawn.len(),
            "the next hop left before the release; held on"
        );
        {
            let mut routes = lock(&self.routes);
            routes.taken(&*self.node, parts);
            withdrawn.iter().for_each(|id| routes.take_back(*id));
        }
        let Some(first) = withdrawn.first().copied() else { return };
        let event = HoldEvent::ReleaseWithdrawn { parts: withdrawn };
        self.step_and_act("release_withdrawn", Select::Part(first), event);
        for part in lost {
            let event = HoldEvent::PayerChannelClosing(part.inbound_channel_id);
            self.step_and_act("withdrawn_from_closed", Select::Part(part.intercept_id), event);
        }
    }

    fn peer_of(&self, part: &Part) -> Option<PublicKey> {
        self.node.peer_of_channel(part.inbound_channel_id)
    }

    /// It is on its channel and LDK has not begun to take it off, forwarded or not.
    fn is_pending(&self, part: &Part) -> bool {
        self.peer_of(part).is_some_and(|payer| {
            self.node
                .pending_inbound_htlcs(payer)
                .iter()
                .any(|htlc| htlc.intercept_id == part.intercept_id && htlc.state == PendingState::Committed)
        })
    }

    fn release(self: &Arc<Self>, part: &Part) {
        let id = part.intercept_id;
        let Err(error) = self.node.forward_intercepted(id, part.next_hop_scid, part.outbound_amount) else {
            lock(&self.routes).forget_told(id);
            return;
        };
        // LDK keeps an HTLC whose channel cannot take it; if it has none of that name, the part is on its way already.
        let kept = self.is_pending(part);
        let told = lock(&self.routes).is_told(id);
        tracing::warn!(intercept_id = %id, %error, kept, "LDK did not forward a released part");
        if kept && told {
            lock(&self.routes).take_back(id);
            let event = HoldEvent::PartIntercepted(part.clone());
            self.step_and_act("part_kept_by_ldk", Select::Part(id), event);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
