//! The other ends of the channels: what reaches them, and what they answer.

use std::time::Duration;

use node::intercept_id;
use notifier::Verdict;
use protocol::deadline::{self, MARGIN};
use protocol::units::BlockHeight;

use super::super::keys;
use super::{At, Event, Htlc, LSP_DELTA_BLOCKS, Outer, State};

/// LDK drops an incomplete MPP set after three timer ticks of about ten to sixty seconds; modelled as one minute.
const MPP_SECONDS_MAX: u64 = 60;

/// An LDK payee accepts an HTLC with 41 blocks left and refuses one with 40 (ln/onion_payment.rs:405).
const PAYEE_BLOCKS_MIN: u32 = 41;

/// The LSP's fee for one HTLC, in millisatoshi.
const FEE_MSAT: u64 = 1_000;

impl State {
    /// The payer puts the next part of a payment on its channel.
    pub fn offer(&mut self, payment: usize, inbound: usize, outbound: usize, out_expiry: u32) {
        let (payer, part_msat) = (self.payments[payment].payer, self.payments[payment].part_msat);
        let htlc_id = self.htlcs.iter().filter(|htlc| htlc.inbound == inbound).count() as u64;
        let number = self.htlcs.len();
        let held = &self.payments[payment];
        self.htlcs.push(Htlc {
            payment,
            inbound,
            outbound,
            htlc_id,
            intercept_id: intercept_id(htlc_id, self.channels[inbound].id, keys::payer(payer).id),
            amount_msat: part_msat + FEE_MSAT,
            out_msat: part_msat,
            expiry: out_expiry + LSP_DELTA_BLOCKS,
            out_expiry,
            outer: Outer::None,
            offers: 0,
            outcome: None,
            told: false,
            under_hold: held.granted.is_some_and(|until| {
                self.height < until
                    && deadline::part_fits(BlockHeight(until), BlockHeight(out_expiry), MARGIN)
            }),
            waits_since: None,
            pushes: 0,
        });
        self.payments[payment].sent.push(number);
        self.trace.line(format!("htlc {number}: payment {payment}, {part_msat} msat, {out_expiry}"));
        self.memory.at.insert(number, At::Intercepted);
        self.memory.events.push_back(Event::Intercepted(number));
    }

    /// What is on disk reaches the peers that are here, and what they say comes back.
    pub fn exchange(&mut self) {
        for htlc in 0..self.htlcs.len() {
            let durable = self.durable.at.get(&htlc).copied();
            let payer = self.channels[self.htlcs[htlc].inbound].peer;
            let payer_here = self.peers[&payer].usable && self.channels[self.htlcs[htlc].inbound].open;
            match self.at(htlc) {
                At::Out if durable == Some(At::Out) => self.give(htlc),
                at @ (At::Claimed | At::Failed) if durable == Some(at) && payer_here => {
                    self.take_off(htlc, at == At::Claimed);
                }
                _ => {}
            }
        }
        for payment in 0..self.payments.len() {
            self.payee_answers(payment);
        }
    }

    fn give(&mut self, htlc: usize) {
        if self.htlcs[htlc].outer != Outer::None || !self.is_usable(self.htlcs[htlc].outbound) {
            return;
        }
        self.htlcs[htlc].outer = Outer::Offered(self.now);
        self.htlcs[htlc].offers += 1;
        self.trace.line(format!("  htlc {htlc} is with its payee"));
        if self.htlcs[htlc].offers > 1 {
            self.trace.violation(format!("htlc {htlc} was forwarded twice"));
        }
    }

    /// The HTLC leaves the payer's channel.
    fn take_off(&mut self, htlc: usize, settled: bool) {
        self.set(htlc, At::Gone);
        self.resolve(htlc, settled);
    }

    /// The HTLC is resolved on the payer's channel, or on chain.
    pub fn resolve(&mut self, htlc: usize, settled: bool) {
        let known = &mut self.htlcs[htlc];
        match known.outcome {
            None => {
                known.outcome = Some(settled);
                self.trace.line(format!("  htlc {htlc} resolved, settled: {settled}"));
                self.trace.count(if settled { "HTLC settled" } else { "HTLC failed back" });
                if settled {
                    let amount_msat = known.amount_msat;
                    self.channels[known.inbound].ours_msat += amount_msat;
                }
            }
            Some(before) if before != settled => {
                self.trace.violation(format!("htlc {htlc} was resolved twice, and differently"));
            }
            Some(_) => {}
        }
    }

    /// A payee claims once it has all parts, fails what it does not want, and repeats what the LSP forgot.
    fn payee_answers(&mut self, payment: usize) {
        let payee = keys::payee(self.payments[payment].payee).id;
        if !self.peers[&payee].usable {
            return;
        }
        let sent = self.payments[payment].sent.clone();
        let mut here = Vec::new();
        let mut oldest = self.now;
        for htlc in sent {
            if let Outer::Offered(since) = self.htlcs[htlc].outer {
                here.push(htlc);
                oldest = oldest.min(since);
            }
            let is_out = self.at(htlc) == At::Out;
            match self.htlcs[htlc].outer {
                Outer::Claimed if is_out => self.learn(htlc, true),
                Outer::Failed if is_out => self.learn(htlc, false),
                _ => {}
            }
        }
        if here.is_empty() {
            return;
        }
        let refuses = self.payments[payment].payee_refuses;
        let height = self.height;
        let mut late = false;
        for htlc in &here {
            late |= self.htlcs[*htlc].out_expiry < height + PAYEE_BLOCKS_MIN;
        }
        let patience = Duration::from_secs(MPP_SECONDS_MAX);
        if refuses || late || (here.len() < self.payments[payment].parts && self.now > oldest + patience) {
            for htlc in here {
                self.htlcs[htlc].outer = Outer::Failed;
                self.learn(htlc, false);
            }
        } else if here.len() >= self.payments[payment].parts {
            for htlc in here {
                self.htlcs[htlc].outer = Outer::Claimed;
                let channel = self.htlcs[htlc].outbound;
                self.channels[channel].ours_msat -= self.htlcs[htlc].out_msat;
                self.learn(htlc, true);
            }
        }
    }

    /// The LSP hears what became of an HTLC on the next channel.
    pub fn learn(&mut self, htlc: usize, claimed: bool) {
        if self.at(htlc) != At::Out {
            return;
        }
        if claimed {
            self.set(htlc, At::Claimed);
            self.memory.events.push_back(Event::Forwarded(htlc));
        } else {
            self.fail(htlc);
        }
    }
}

/// Seconds in which a phone that was pushed comes.
const COMES_SECONDS_MAX: u64 = 900;

impl State {
    /// A push left the server for a phone.
    pub fn pushed(&mut self, phone: usize, reason: &str) -> Verdict {
        if self.dead {
            return Verdict::RetryAfter(None, "dead".into());
        }
        let payers = keys::PAYERS_MAX;
        let peer = if phone < payers { keys::payer(phone).id } else { keys::payee(phone - payers).id };
        for htlc in 0..self.htlcs.len() {
            let (inbound, outbound) = (self.htlcs[htlc].inbound, self.htlcs[htlc].outbound);
            let waits = match self.at(htlc) {
                At::Claimed => self.channels[inbound].peer == peer,
                At::Out => self.channels[outbound].peer == peer,
                _ => false,
            };
            if waits {
                self.htlcs[htlc].pushes += 1;
            }
        }
        let (verdict, arrives) = match self.rng.below(10) {
            0 => (Verdict::RetryAfter(None, "busy".into()), false),
            1 => (Verdict::RetryAfter(Some(Duration::from_secs(90)), "busy".into()), false),
            2 => (Verdict::Accepted, false),
            _ => (Verdict::Accepted, true),
        };
        self.trace.line(format!("  push to {phone}: {reason}, {verdict}, arrives: {arrives}"));
        self.trace.count(match (&verdict, arrives) {
            (Verdict::Accepted, true) => "push that arrived",
            (Verdict::Accepted, false) => "push that was lost",
            _ => "push that was refused",
        });
        if arrives && self.answers_pushes(phone) {
            let after = Duration::from_secs(self.rng.between(1, COMES_SECONDS_MAX));
            self.coming.push((self.now + after, phone));
        }
        verdict
    }
}
