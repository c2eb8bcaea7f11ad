//! The other way round: what LDK has and no row knows, and wakes against their reasons. Runs with every full pass of
//! [`super::reconcile`].

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use node::{PendingInboundHtlc, PendingState};
use protocol::hold::HoldEvent;
use protocol::wake::WakeReason;

use super::differences::DifferenceKind;
use super::step::Select;
use super::{Payments, lock};
use crate::store::StoreError;
use crate::store::holds::HoldRow;
use crate::store::wakes::{self, WakeKey};

/// An HTLC may wait here for its payee, or be on its way through LDK, for about a minute. One that nobody knows after so many
/// seconds is nobody's.
const STRANGE_SECS: u64 = 180;

/// A wake is opened and ended in the transaction that gives or takes its reason, which a pass may find under way. So many seconds
/// tell a difference from that.
const WAKE_SECS: u64 = 5;

impl Payments {
    /// Fails back what LDK holds intercepted and no live hold has: nobody would ever release it. LDK is asked by failing it: it
    /// refuses for an HTLC that it does not hold. Answers how many unresolved HTLCs of phones LDK lists.
    pub(super) fn audit_htlcs(&self, held: &HashSet<InterceptId>) -> usize {
        let listed = self.node.unresolved_htlcs();
        let count = listed.inbound.len();
        let is_strange = |htlc: &PendingInboundHtlc| {
            htlc.state == PendingState::Committed
                && !held.contains(&htlc.intercept_id)
                && !listed.outbound.contains(&htlc.payment_hash)
        };
        let strange = listed.inbound.iter().filter(|(_, htlc)| is_strange(htlc));
        let ids = strange.map(|(_, htlc)| htlc.intercept_id);
        for id in lock(&self.strange_htlcs).confirm(ids, STRANGE_SECS, self.clock.now_unix()) {
            if self.node.fail_intercepted(id).is_err() {
                continue;
            }
            self.node.flush_forwards();
            let found = listed.inbound.iter().find(|(_, htlc)| htlc.intercept_id == id);
            let detail = found.map_or_else(String::new, |(peer, htlc)| {
                format!("{} of {} from {peer} on {}", htlc.payment_hash, htlc.amount, htlc.channel_id)
            });
            self.note(DifferenceKind::HtlcWithoutPart, id.to_string(), detail);
        }
        count
    }

    /// Opens the wakes that live holds lack, and ends those that they do not ask for. `open` was read together with `rows`.
    pub(super) async fn audit_wakes(
        self: &Arc<Self>,
        rows: &[HoldRow],
        open: &HashSet<WakeKey>,
    ) -> Result<(), StoreError> {
        let (height, now_unix) = (self.node.cautious_height(), self.clock.now_unix());
        let mut asked = HashSet::new();
        let mut groups = HashSet::new();
        let mut lacking = Vec::new();
        for row in rows {
            let terms = &row.hold.group().terms;
            groups.insert((terms.payer, terms.pid_hash.0));
            for reason in row.hold.group().wakes(height) {
                let key = (terms.payer, terms.pid_hash.0, reason);
                asked.insert(key);
                if !open.contains(&key) && !self.node.is_connected(terms.payer) {
                    lacking.push((row.hold_id, key));
                }
            }
        }
        let needless = open.iter().filter(|key| {
            let (payer, group, reason) = **key;
            is_for_a_hold(reason) && groups.contains(&(payer, group)) && !asked.contains(*key)
        });
        let needless = lock(&self.needless_wakes).confirm(needless.copied(), WAKE_SECS, now_unix);
        for (hold_id, key) in lock(&self.lacking_wakes).confirm(lacking, WAKE_SECS, now_unix) {
            self.note(DifferenceKind::ReasonWithoutWake, name(&key), format!("hold {hold_id}"));
            self.step_and_act("wake_again", Select::Hold(hold_id), HoldEvent::Restarted);
        }
        for key in needless {
            self.note(DifferenceKind::WakeWithoutReason, name(&key), String::new());
            let (payer, group, reason) = key;
            self.db
                .submit("end_needless_wake", move |tx| Box::pin(wakes::end(tx, payer, group, reason)))
                .await?;
        }
        Ok(())
    }

    pub(super) fn note(&self, kind: DifferenceKind, id: String, detail: String) {
        lock(&self.differences).note(kind, id, detail, self.clock.now_unix());
    }
}

fn is_for_a_hold(reason: WakeReason) -> bool {
    matches!(reason, WakeReason::PaymentSettled | WakeReason::PaymentFailed | WakeReason::ExpirySoon)
}

fn name((payer, group, reason): &(PublicKey, [u8; 32], WakeReason)) -> String {
    use hex::DisplayHex as _;
    format!("{} for {payer} and {}", reason, group.as_hex())
}
