//! The other ends of the channels: what reaches them, and what they answer.

use std::time::Duration;

use lightning_types::payment::PaymentHash;
use node::intercept_id;
use notifier::Verdict;
use protocol::deadline::{self, MARGIN};
use protocol::ids::Pid;
use protocol::units::BlockHeight;

use super::super::keys;
use super::super::rng::Rng;
use super::{At, Event, Htlc, LSP_DELTA_BLOCKS, Outer, Payment, State};

/// LDK drops an incomplete MPP set after three timer ticks of about ten to sixty seconds; modelled as one minute.
const MPP_SECONDS_MAX: u64 = 60;

/// An LDK payee accepts an HTLC with 41 blocks left and refuses one with 40 (ln/onion_payment.rs:405).
const PAYEE_BLOCKS_MIN: u32 = 41;

/// HTLCs whose sender asks for LDK's own hold (`update_add_htlc.hold_htlc`), in a hundred. `htlc_hold` is off, and LDK fails such an
/// HTLC when it decodes it (temporary node failure, ln/channelmanager.rs:7702), again at each start that finds it undecoded
/// (:20716): so none is ever in `pending_intercepted_htlcs`, and none is told of after a start as LDK 0.3.0-rc3 does with it
/// on.
const NATIVE_HOLD_PERCENT: u64 = 2;

/// The LSP's fee for one HTLC, in millisatoshi.
const FEE_MSAT: u64 = 1_000;

impl State {
    /// A payment that a payer means to make. Answers its number.
    pub fn plan(&mut self, rng: &mut Rng, payer: usize, payee: usize, deadline: u32) -> usize {
        let payment = Payment {
            payer,
            payee,
            pid: Pid(rng.bytes()),
            hash: PaymentHash(rng.bytes()),
            parts: rng.between(1, 4) as usize,
            part_msat: if rng.percent(6) { 400_000 } else { rng.between(600, 9_000) * 1_000 },
            wants_hold: rng.percent(85),
            deadline,
            granted: None,
            unblocked: false,
            released: false,
            cancelled: false,
            cancel_sent: false,
            in_care: false,
            payee_refuses: rng.percent(10),
            payee_knows: false,
            payee_stalls: false,
            sent: Vec::new(),
            held_at_rest: Vec::new(),
        };
        let number = self.payments.len();
        let (parts, part_msat) = (payment.parts, payment.part_msat);
        self.trace
            .line(format!("payment {number} from {payer} to {payee}: {parts} parts of {part_msat} msat"));
        self.payments.push(payment);
        number
    }

    /// The payer puts the next part of a payment on its channel.
    pub fn offer(&mut self, payment: usize, inbound: usize, outbound: usize, out_expiry: u32) {
        let (payer, part_msat) = (self.payments[payment].payer, self.payments[payment].part_msat);
        let htlc_id = self.htlcs.iter().filter(|htlc| htlc.inbound == inbound).count() as u64;
        let number = self.htlcs.len();
        let live = self.payments[payment].granted.filter(|until| self.height < *until);
        let fits = live.map(|until| deadline::part_fits(BlockHeight(until), BlockHeight(out_expiry), MARGIN));
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
            under_hold: fits == Some(true),
            unfit: fits == Some(false),
            waits_since: None,
            pushes: 0,
            alarmed: false,
            native_hold: false,
        });
        self.payments[payment].sent.push(number);
        self.trace.line(format!("htlc {number}: payment {payment}, {part_msat} msat, {out_expiry}"));
        self.memory.at.insert(number, At::Intercepted);
        if self.rng.percent(NATIVE_HOLD_PERCENT) {
            // LDK takes it off the list of what is to be decoded and fails it, without a word to us but that it failed.
            self.trace.line(format!("  htlc {number} asks for LDK's own hold"));
            self.trace.count("HTLC with hold_htlc, refused by LDK");
            self.htlcs[number].native_hold = true;
            self.htlcs[number].under_hold = false;
            self.htlcs[number].unfit = false;
            self.fail(number);
        } else {
            self.memory.events.push_back(Event::Intercepted(number));
        }
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
            self.lose_patience(payment);
            self.payee_answers(payment);
        }
    }

    fn give(&mut self, htlc: usize) {
        // A channel that is being closed together still carries what was added to it before.
        let channel = &self.channels[self.htlcs[htlc].outbound];
        let is_here = self.peers.get(&channel.peer).is_some_and(|peer| peer.connected && peer.usable);
        if self.htlcs[htlc].outer != Outer::None || !channel.open || !is_here {
            return;
        }
        self.htlcs[htlc].outer = Outer::Offered(self.now);
        self.htlcs[htlc].offers += 1;
        self.trace.line(format!("  htlc {htlc} is with its payee"));
        let payee = self.payments[self.htlcs[htlc].payment].payee;
        if self.is_remote(payee) {
            self.trace.count("HTLC sent to another LSP's payee");
            self.wake_remote(payee);
        }
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
        let reach = self.reach(self.payments[payment].payee);
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
                Outer::Claimed if is_out && reach.link => self.learn(htlc, true),
                Outer::Failed if is_out && reach.link => self.learn(htlc, false),
                _ => {}
            }
        }
        if here.is_empty() || !reach.payee || self.payments[payment].payee_stalls {
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
                if reach.link {
                    self.learn(htlc, false);
                }
            }
        } else if here.len() >= self.payments[payment].parts {
            for htlc in here {
                self.htlcs[htlc].outer = Outer::Claimed;
                let channel = self.htlcs[htlc].outbound;
                self.channels[channel].ours_msat -= self.htlcs[htlc].out_msat;
                if reach.link {
                    self.learn(htlc, true);
                }
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
                At::Claimed | At::Failed => self.channels[inbound].peer == peer,
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
