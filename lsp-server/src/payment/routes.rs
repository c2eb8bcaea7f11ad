//! Which held HTLCs could go now, all together.

use std::collections::{HashMap, HashSet};

use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use node::{ChannelCarry, PendingInboundHtlc, PendingState};
use protocol::hold::{Hold, Part};
use protocol::units::Msat;

use super::PaymentNode;

/// HTLCs of ours that a channel takes at a time: LDK's default for what it accepts. More wait for their turn.
const HTLCS_PER_CHANNEL_MAX: usize = 50;

/// What this process knows of the ways out.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// HTLCs that LDK has told of since this process started; only these may be released.
    told: HashSet<InterceptId>,
    /// HTLCs that this process has decided to release, and that LDK has not refused to forward.
    released: HashSet<InterceptId>,
    /// Parts whose release is decided and that LDK does not count on their channel yet.
    reserved: HashMap<ChannelId, Load>,
}

/// HTLCs, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    htlcs: usize,
    amount: Msat,
}

impl Load {
    fn add(&mut self, amount: Msat) {
        self.htlcs += 1;
        self.amount = Msat(self.amount.0.saturating_add(amount.0));
    }

    fn remove(&mut self, amount: Msat) {
        self.htlcs = self.htlcs.saturating_sub(1);
        self.amount = self.amount.saturating_sub(amount);
    }
}

impl Routes {
    pub(super) fn tell(&mut self, id: InterceptId) {
        self.told.insert(id);
    }

    pub(super) fn is_told(&self, id: InterceptId) -> bool {
        self.told.contains(&id)
    }

    pub(super) fn release(&mut self, parts: &[InterceptId]) {
        self.released.extend(parts);
    }

    pub(super) fn is_released(&self, id: InterceptId) -> bool {
        self.released.contains(&id)
    }

    /// LDK has kept it.
    pub(super) fn take_back(&mut self, id: InterceptId) {
        self.released.remove(&id);
    }

    pub(super) fn forget_told(&mut self, id: InterceptId) {
        self.told.remove(&id);
    }

    /// Forgets the HTLCs of which nobody knows any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(InterceptId) -> bool) {
        self.told.retain(|id| is_known(*id));
        self.released.retain(|id| is_known(*id));
    }

    /// The held parts that could all be forwarded now: LDK has told of them, their payer's channels stay, and each outgoing
    /// channel has room for its share on top of what is promised to others.
    pub(super) fn carriable(&self, node: &dyn PaymentNode, hold: &Hold) -> HashSet<InterceptId> {
        let carries = carries(node, hold);
        let mut fitting = self.fitting(&carries, hold, |carry| carry.is_usable);
        if !fitting.is_empty() {
            let stays = staying(&node.pending_inbound_htlcs(hold.group().terms.payer));
            fitting.retain(|id| stays.contains(id));
        }
        fitting
    }

    /// The channels that have room for all that is held, and lack nothing but their peers.
    pub(super) fn lacking(&self, node: &dyn PaymentNode, hold: &Hold) -> Vec<ChannelCarry> {
        let carries = carries(node, hold);
        if self.fitting(&carries, hold, |_| true).len() < hold.group().held().count() {
            return Vec::new();
        }
        carries.into_values().filter(|carry| !carry.is_usable).collect()
    }

    fn fitting(
        &self,
        carries: &HashMap<u64, ChannelCarry>,
        hold: &Hold,
        is_open: impl Fn(&ChannelCarry) -> bool,
    ) -> HashSet<InterceptId> {
        let mut asked = self.reserved.clone();
        for part in hold.group().held() {
            if let Some(carry) = carries.get(&part.next_hop_scid) {
                asked.entry(carry.channel_id).or_default().add(part.outbound_amount);
            }
        }
        let fits = |part: &&Part| {
            carries.get(&part.next_hop_scid).is_some_and(|carry| {
                let load = asked.get(&carry.channel_id).copied().unwrap_or_default();
                is_open(carry)
                    && part.outbound_amount >= carry.next_htlc_min
                    && load.amount <= carry.next_htlc_max
                    && carry.pending_outbound_htlcs + load.htlcs <= HTLCS_PER_CHANNEL_MAX
            })
        };
        hold.group()
            .held()
            .filter(|part| self.told.contains(&part.intercept_id))
            .filter(fits)
            .map(|part| part.intercept_id)
            .collect()
    }

    /// Room for parts that are about to be forwarded, until [`Routes::taken`].
    pub(super) fn reserve(&mut self, node: &dyn PaymentNode, parts: &[Part]) {
        for part in parts {
            if let Some((_, channel_id)) = node.resolve_scid(part.next_hop_scid) {
                self.reserved.entry(channel_id).or_default().add(part.outbound_amount);
            }
        }
    }

    /// LDK counts these parts itself now, or will never have them.
    pub(super) fn taken(&mut self, node: &dyn PaymentNode, parts: &[Part]) {
        for part in parts {
            let Some((_, channel_id)) = node.resolve_scid(part.next_hop_scid) else { continue };
            if let Some(load) = self.reserved.get_mut(&channel_id) {
                load.remove(part.outbound_amount);
                if load.htlcs == 0 {
                    self.reserved.remove(&channel_id);
                }
            }
        }
    }
}

fn carries(node: &dyn PaymentNode, hold: &Hold) -> HashMap<u64, ChannelCarry> {
    let scids = hold.group().held().map(|part| part.next_hop_scid);
    scids.filter_map(|scid| node.carry(scid).map(|carry| (scid, carry))).collect()
}

/// Those on channels that stay. A channel that shuts down takes its whole group back: the rescan sees to that.
fn staying(pending: &[PendingInboundHtlc]) -> HashSet<InterceptId> {
    pending
        .iter()
        .filter(|htlc| htlc.state == PendingState::Committed && !htlc.channel_is_shutting_down)
        .map(|htlc| htlc.intercept_id)
        .collect()
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use lightning_types::payment::PaymentHash;
    use protocol::hold::{HoldStateTag, HoldTerms, PartState};
    use protocol::ids::PidHash;
    use protocol::units::BlockHeight;

    use super::*;

    const SCID: u64 = 7;
    const CHANNEL: ChannelId = ChannelId([5; 32]);

    fn peer() -> PublicKey {
        SecretKey::from_slice(&[1; 32]).unwrap().public_key(&Secp256k1::new())
    }

    fn unblocked(parts: u8) -> Hold {
        let terms = HoldTerms {
            payer: peer(),
            pid_hash: PidHash([2; 32]),
            payment_hashes: vec![PaymentHash([3; 32])],
            deadline: BlockHeight(200),
        };
        let parts = (0..parts).map(|id| Part {
            intercept_id: InterceptId([id; 32]),
            payment_hash: PaymentHash([3; 32]),
            inbound_channel_id: ChannelId([4; 32]),
            inbound_htlc_id: u64::from(id),
            inbound_amount: Msat(1_100),
            outbound_amount: Msat(1_000),
            inbound_expiry: None,
            outgoing_expiry: BlockHeight(400),
            next_hop_scid: SCID,
            state: PartState::Held,
        });
        Hold::from_row(terms, HoldStateTag::Unblocked, None, parts.collect()).unwrap()
    }

    fn carries(next_htlc_max: u64, pending_outbound_htlcs: usize) -> HashMap<u64, ChannelCarry> {
        let carry = ChannelCarry {
            channel_id: CHANNEL,
            peer: peer(),
            is_usable: true,
            next_htlc_max: Msat(next_htlc_max),
            next_htlc_min: Msat(1),
            pending_outbound_htlcs,
        };
        HashMap::from([(SCID, carry)])
    }

    fn told(parts: u8) -> Routes {
        let mut routes = Routes::default();
        (0..parts).for_each(|id| routes.tell(InterceptId([id; 32])));
        routes
    }

    fn fits(routes: &Routes, carries: &HashMap<u64, ChannelCarry>, parts: u8) -> HashSet<InterceptId> {
        routes.fitting(carries, &unblocked(parts), |carry| carry.is_usable)
    }

    #[test]
    fn what_is_on_a_channel_that_shuts_down_or_goes_back_is_not_carried() {
        let on = |id, state, channel_is_shutting_down| PendingInboundHtlc {
            intercept_id: InterceptId([id; 32]),
            channel_id: CHANNEL,
            htlc_id: u64::from(id),
            payment_hash: PaymentHash([3; 32]),
            amount: Msat(1_100),
            expiry: BlockHeight(500),
            state,
            channel_is_shutting_down,
        };
        let pending = [
            on(1, PendingState::Committed, false),
            on(2, PendingState::Committed, true),
            on(3, PendingState::AwaitingRemoveFail, false),
            on(4, PendingState::AwaitingRemoveFulfill, false),
        ];
        assert_eq!(staying(&pending), HashSet::from([InterceptId([1; 32])]));
    }

    #[test]
    fn a_group_goes_only_if_its_sum_fits_beside_what_is_promised() {
        let mut routes = told(3);
        assert_eq!(fits(&routes, &carries(3_000, 0), 3).len(), 3);
        assert!(fits(&routes, &carries(2_999, 0), 3).is_empty());
        routes.reserved.insert(CHANNEL, Load { htlcs: 1, amount: Msat(500) });
        assert!(fits(&routes, &carries(3_499, 0), 3).is_empty());
        assert_eq!(fits(&routes, &carries(3_500, 0), 3).len(), 3);
    }

    #[test]
    fn a_full_channel_makes_them_wait() {
        let mut routes = told(2);
        assert_eq!(fits(&routes, &carries(9_000, 48), 2).len(), 2);
        assert!(fits(&routes, &carries(9_000, 49), 2).is_empty());
        routes.reserved.insert(CHANNEL, Load { htlcs: 1, amount: Msat(1) });
        assert!(fits(&routes, &carries(9_000, 48), 2).is_empty());
    }

    #[test]
    fn what_ldk_has_not_told_of_stays() {
        assert_eq!(fits(&told(1), &carries(9_000, 0), 2).len(), 1);
    }
}
