//! Another LSP, whose clients some of the payees are: it is a peer of this one, and nearly always here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::keys::{self, PAYERS_MAX, PEER_LSP};
use super::{At, Outer, State};

/// How long it keeps an HTLC for a payee that sleeps, in seconds; then it fails it, temporarily.
const PATIENCE_SECONDS: u64 = 60;

/// How long a payee takes to come once its own LSP has woken it, in seconds.
const COMES_SECONDS_MAX: u64 = 120;

/// The other LSP and its clients.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// Its clients, by number of payee.
    pub payees: BTreeSet<usize>,
    /// Those that are connected to it.
    pub here: BTreeSet<usize>,
    /// Messages that it keeps for them, by payment.
    pub mail: Vec<usize>,
}

/// How a payee is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The peer on whose channel its HTLCs go is here.
    pub(super) link: bool,
    /// The payee itself can answer.
    pub(super) payee: bool,
}

impl State {
    /// Whether a payee is the other LSP's client.
    pub fn is_remote(&self, payee: usize) -> bool {
        self.remote.payees.contains(&payee)
    }

    /// The payee that a phone is, if it is the other LSP's client.
    pub fn remote_payee(&self, phone: usize) -> Option<usize> {
        phone.checked_sub(PAYERS_MAX).filter(|payee| self.is_remote(*payee))
    }

    /// A phone that comes answers what it left unanswered.
    pub fn wakes_up(&mut self, phone: usize) {
        for payment in &mut self.payments {
            if payment.payee + PAYERS_MAX == phone {
                payment.payee_stalls = false;
            }
        }
    }

    /// A phone that goes has from now on to be brought back for what is open on its channels.
    pub fn begins_to_wait(&mut self, phone: usize) {
        for htlc in 0..self.htlcs.len() {
            let channel = match self.at(htlc) {
                At::Claimed | At::Failed => self.htlcs[htlc].inbound,
                At::Out => self.htlcs[htlc].outbound,
                _ => continue,
            };
            if self.phone_of(channel) == phone {
                self.htlcs[htlc].waits_since = Some(self.calm);
                self.htlcs[htlc].pushes = 0;
                self.htlcs[htlc].alarmed = false;
            }
        }
    }

    /// How a payee is reached now.
    pub(super) fn reach(&self, payee: usize) -> Reach {
        if self.is_remote(payee) {
            let link = self.peers.get(&PEER_LSP.id).is_some_and(|peer| peer.usable);
            return Reach { link, payee: self.remote.here.contains(&payee) };
        }
        let usable = self.peers.get(&keys::payee(payee).id).is_some_and(|peer| peer.usable);
        Reach { link: usable, payee: usable }
    }

    /// The other LSP got an HTLC, or a message, for one of its clients: it wakes it, which works more often than not.
    pub fn wake_remote(&mut self, payee: usize) {
        if self.remote.here.contains(&payee) || !self.rng.percent(70) {
            return;
        }
        let after = Duration::from_secs(self.rng.between(1, COMES_SECONDS_MAX));
        self.coming.push((self.now + after, PAYERS_MAX + payee));
    }

    /// This LSP calls the other one at its announced address. Answers whether it is here.
    pub(super) fn called(&mut self) -> bool {
        let answers = self.rng.percent(60);
        if let Some(peer) = self.peers.get_mut(&PEER_LSP.id).filter(|_| answers) {
            peer.connected = true;
            self.dialled = true;
            self.trace.count("other LSP called");
        }
        answers
    }

    /// The other LSP fails what its client did not come for.
    pub(super) fn lose_patience(&mut self, payment: usize) {
        let payee = self.payments[payment].payee;
        if !self.is_remote(payee) || self.remote.here.contains(&payee) {
            return;
        }
        for htlc in self.payments[payment].sent.clone() {
            if let Outer::Offered(since) = self.htlcs[htlc].outer
                && self.now > since + Duration::from_secs(PATIENCE_SECONDS)
            {
                self.htlcs[htlc].outer = Outer::Failed;
                self.trace.line(format!("  htlc {htlc}: its payee's LSP fails it"));
                self.trace.count("HTLC failed by the payee's own LSP");
            }
        }
    }
}
