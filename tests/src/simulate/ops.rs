//! What happens in a world, at random.

use std::time::Duration;

use node::{NodeEvent, NodeHandler};
use protocol::units::BlockHeight;

use super::keys::{self, PEER_LSP_NUMBER, PEERS_MAX};
use super::world::{BLOCK_SECONDS, Mail, World};

/// What a payer's route leaves after the deadline: 41 for an LDK payee, and the margin of 6 (`protocol::deadline`).
const AFTER_DEADLINE_BLOCKS: u32 = 47;

/// Payers who ask at once whether their payment_pending is in the LSP's care, in a hundred.
const STATUS_PERCENT: u64 = 40;

impl World {
    /// One operation, and the server's own work after it.
    pub fn operate(&mut self) {
        if self.rng.percent(self.faults_percent) {
            match self.rng.below(3) {
                0 => self.database_fault(),
                _ => self.arm_crash(),
            }
        }
        match self.rng.below(100) {
            0..=41 => self.pay(),
            42..=57 => self.deliver(),
            58..=66 => self.phone_moves(),
            67..=76 => self.time_passes(),
            77..=82 => self.calm_block(),
            83 => self.burst(),
            84 => self.reorg(),
            85..=88 => self.ldk_works(),
            89..=92 => self.passes(),
            93 => self.close_channel(),
            94..=95 => self.duplicate(),
            96..=97 => self.lose_mail(),
            98 => self.guess(),
            _ => self.device_moves(),
        }
        self.after();
    }

    /// What follows every operation: LDK's events, its write, what reaches the peers, and at times the server's loops.
    pub fn after(&mut self) {
        if self.rng.percent(85) {
            self.handle_events();
        }
        if self.rng.percent(75) {
            self.write();
        }
        if self.rng.percent(30) {
            self.passes();
        }
        self.hear();
        if self.faults_percent > 0 && self.rng.percent(30) {
            self.remember_wakes();
        }
        self.revive();
    }

    /// LDK's manager is written, and what it says reaches the peers.
    pub fn write(&mut self) {
        self.with(super::process::Process::write_manager);
        if self.process.as_ref().is_some_and(|process| !process.is_over()) {
            self.model.lock().exchange();
        }
    }

    pub(super) fn note(&self, what: &'static str) {
        let mut state = self.model.lock();
        state.trace.line(format!("- {what}"));
        state.trace.count(what);
    }

    /// A payer takes its next step, or one out of order.
    fn pay(&mut self) {
        let payments = self.model.lock().payments.len();
        let number = self.rng.index(payments);
        let (granted, knows, sent, parts, wants_hold) = {
            let state = self.model.lock();
            let payment = &state.payments[number];
            // What came back is sent again, while the hold is there.
            let is_back = |htlc: &&usize| state.htlcs[**htlc].outcome == Some(false);
            let back = payment.sent.iter().filter(is_back).count().min(payment.parts);
            let sent = payment.sent.len() - back;
            (payment.granted, payment.payee_knows, sent, payment.parts, payment.wants_hold)
        };
        let payer = self.model.lock().payments[number].payer;
        if self.rng.percent(80) {
            self.comes(payer);
            self.reestablished(payer);
        }
        match self.rng.below(12) {
            0 if granted.is_some() => self.mail.push(Mail::Block(number)),
            1 if granted.is_some() => self.mail.push(Mail::Conflict(number)),
            2 if granted.is_some() && self.rng.percent(40) => self.mail.push(Mail::Cancel(number)),
            3 => self.mail.push(Mail::Status(number)),
            _ if wants_hold && granted.is_none() => {
                self.mail.push(Mail::Block(number));
                self.deliver_at(self.mail.len() - 1);
            }
            _ if sent < parts => self.send_part(number),
            _ if !knows => {
                self.mail.push(Mail::Pending(number));
                self.deliver_at(self.mail.len() - 1);
                if self.rng.percent(STATUS_PERCENT) {
                    self.mail.push(Mail::Status(number));
                    self.deliver_at(self.mail.len() - 1);
                }
            }
            _ => self.deliver(),
        }
    }

    pub(super) fn send_part(&mut self, number: usize) {
        let slack = self.rng.below(30) as u32;
        let short = self.rng.percent(5);
        let mut state = self.model.lock();
        let payment = &state.payments[number];
        let payer = keys::payer(payment.payer).id;
        let payee =
            if state.is_remote(payment.payee) { keys::PEER_LSP.id } else { keys::payee(payment.payee).id };
        let until = payment.granted.unwrap_or(state.height);
        let after = if short { AFTER_DEADLINE_BLOCKS - 4 } else { AFTER_DEADLINE_BLOCKS + slack };
        let out_expiry = until.max(state.height) + after;
        let of = |peer| {
            let open = state.channels.iter().enumerate();
            open.filter(|(_, channel)| channel.peer == peer && channel.open && !channel.shutting_down)
                .map(|(channel, _)| channel)
                .collect::<Vec<_>>()
        };
        let (from, to) = (of(payer), of(payee));
        if from.is_empty() || to.is_empty() || !state.peers[&payer].usable || state.dead {
            return;
        }
        let (from, to) = (from[self.rng.index(from.len())], to[self.rng.index(to.len())]);
        state.offer(number, from, to, out_expiry);
        state.trace.count("HTLC sent");
    }

    /// A phone comes or goes.
    fn phone_moves(&mut self) {
        let state = self.model.lock();
        let phones: Vec<_> = (0..PEERS_MAX)
            .filter(|n| state.peers.contains_key(&Self::phone(*n)) || state.remote_payee(*n).is_some())
            .collect();
        drop(state);
        let phone = phones[self.rng.index(phones.len())];
        let remote = self.model.lock().remote_payee(phone);
        if let Some(payee) = remote {
            if self.model.lock().remote.here.contains(&payee) {
                self.leaves(phone);
            } else {
                self.comes(phone);
            }
            return;
        }
        // One kind of phone comes only at the very end.
        if !self.model.lock().answers_pushes(phone) && self.rng.percent(60) {
            self.leaves(phone);
            return;
        }
        let peer = self.model.lock().peers[&Self::phone(phone)];
        if peer.connected && !peer.usable {
            self.reestablished(phone);
        } else if peer.connected {
            self.leaves(phone);
        } else {
            self.comes(phone);
        }
    }

    /// A phone connects; its channels come up now or a little later.
    pub fn comes(&mut self, phone: usize) {
        let id = Self::phone(phone);
        if self.comes_to_the_other_lsp(phone) {
            return;
        }
        {
            let mut state = self.model.lock();
            if state.dead || state.peers.get(&id).is_none_or(|peer| peer.connected) {
                return;
            }
            state.trace.line(format!("- phone {phone} comes"));
            state.trace.count("phone came");
            if let Some(peer) = state.peers.get_mut(&id) {
                peer.connected = true;
            }
            state.wakes_up(phone);
        }
        self.with(|process| process.call(|handler| handler.peer_connected(id)));
        let kept = NodeEvent::OnionMessagePeerConnected { peer: id };
        self.with(|process| {
            process.event(kept);
        });
        if self.rng.percent(70) {
            self.reestablished(phone);
        }
    }

    /// A phone's channels are usable.
    pub fn reestablished(&mut self, phone: usize) {
        let mut state = self.model.lock();
        if let Some(peer) = state.peers.get_mut(&Self::phone(phone)) {
            peer.usable = peer.connected;
        }
    }

    /// A phone goes.
    pub fn leaves(&mut self, phone: usize) {
        let id = Self::phone(phone);
        {
            let mut state = self.model.lock();
            if let Some(payee) = state.remote_payee(phone) {
                state.remote.here.remove(&payee);
                state.trace.line(format!("- phone {phone} goes from the other LSP"));
                return;
            }
            let Some(peer) = state.peers.get_mut(&id).filter(|peer| peer.connected) else { return };
            (peer.connected, peer.usable) = (false, false);
            state.trace.line(format!("- phone {phone} goes"));
            state.trace.count("phone went");
            state.begins_to_wait(phone);
        }
        self.with(|process| process.call(|handler| handler.peer_disconnected(id)));
    }

    fn time_passes(&mut self) {
        let seconds = self.rng.between(1, 90);
        self.model.lock().trace.line(format!("- {seconds} seconds"));
        self.sleep(seconds);
    }

    /// Time passes, and phones that were pushed come.
    pub fn sleep(&mut self, seconds: u64) {
        let to = self.model.lock().now + Duration::from_secs(seconds);
        loop {
            let next = {
                let mut state = self.model.lock();
                state.coming.sort_unstable();
                let due = state.coming.first().copied().filter(|(at, _)| *at <= to);
                if due.is_some() {
                    state.coming.remove(0);
                }
                due
            };
            let until = next.map_or(to, |(at, _)| at);
            self.with(|process| process.advance_to(until));
            {
                let mut state = self.model.lock();
                state.now = state.now.max(until);
            }
            let Some((_, phone)) = next else { return };
            self.comes(phone);
            self.reestablished(phone);
        }
    }

    /// A block as blocks come, with the server at work.
    pub fn calm_block(&mut self) {
        self.begin_block();
        self.handle_events();
        self.passes();
        self.write();
        self.check_waiting();
    }

    /// A block of which the server has heard.
    pub(super) fn begin_block(&mut self) {
        self.sleep(BLOCK_SECONDS);
        for phone in 0..PEERS_MAX {
            // Ten minutes are enough for whoever is connected.
            self.reestablished(phone);
        }
        if self.rng.percent(70) {
            self.comes(PEER_LSP_NUMBER);
        }
        {
            let mut state = self.model.lock();
            let height = state.height + 1;
            state.set_height(height);
            if state.dead {
                return;
            }
            state.block_connected();
            state.calm += 1;
        }
        self.tell_block();
    }

    /// What must hold after each block that the server had time for.
    pub(super) fn check_waiting(&self) {
        let mut alarmed = None;
        self.with(|process| {
            let alarms = process.payments.alarms();
            alarmed = Some(alarms.iter().any(|alarm| alarm.contains("wait for phones")));
        });
        if let Some(alarmed) = alarmed {
            let mut state = self.model.lock();
            state.check_waiting(alarmed);
            state.check_deadlines();
        }
    }

    pub(super) fn tell_block(&self) {
        let height = BlockHeight(self.model.lock().height);
        self.with(|process| process.call(|handler| handler.block_connected(height)));
    }

    fn ldk_works(&mut self) {
        {
            let mut state = self.model.lock();
            if state.dead {
                return;
            }
            state.process_forwards();
        }
        self.handle_events();
        self.write();
    }

    /// The server's loops, each once.
    pub fn passes(&mut self) {
        self.with(|process| {
            let payments = process.payments.clone();
            process.run(async move { drop(payments.send_due().await) });
        });
        self.with(|process| {
            let mailbox = process.mailbox.clone();
            process.run(async move { drop(mailbox.rescan().await) });
        });
        self.with(|process| {
            let mailbox = process.mailbox.clone();
            process.run(async move { mailbox.serve_asked().await });
        });
        self.passes_for_htlcs();
        self.hear();
    }

    /// Those that look after HTLCs.
    pub(super) fn passes_for_htlcs(&mut self) {
        self.with(|process| {
            let payments = process.payments.clone();
            process.run(async move { drop(payments.reconcile().await) });
        });
        self.with(|process| {
            let payments = process.payments.clone();
            process.run(async move { drop(payments.wake_sleepers().await) });
        });
        self.with(|process| {
            let waker = process.waker.clone();
            process.run(async move { drop(waker.dispatch().await) });
        });
        self.model.lock().check_released();
    }
}
