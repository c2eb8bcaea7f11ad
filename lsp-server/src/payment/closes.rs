//! Phones that do not come: how many blocks are left until LDK closes a channel over one, and when the operator hears of it.

use std::collections::HashSet;

use node::{PendingState, SleepingHtlc, SleepingSide};
use protocol::deadline::{CLOSE_ALARM_BLOCKS, settle_window};
use protocol::units::BlockHeight;

use super::{Payments, lock};
use crate::metrics::names;

/// LDK closes the channel of an HTLC that it offered this many blocks after its expiry.
pub(super) const OUTBOUND_GRACE_BLOCKS: u32 = 3;

/// How long a found difference is an alarm, in seconds.
const DIFFERENCE_ALARM_SECS: u64 = 24 * 3_600;

/// The HTLCs that are near a close.
#[derive(Debug, Default)]
pub(super) struct Closes {
    near: HashSet<SleepingHtlc>,
    blocks_min: Option<u32>,
}

/// The blocks until LDK closes the channel over this HTLC, unless its phone comes. `None` while it needs no phone.
pub(super) fn blocks_to_close(htlc: &SleepingHtlc, height: BlockHeight) -> Option<u32> {
    match htlc.side {
        SleepingSide::Outbound => Some(height.blocks_until(htlc.expiry.plus(OUTBOUND_GRACE_BLOCKS))),
        SleepingSide::Inbound { state: PendingState::Committed, .. } => None,
        SleepingSide::Inbound { .. } => Some(settle_window(htlc.expiry, height)),
    }
}

impl Payments {
    /// Says once for each HTLC that it is near, and keeps the metric.
    pub(super) fn watch_closes(&self, sleeping: &[SleepingHtlc], height: BlockHeight) {
        let left =
            || sleeping.iter().filter_map(|htlc| blocks_to_close(htlc, height).map(|blocks| (*htlc, blocks)));
        let blocks_min = left().map(|(_, blocks)| blocks).min();
        let near: HashSet<_> =
            left().filter(|(_, blocks)| *blocks <= CLOSE_ALARM_BLOCKS).map(|(htlc, _)| htlc).collect();
        let mut closes = lock(&self.closes);
        for (htlc, blocks) in left().filter(|(htlc, _)| near.contains(htlc) && !closes.near.contains(htlc)) {
            tracing::error!(
                peer = %htlc.peer, payment_hash = %htlc.payment_hash, expiry = %htlc.expiry, blocks,
                "a phone does not come, and its channel is about to be closed: reach its user in another way"
            );
        }
        *closes = Closes { near, blocks_min };
        names::BLOCKS_TO_CLOSE.set(blocks_min.map_or(f64::INFINITY, f64::from), &[]);
    }

    /// What an operator should look at now, in words.
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        let closes = lock(&self.closes);
        if let (phones @ 1.., Some(blocks)) = (closes.near.len(), closes.blocks_min) {
            alarms.push(format!(
                "{phones} HTLCs wait for phones that do not come; in {blocks} blocks the first channel is closed \
                 (`wakes list`, `devices list`)"
            ));
        }
        drop(closes);
        let since = self.clock.now_unix().saturating_sub(DIFFERENCE_ALARM_SECS);
        let newest = lock(&self.differences).newest();
        let recent = newest.iter().filter(|difference| difference.seen_at >= since).count();
        if recent > 0 {
            alarms.push(format!(
                "the database and LDK did not agree {recent} times in the last day (`holds check`)"
            ));
        }
        alarms
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning::ln::channelmanager::InterceptId;
    use lightning_types::payment::PaymentHash;

    use super::*;

    #[test]
    fn only_what_waits_for_its_phone_counts_down() {
        let peer = SecretKey::from_slice(&[1; 32]).unwrap().public_key(&Secp256k1::new());
        let blocks = |side| {
            let expiry = BlockHeight(1_000);
            let htlc = SleepingHtlc { peer, payment_hash: PaymentHash([1; 32]), expiry, side };
            blocks_to_close(&htlc, BlockHeight(900))
        };
        let inbound = |state| SleepingSide::Inbound { intercept_id: InterceptId([1; 32]), state };
        assert_eq!(blocks(inbound(PendingState::Committed)), None, "it is held, or on its way");
        assert_eq!(blocks(inbound(PendingState::AwaitingRemoveFulfill)), Some(64));
        assert_eq!(blocks(inbound(PendingState::AwaitingRemoveFail)), Some(64));
        assert_eq!(blocks(SleepingSide::Outbound), Some(103));
    }
}
