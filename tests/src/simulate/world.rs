//! One generated world: phones, channels, payments, and the server among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;
use node::{InboundHtlc, InterceptedHtlc, NodeEvent, NodeHandler};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::{BlockAnswer, HoldStateCode, Message};

use super::away::Absence;
use super::keys::{self, PAYERS_MAX, PEER_LSP, PEER_LSP_NUMBER, PEERS_MAX};
use super::ldk::{Chan, Event, Model, Peer};
use super::process::Process;
use super::rng::Rng;

/// The height that worlds begin at.
const HEIGHT: u32 = 1_000;

/// Seconds from block to block.
pub const BLOCK_SECONDS: u64 = 600;

/// Worlds with another LSP, in a hundred.
const REMOTE_PERCENT: u64 = 30;

/// Blocks until the deadlines that payers ask for. The LSP grants fewer (`super::process::limits`).
const DEADLINE_BLOCKS: (u64, u64) = (5, 180);

/// A message that was handed over is looked after for less than that (`CONFIRM_AFTER` of the mailbox, and the clock's grain).
const HANDED_OVER_SECONDS: Duration = Duration::from_secs(5);

/// A message on its way to the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// payment_block
    Block(usize),
    /// payment_block with the same pid hash and another payment hash
    Conflict(usize),
    /// payment_cancel
    Cancel(usize),
    /// payment_status
    Status(usize),
    /// payment_pending, which passes through
    Pending(usize),
    /// payment_unblock, which passes through
    Unblock(usize),
    /// payment_unblock with a pid that somebody guessed
    Guess(usize),
}

/// A world under way.
pub struct World {
    /// Chance.
    pub rng: Rng,
    /// LDK, the peers, the chain.
    pub model: Model,
    /// The server, while it runs.
    pub process: Option<Process>,
    /// Messages on their way to the LSP.
    pub mail: Vec<Mail>,
    /// Operations with a crash or a database error, in a hundred.
    pub faults_percent: u64,
    /// Onion messages that the LSP took into its mailbox and has not handed over, with the time until which it keeps them.
    pub stored: BTreeMap<(PublicKey, Vec<u8>), Duration>,
    /// Onion messages that were handed over, and when last.
    pub handed_over: BTreeMap<(PublicKey, Vec<u8>), Duration>,
    /// Devices whose registration was answered.
    pub devices: BTreeSet<[u8; 16]>,
    /// Devices whose removal was answered.
    pub devices_removed: BTreeSet<[u8; 16]>,
    /// Wakes that were queued when the server was last looked at, by row, with the time until which they are kept at least.
    pub wakes: BTreeMap<i64, Duration>,
    /// Who will stay away for long.
    pub absence: Absence,
    /// Devices that were made up so far.
    pub serial: u64,
    /// One connection may turn out to be dead when a message is handed over.
    pub may_lose_connection: bool,
    path: PathBuf,
}

impl World {
    /// The world of this seed, its server started for the first time on a database in `folder`.
    pub fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = Rng::new(seed);
        let model = Model::new(seed, HEIGHT);
        let payers = rng.between(1, PAYERS_MAX as u64) as usize;
        let payees = rng.between(1, keys::PAYEES_MAX as u64) as usize;
        {
            let mut state = model.lock();
            let mut scid = 100;
            let phones = (0..payers).map(|n| (keys::payer(n).id, rng.between(1, 2), 0));
            let phones: Vec<_> = phones.collect();
            let mut payees_of: Vec<_> =
                (0..payees).map(|n| (keys::payee(n).id, 1, rng.between(2, 60) * 1_000_000)).collect();
            if rng.percent(REMOTE_PERCENT) {
                // One payee is another LSP's client: its HTLCs go on the channel between the two.
                let payee = rng.index(payees);
                state.remote.payees.insert(payee);
                payees_of[payee].0 = PEER_LSP.id;
            }
            for (peer, channels, ours_msat) in phones.into_iter().chain(payees_of) {
                state.peers.insert(peer, Peer::default());
                for _ in 0..channels {
                    scid += 1;
                    let id = ChannelId(sha256::Hash::hash(&u64::to_be_bytes(scid)).to_byte_array());
                    let first = ours_msat;
                    let chan = Chan {
                        id,
                        peer,
                        scid,
                        open: true,
                        shutting_down: false,
                        ours_msat,
                        ours_first_msat: first,
                    };
                    state.channels.push(chan);
                }
            }
            for _ in 0..rng.between(1, 5) {
                let deadline = HEIGHT + rng.between(DEADLINE_BLOCKS.0, DEADLINE_BLOCKS.1) as u32;
                let (payer, payee) = (rng.index(payers), rng.index(payees));
                state.plan(&mut rng, payer, payee, deadline);
            }
        }
        let path = folder.join("lsp.db");
        let faults_percent = [0, 2, 5, 12][rng.index(4)];
        let mut world = Self {
            absence: Absence::choose(&mut rng),
            rng,
            model,
            process: None,
            mail: Vec::new(),
            stored: BTreeMap::new(),
            handed_over: BTreeMap::new(),
            devices: BTreeSet::new(),
            devices_removed: BTreeSet::new(),
            wakes: BTreeMap::new(),
            serial: 0,
            may_lose_connection: true,
            faults_percent,
            path,
        };
        world.mute_some();
        world.start();
        for phone in world.phones_here() {
            world.register(phone);
        }
        world.revive();
        world
    }

    /// The phones of this world that are this LSP's clients.
    pub(super) fn phones_here(&self) -> Vec<usize> {
        let state = self.model.lock();
        (0..PEER_LSP_NUMBER).filter(|phone| state.peers.contains_key(&Self::phone(*phone))).collect()
    }

    /// The node id of a phone: payers first, then payees, and the other LSP.
    pub fn phone(phone: usize) -> PublicKey {
        match phone {
            PEER_LSP_NUMBER => PEER_LSP.id,
            payer if payer < PAYERS_MAX => keys::payer(payer).id,
            payee => keys::payee(payee - PAYERS_MAX).id,
        }
    }

    /// The server starts; a crash on the way makes it start again.
    pub fn start(&mut self) {
        loop {
            let process = Process::start(&self.model, &self.path);
            if !process.is_over() {
                self.process = Some(process);
                break;
            }
            process.kill();
        }
        self.check_kept();
    }

    /// Sweeps away a process that is over, and starts another.
    pub fn revive(&mut self) {
        while self.process.as_ref().is_none_or(Process::is_over) {
            if let Some(process) = self.process.take() {
                process.kill();
            }
            self.start();
        }
        self.model.lock().check_groups();
        if std::mem::take(&mut self.model.lock().fresh) {
            // Wallets connect again when their LSP is back.
            for phone in 0..PEERS_MAX {
                if self.rng.percent(50) && self.model.lock().answers_pushes(phone) {
                    self.comes(phone);
                }
            }
        }
    }

    /// Runs something of the server's, if it lives.
    pub fn with(&self, what: impl FnOnce(&Process)) {
        if let Some(process) = self.process.as_ref().filter(|process| !process.is_over()) {
            what(process);
        }
    }

    /// Takes what the server answered and handed over.
    pub fn hear(&mut self) {
        let (replies, outbox) = {
            let mut state = self.model.lock();
            (std::mem::take(&mut state.replies), std::mem::take(&mut state.outbox))
        };
        for reply in replies {
            self.hear_reply(reply);
        }
        for (peer, message) in outbox {
            let payment = message.first().copied().map(usize::from).unwrap_or_default();
            if self.was_dead(peer, &message) {
                continue;
            }
            let now = self.model.lock().now;
            self.stored.remove(&(peer, message.clone()));
            self.handed_over.insert((peer, message), now);
            if peer == PEER_LSP.id {
                self.peer_lsp_hears(payment);
            } else {
                self.payee_hears(payment);
            }
        }
        if std::mem::take(&mut self.model.lock().dialled) {
            self.with(|process| process.call(|handler| handler.peer_connected(PEER_LSP.id)));
        }
    }

    /// The other LSP keeps the message for its client, and wakes it.
    fn peer_lsp_hears(&mut self, payment: usize) {
        let payee = {
            let mut state = self.model.lock();
            let payee = state.payments[payment].payee;
            if !state.remote.here.contains(&payee) {
                state.trace.line(format!("  the other LSP keeps the message of payment {payment}"));
                state.remote.mail.push(payment);
                state.wake_remote(payee);
                return;
            }
            payee
        };
        self.model.lock().trace.line(format!("  the other LSP hands payee {payee} its message"));
        self.payee_hears(payment);
    }

    /// A payee got payment_pending: it answers along the reply path, which carries the pid.
    pub fn payee_hears(&mut self, payment: usize) {
        let mut state = self.model.lock();
        state.trace.line(format!("  payee has the message of payment {payment}"));
        state.payments[payment].payee_knows = true;
        drop(state);
        self.mail.push(Mail::Unblock(payment));
    }

    fn hear_reply(&mut self, reply: Message) {
        let mut state = self.model.lock();
        match reply {
            Message::PaymentBlockAck(ack) => {
                let number = state.payments.iter().position(|payment| payment.pid.hash() == ack.pid_hash);
                let Some(number) = number else { return };
                let BlockAnswer::Accepted { deadline } = ack.answer else {
                    state.trace.count("block refused");
                    state.trace.line(format!("  payment {number} refused: {:?}", ack.answer));
                    return;
                };
                let payment = &mut state.payments[number];
                let (asked, before) = (payment.deadline, payment.granted.replace(deadline.0));
                state.trace.line(format!("  payment {number} granted until {deadline}"));
                state.trace.count("block granted");
                if deadline.0 > asked || before.is_some_and(|before| before != deadline.0) {
                    state
                        .trace
                        .violation(format!("payment {number}: asked {asked}, {before:?}, then {deadline}"));
                }
            }
            Message::PaymentStatusReply(reply) => {
                for hold in reply.holds {
                    let number =
                        state.payments.iter().position(|payment| payment.pid.hash() == hold.pid_hash);
                    let Some(number) = number else { continue };
                    state.payments[number].in_care |= hold.pending_in_care;
                    if hold.state == HoldStateCode::Cancelled {
                        state.payments[number].cancelled = true;
                        state.trace.line(format!("  payment {number} is cancelled"));
                    }
                }
            }
            _ => {}
        }
    }

    /// LDK's events, until one is to be given again or none is left.
    pub fn handle_events(&mut self) {
        loop {
            let event = {
                let mut state = self.model.lock();
                if state.dead {
                    return;
                }
                state.memory.events.pop_front()
            };
            let Some(event) = event else { return };
            let taken = self.handle_event(&event);
            let mut state = self.model.lock();
            if state.dead {
                return;
            }
            if !taken {
                state.trace.count("event to be given again");
                state.memory.events.push_front(event);
                return;
            }
        }
    }

    fn handle_event(&mut self, event: &Event) -> bool {
        let told = {
            let mut state = self.model.lock();
            state.trace.line(match event {
                Event::Onion { message, .. } => format!("event Onion {:?}", message.first()),
                event => format!("event {event:?}"),
            });
            match event {
                Event::Intercepted(number) => {
                    let htlc = &state.htlcs[*number];
                    let intercepted = InterceptedHtlc {
                        intercept_id: htlc.intercept_id,
                        payment_hash: state.payments[htlc.payment].hash,
                        next_hop_scid: state.channels[htlc.outbound].scid,
                        inbound_amount: Msat(htlc.amount_msat),
                        outbound_amount: Msat(htlc.out_msat),
                        outgoing_expiry: BlockHeight(htlc.out_expiry),
                    };
                    state.htlcs[*number].told = true;
                    NodeEvent::HtlcIntercepted(intercepted)
                }
                Event::Forwarded(number) => {
                    let htlc = &state.htlcs[*number];
                    let channel = &state.channels[htlc.inbound];
                    let inbound = InboundHtlc {
                        channel_id: channel.id,
                        htlc_id: htlc.htlc_id,
                        peer: Some(channel.peer),
                    };
                    NodeEvent::PaymentForwarded {
                        inbound: vec![inbound],
                        fee: None,
                        outbound_amount: Msat(htlc.out_msat),
                    }
                }
                Event::HandlingFailed(number) => NodeEvent::HtlcHandlingFailed {
                    inbound_channel_ids: vec![state.channels[state.htlcs[*number].inbound].id],
                    reason: String::new(),
                },
                Event::Closed(channel) => NodeEvent::ChannelClosed {
                    channel_id: state.channels[*channel].id,
                    peer: Some(state.channels[*channel].peer),
                    reason: String::new(),
                },
                Event::Onion { from, to, message } => NodeEvent::OnionMessageIntercepted {
                    previous_hop: Some(*from),
                    next_hop: *to,
                    message: message.clone(),
                },
            }
        };
        let Some(process) = &self.process else { return false };
        let taken = process.event(told);
        if let Event::Onion { to, message, .. } = event
            && taken
            && !process.is_over()
        {
            let now = self.model.lock().now;
            let until = now + Duration::from_secs(1_000 * BLOCK_SECONDS);
            // The same packet waits once, and what was handed over a moment ago waits until the phone has proven to stay.
            let handed_over = self.handed_over.get(&(*to, message.clone()));
            if handed_over.is_none_or(|at| now > *at + HANDED_OVER_SECONDS) {
                self.stored.insert((*to, message.clone()), until);
            }
        }
        self.hear();
        taken
    }
}
