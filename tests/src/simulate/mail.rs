//! Messages that reach the LSP, or do not.

use bitcoin::secp256k1::PublicKey;
use node::{ForwardVerdict, ForwardedOnion, IncomingMessage, NodeHandler};
use protocol::ids::Pid;
use protocol::units::BlockHeight;
use protocol::wire::{BlockAnswer, Message, PaymentBlock, PaymentCancel, PaymentStatus};

use super::keys::{self, LSP, PEER_LSP_NUMBER};
use super::ldk::Event;
use super::world::{Mail, World};

/// Kept messages that are handed to a phone which is gone and was not missed yet, in a hundred.
const DEAD_CONNECTION_PERCENT: u64 = 8;

impl World {
    /// A message reaches the LSP: any of those under way.
    pub(super) fn deliver(&mut self) {
        if !self.mail.is_empty() {
            let index = self.rng.index(self.mail.len());
            self.deliver_at(index);
        }
    }

    pub(super) fn deliver_at(&mut self, index: usize) {
        let mail = self.mail.remove(index);
        {
            let mut state = self.model.lock();
            state.trace.line(format!("- arrives {mail:?}"));
            if let Mail::Cancel(number) = mail {
                state.payments[number].cancel_sent = true;
            }
        }
        if self.rng.percent(8) {
            self.model.lock().trace.count("message doubled");
            self.mail.push(mail);
        }
        match mail {
            Mail::Pending(number) => self.pass_pending(number),
            Mail::Unblock(number) => {
                let (pid, height) = {
                    let mut state = self.model.lock();
                    state.payments[number].unblocked = true;
                    (state.payments[number].pid, state.height)
                };
                self.pass_unblock(number, pid);
                let alive = self.process.as_ref().is_some_and(|process| !process.is_over());
                let mut state = self.model.lock();
                let payment = &mut state.payments[number];
                payment.released |= alive && payment.granted.is_some_and(|until| height < until);
            }
            Mail::Guess(number) => {
                let pid = Pid(self.rng.bytes());
                self.pass_unblock(number, pid);
            }
            _ => self.request(mail),
        }
    }

    fn request(&mut self, mail: Mail) {
        let Some(message) = self.message(mail) else { return };
        let incoming = IncomingMessage { message, context: None, reply_to: Some(keys::reply_to()) };
        let before = self.conflicted(mail);
        if let Some(process) = self.process.as_mut().filter(|process| !process.is_over()) {
            process.call(|handler| handler.message(incoming));
            process.answer();
        }
        if matches!(mail, Mail::Conflict(_)) {
            self.judge_conflict(before);
        }
        self.hear();
    }

    fn conflicted(&self, mail: Mail) -> Option<u32> {
        match mail {
            Mail::Conflict(number) => self.model.lock().payments[number].granted,
            _ => None,
        }
    }

    /// Another request under the same pid hash must be refused.
    fn judge_conflict(&mut self, granted: Option<u32>) {
        let mut state = self.model.lock();
        let accepted = state.replies.iter().any(|reply| {
            matches!(reply, Message::PaymentBlockAck(ack)
                if matches!(ack.answer, BlockAnswer::Accepted { .. }))
        });
        if accepted && granted.is_some() {
            state.trace.violation("a conflicting block request was accepted".to_owned());
        }
    }

    fn message(&self, mail: Mail) -> Option<Message> {
        let state = self.model.lock();
        let number = match mail {
            Mail::Block(number) | Mail::Conflict(number) | Mail::Cancel(number) | Mail::Status(number) => {
                number
            }
            _ => return None,
        };
        let payment = &state.payments[number];
        let payer = keys::payer(payment.payer);
        let pid_hash = payment.pid.hash();
        let sign = |text: &[u8]| Ok(payer.sign(text));
        let mut hash = payment.hash;
        if matches!(mail, Mail::Conflict(_)) {
            hash.0[0] ^= 1;
        }
        let deadline = BlockHeight(payment.deadline);
        Some(match mail {
            Mail::Cancel(_) => {
                Message::PaymentCancel(PaymentCancel::sign(payer.id, pid_hash, &LSP.id, sign).ok()?)
            }
            Mail::Status(_) => {
                Message::PaymentStatus(PaymentStatus::sign(payer.id, Some(pid_hash), &LSP.id, sign).ok()?)
            }
            _ => Message::PaymentBlock(
                PaymentBlock::sign(payer.id, pid_hash, vec![hash], deadline, &LSP.id, sign).ok()?,
            ),
        })
    }

    /// payment_pending passes the LSP on its way to the payee.
    fn pass_pending(&mut self, number: usize) {
        let (payer, payee, pid_hash) = {
            let state = self.model.lock();
            let payment = &state.payments[number];
            let next = if state.is_remote(payment.payee) {
                keys::PEER_LSP.id
            } else {
                keys::payee(payment.payee).id
            };
            (keys::payer(payment.payer).id, next, payment.pid.hash())
        };
        let message = vec![number as u8; 40];
        let seen = ForwardedOnion {
            previous_hop: payer,
            payment_unblock: None,
            payment_pending_for: Some(pid_hash),
            next_hop: Some(payee),
            outgoing: Some(message.clone()),
        };
        if self.forwarding(seen) == Some(ForwardVerdict::Forward) {
            let mut state = self.model.lock();
            if state.peers[&payee].connected {
                state.outbox.push((payee, message));
            } else {
                state.memory.events.push_back(Event::Onion { from: payer, to: payee, message });
            }
        }
        self.hear();
    }

    fn pass_unblock(&mut self, number: usize, pid: Pid) {
        let payment = self.model.lock().payments[number].clone();
        self.forwarding(ForwardedOnion {
            previous_hop: keys::payee(payment.payee).id,
            payment_unblock: Some(pid),
            payment_pending_for: None,
            next_hop: Some(keys::payer(payment.payer).id),
            outgoing: None,
        });
    }

    fn forwarding(&self, seen: ForwardedOnion) -> Option<ForwardVerdict> {
        let mut verdict = None;
        self.with(|process| process.call(|handler| verdict = Some(handler.forwarding(seen))));
        verdict
    }

    pub(super) fn guess(&mut self) {
        let number = self.rng.index(self.model.lock().payments.len());
        self.mail.push(Mail::Guess(number));
        self.deliver_at(self.mail.len() - 1);
    }

    pub(super) fn lose_mail(&mut self) {
        if !self.mail.is_empty() {
            let index = self.rng.index(self.mail.len());
            let lost = self.mail.remove(index);
            let mut state = self.model.lock();
            state.trace.line(format!("- lost {lost:?}"));
            state.trace.count("message lost");
        }
    }

    /// The phone that a kept message was handed to was gone already: its LSP hears of that only now, and keeps the message.
    pub(super) fn was_dead(&mut self, peer: PublicKey, message: &[u8]) -> bool {
        let key = (peer, message.to_vec());
        let is_kept = self.stored.contains_key(&key) && !self.handed_over.contains_key(&key);
        let phone = (0..PEER_LSP_NUMBER).find(|phone| Self::phone(*phone) == peer);
        let Some(phone) = phone.filter(|_| is_kept && self.may_lose_connection) else { return false };
        let is_here = self.model.lock().peers.get(&peer).is_some_and(|peer| peer.connected);
        if !is_here || !self.rng.percent(DEAD_CONNECTION_PERCENT) {
            return false;
        }
        self.may_lose_connection = false;
        self.note("kept message handed to a dead connection");
        self.leaves(phone);
        true
    }
}
