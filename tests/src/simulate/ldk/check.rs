//! What must hold at every moment.

use protocol::deadline::CLOSE_ALARM_BLOCKS;
use protocol::units::Msat;

use super::super::keys::{self, PEER_LSP_NUMBER};
use super::chain::{CLAIM_BLOCKS, GRACE_BLOCKS};
use super::{At, Outer, State};

/// After so many blocks that came one by one, with the LSP looking after each, a phone that answers pushes has come.
pub const CALM_BLOCKS_MIN: u64 = 24;

/// A released HTLC must leave its payee so many blocks at least.
const PAYEE_BLOCKS_MIN: u32 = 41;

impl State {
    /// Invariant 2: released only with the right pid, once, before the deadline, and to a payee that can take it.
    pub(super) fn check_forward(&mut self, htlc: usize, channel: usize, amount: Msat) {
        let known = self.htlcs[htlc].clone();
        if known.unfit && self.hold_still_waits(known.payment) {
            self.trace.violation(format!("htlc {htlc} was forwarded with too few blocks for its hold"));
        }
        let payment = &self.payments[known.payment];
        if !known.under_hold {
            return;
        }
        let deadline = payment.granted.unwrap_or_default();
        let mut wrong = Vec::new();
        if !payment.unblocked {
            wrong.push("without the pid".to_owned());
        }
        if payment.cancelled {
            wrong.push("after its cancel was confirmed".to_owned());
        }
        if self.height >= deadline {
            wrong.push(format!("at {}, its deadline was {deadline}", self.height));
        }
        if known.out_expiry < self.height + PAYEE_BLOCKS_MIN {
            wrong.push("with too few blocks for its payee".to_owned());
        }
        if !self.channels[known.inbound].open || self.channels[known.inbound].shutting_down {
            wrong.push("with its payer's channel closed".to_owned());
        }
        if known.outer != Outer::None {
            wrong.push("though its next hop had it".to_owned());
        }
        if amount.0 != known.out_msat || channel != known.outbound {
            wrong.push("elsewhere than its onion says".to_owned());
        }
        if !known.told {
            wrong.push("before LDK told of it".to_owned());
        }
        if !self.is_usable(channel) {
            wrong.push("to a payee that is not here".to_owned());
        } else if self.room(channel).0 < known.out_msat {
            wrong.push("to a channel without room".to_owned());
        }
        for wrong in wrong {
            self.trace.violation(format!("htlc {htlc} was released {wrong}"));
        }
    }

    /// A payment_pending that the LSP said it takes care of reaches its payee.
    pub fn check_care(&mut self) {
        for number in 0..self.payments.len() {
            let payment = &self.payments[number];
            if payment.in_care && !payment.payee_knows && !payment.unblocked && self.hold_still_waits(number)
            {
                self.trace.violation(format!(
                    "payment {number}: its payment_pending is in the LSP's care and does not come"
                ));
            }
        }
    }

    /// Nothing has happened that could have ended the hold of this payment.
    fn hold_still_waits(&self, payment: usize) -> bool {
        let payment = &self.payments[payment];
        let payer = keys::payer(payment.payer).id;
        let stands = |htlc: &usize| {
            self.htlcs[*htlc].outcome.is_none() && !matches!(self.at(*htlc), At::Failed | At::Claimed)
        };
        let mut of_payer = self.channels.iter().filter(|channel| channel.peer == payer);
        payment.granted.is_some_and(|until| self.height < until)
            && !payment.cancel_sent
            && payment.sent.iter().all(stands)
            && of_payer.all(|channel| channel.open && !channel.shutting_down)
    }

    /// Invariant 2, in time: after a block that the server had time for, nothing is held whose deadline has come.
    pub fn check_deadlines(&mut self) {
        if self.dead || self.disturbed {
            return;
        }
        for htlc in 0..self.htlcs.len() {
            let known = &self.htlcs[htlc];
            let deadline = self.payments[known.payment].granted;
            let is_over = deadline.is_some_and(|deadline| self.height >= deadline);
            if is_over && known.under_hold && known.told && self.at(htlc) == At::Intercepted {
                self.trace.violation(format!(
                    "htlc {htlc} is held at {}, its deadline was {deadline:?}",
                    self.height
                ));
            }
        }
    }

    /// Invariant 2, for the group: what was held together at rest goes together.
    pub fn check_groups(&mut self) {
        for payment in 0..self.payments.len() {
            let before = std::mem::take(&mut self.payments[payment].held_at_rest);
            let went = |state: &Self, htlc: &usize| {
                let at = state.at(*htlc);
                state.htlcs[*htlc].outer != Outer::None || matches!(at, At::Queued | At::Out | At::Claimed)
            };
            let released = before.iter().filter(|htlc| went(self, htlc)).count();
            let left = before.iter().filter(|htlc| self.at(**htlc) == At::Intercepted).count();
            if released > 0 && left > 0 && !self.disturbed {
                self.trace
                    .violation(format!("payment {payment}: {released} parts released, {left} left behind"));
            }
            let held = |htlc: &usize| {
                let known = &self.htlcs[*htlc];
                known.under_hold && known.told && self.at(*htlc) == At::Intercepted
            };
            self.payments[payment].held_at_rest =
                self.payments[payment].sent.iter().copied().filter(held).collect();
        }
        self.disturbed = false;
    }

    /// A hold on whose unblock the server could act, and that it does not release though nothing is in the way.
    pub fn check_released(&mut self) {
        if self.disturbed || self.dead {
            return;
        }
        for number in 0..self.payments.len() {
            let payment = &self.payments[number];
            let deadline = payment.granted.unwrap_or_default();
            if !payment.released || payment.cancelled || self.height >= deadline {
                continue;
            }
            let held: Vec<_> = payment
                .sent
                .iter()
                .copied()
                .filter(|htlc| self.at(*htlc) == At::Intercepted && self.htlcs[*htlc].under_hold)
                .collect();
            let fits = |htlc: &usize| {
                let known = &self.htlcs[*htlc];
                let inbound = &self.channels[known.inbound];
                let same = held.iter().filter(|other| self.htlcs[**other].outbound == known.outbound);
                let (mut sum_msat, mut count) = (0, 0);
                for other in same {
                    sum_msat += self.htlcs[*other].out_msat;
                    count += 1;
                }
                let (room_msat, pending) = self.room(known.outbound);
                known.told
                    && inbound.open
                    && !inbound.shutting_down
                    && self.is_usable(known.outbound)
                    && sum_msat <= room_msat
                    && pending + count <= super::HTLCS_PER_CHANNEL_MAX
            };
            if !held.is_empty() && held.iter().all(fits) {
                self.trace.violation(format!("payment {number} could be released and is not"));
            }
        }
    }

    /// Invariant 4: LDK is about to close a channel over this HTLC.
    pub(super) fn judge_close(&mut self, htlc: usize, channel: usize, whose: &str) {
        let known = &self.htlcs[htlc];
        let waited = known.waits_since.map_or(0, |since| self.calm.saturating_sub(since));
        let pushes = known.pushes;
        self.trace.line(format!("  {whose} channel: htlc {htlc} waited {waited}, pushes {pushes}"));
        if waited < CALM_BLOCKS_MIN {
            self.trace.count("channel closed in a burst of blocks");
            return;
        }
        let phone = self.phone_of(channel);
        if phone == PEER_LSP_NUMBER {
            self.trace.count("channel closed over another LSP that was away");
            return;
        }
        if !self.htlcs[htlc].alarmed {
            self.trace.violation(format!(
                "{whose} channel was closed over htlc {htlc}, and its operator was not alarmed"
            ));
        }
        if self.answers_pushes(phone) {
            self.trace.violation(format!(
                "{whose} channel was closed over htlc {htlc}, and its phone answers pushes"
            ));
        } else if pushes < 3 {
            self.trace.violation(format!(
                "{whose} channel was closed over htlc {htlc} after {waited} blocks and {pushes} pushes"
            ));
        } else {
            self.trace.count("channel closed over a phone that never came");
        }
    }

    /// Whether a phone comes when it is pushed.
    pub fn answers_pushes(&self, phone: usize) -> bool {
        !self.mute.contains(&phone)
    }

    /// The blocks until LDK closes a channel of a phone that is away over this HTLC, and the phone.
    fn blocks_to_close(&self, htlc: usize) -> Option<(u32, usize)> {
        let known = &self.htlcs[htlc];
        let (channel, closes_at) = match self.at(htlc) {
            At::Claimed | At::Failed => (known.inbound, known.expiry.saturating_sub(CLAIM_BLOCKS)),
            At::Out => (known.outbound, known.out_expiry + GRACE_BLOCKS),
            _ => return None,
        };
        let phone = self.phone_of(channel);
        let away = !self.peers.get(&self.channels[channel].peer).is_some_and(|peer| peer.connected);
        (self.channels[channel].open && away && phone != PEER_LSP_NUMBER)
            .then(|| (closes_at.saturating_sub(self.height), phone))
    }

    /// Invariant 4, block by block: whoever is waited for was pushed, and the operator hears well before LDK closes a channel.
    pub fn check_waiting(&mut self, alarmed: bool) {
        if self.dead || self.disturbed {
            return;
        }
        let mut near = false;
        for htlc in 0..self.htlcs.len() {
            let Some((blocks, phone)) = self.blocks_to_close(htlc) else { continue };
            let known = &mut self.htlcs[htlc];
            if blocks <= CLOSE_ALARM_BLOCKS {
                near = true;
                if alarmed && !known.alarmed {
                    known.alarmed = true;
                    self.trace.count("operator alarmed before a close");
                }
            }
            let known = &self.htlcs[htlc];
            let waited = known.waits_since.map_or(0, |since| self.calm.saturating_sub(since));
            if waited >= CALM_BLOCKS_MIN && known.pushes == 0 {
                self.trace.violation(format!(
                    "htlc {htlc} waited {waited} blocks for phone {phone}, and nobody pushed it"
                ));
            }
        }
        if near != alarmed {
            self.trace
                .violation(format!("an HTLC is near a close: {near}; the operator is alarmed: {alarmed}"));
        }
    }
}
