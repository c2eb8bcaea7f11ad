//! Phones that stay away for a day or two, with HTLCs on their channels.

use super::keys::{PAYEES_MAX, PAYERS_MAX, PEERS_MAX};
use super::ldk::At;
use super::rng::Rng;
use super::world::{Mail, World};

/// Blocks that pass, at least and at most, unless nobody is waited for any more.
const BLOCKS: (u64, u64) = (150, 300);

/// Phones that no push brings, in a hundred: of all worlds, and of those in which somebody stays away.
const MUTE_PERCENT: u64 = 5;
const MUTE_AWAY_PERCENT: u64 = 12;

/// Payments that are begun before somebody goes.
const PAYMENTS: (u64, u64) = (1, 2);

/// Blocks until the deadlines that are asked for then.
const DEADLINE_BLOCKS: (u64, u64) = (10, 60);

/// Who stays away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nobody does.
    Nobody,
    /// Payers, after their payees were paid or have refused.
    Payers,
    /// Payees, with HTLCs on their channels that they have not answered.
    Payees,
}

impl Absence {
    /// One world in four has payers that stay away, one in eight payees.
    pub(super) fn choose(rng: &mut Rng) -> Self {
        match rng.below(8) {
            0 | 1 => Self::Payers,
            2 => Self::Payees,
            _ => Self::Nobody,
        }
    }
}

impl World {
    /// Chooses the phones that no push brings.
    pub(super) fn mute_some(&mut self) {
        let percent = if self.absence == Absence::Nobody { MUTE_PERCENT } else { MUTE_AWAY_PERCENT };
        for phone in self.phones_here() {
            if self.rng.percent(percent) {
                let mut state = self.model.lock();
                state.mute.insert(phone);
                state.trace.line(format!("no push brings phone {phone}"));
            }
        }
    }

    /// A phone that is another LSP's client comes there. Answers whether it is one.
    pub(super) fn comes_to_the_other_lsp(&mut self, phone: usize) -> bool {
        let kept = {
            let mut state = self.model.lock();
            let Some(payee) = state.remote_payee(phone) else { return false };
            if state.remote.here.insert(payee) {
                state.trace.line(format!("- phone {phone} comes to the other LSP"));
            }
            state.wakes_up(phone);
            let payees: Vec<_> = state.payments.iter().map(|payment| payment.payee).collect();
            let (here, later) =
                std::mem::take(&mut state.remote.mail).into_iter().partition(|kept| payees[*kept] == payee);
            state.remote.mail = later;
            here
        };
        let kept: Vec<usize> = kept;
        for payment in kept {
            self.payee_hears(payment);
        }
        true
    }

    /// Payments get under way, somebody goes, and blocks come one by one.
    pub(super) fn stay_away(&mut self) {
        if self.absence == Absence::Nobody {
            return;
        }
        let payments = self.begin_payments();
        self.everybody_else_comes();
        if self.absence == Absence::Payers {
            (0..PAYERS_MAX).for_each(|payer| self.leaves(payer));
        } else {
            for payment in &payments {
                self.model.lock().payments[*payment].payee_stalls = true;
            }
        }
        for payment in payments {
            self.mail.push(Mail::Unblock(payment));
            self.deliver_at(self.mail.len() - 1);
        }
        for _ in 0..2 {
            self.handle_events();
            self.passes_for_htlcs();
            self.model.lock().process_forwards();
            self.write();
        }
        if self.absence == Absence::Payees {
            (PAYERS_MAX..PAYERS_MAX + PAYEES_MAX).for_each(|payee| self.leaves(payee));
        }
        self.revive();
        self.let_blocks_pass();
    }

    fn begin_payments(&mut self) -> Vec<usize> {
        let (payers, payees, height) = {
            let state = self.model.lock();
            let known = |phone: &usize| {
                state.peers.contains_key(&Self::phone(*phone)) || state.remote_payee(*phone).is_some()
            };
            let payers: Vec<_> = (0..PAYERS_MAX).filter(known).collect();
            let payees: Vec<_> = (PAYERS_MAX..PAYERS_MAX + PAYEES_MAX).filter(known).collect();
            (payers, payees, state.height)
        };
        let mut begun = Vec::new();
        for _ in 0..self.rng.between(PAYMENTS.0, PAYMENTS.1) {
            let payer = payers[self.rng.index(payers.len())];
            let payee = payees[self.rng.index(payees.len())] - PAYERS_MAX;
            let deadline = height + self.rng.between(DEADLINE_BLOCKS.0, DEADLINE_BLOCKS.1) as u32;
            let number = self.model.lock().plan(&mut self.rng, payer, payee, deadline);
            self.comes(payer);
            self.reestablished(payer);
            let (wants_hold, parts) = {
                let state = self.model.lock();
                (state.payments[number].wants_hold, state.payments[number].parts)
            };
            if wants_hold {
                self.mail.push(Mail::Block(number));
                self.deliver_at(self.mail.len() - 1);
            }
            (0..parts).for_each(|_| self.send_part(number));
            self.handle_events();
            self.write();
            self.revive();
            begun.push(number);
        }
        begun
    }

    fn everybody_else_comes(&mut self) {
        for phone in PAYERS_MAX..PEERS_MAX {
            self.comes(phone);
            self.reestablished(phone);
        }
    }

    fn let_blocks_pass(&mut self) {
        self.note("phones stay away");
        for _ in 0..self.rng.between(BLOCKS.0, BLOCKS.1) {
            let waits = |at: &At| matches!(at, At::Claimed | At::Failed | At::Out);
            let is_over = {
                let state = self.model.lock();
                !state.memory.at.values().any(waits) || !state.trace.violations().is_empty()
            };
            if is_over {
                return;
            }
            if self.faults_percent > 0 && self.rng.percent(1) {
                self.arm_crash();
            }
            self.begin_block();
            self.handle_events();
            self.passes_for_htlcs();
            self.write();
            self.check_waiting();
            self.hear();
            self.model.lock().trace.count("block with phones away");
            self.revive();
        }
    }
}
