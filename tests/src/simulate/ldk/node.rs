//! The model as the server sees it.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lsp_server::mailbox::MailboxNode;
use lsp_server::payment::PaymentNode;
use lsp_server::wake::WakeNode;
use node::{
    Channel, ChannelCarry, NodeError, PendingInboundHtlc, PendingState, ReplyTo, SleepingHtlc, SleepingSide,
    UnresolvedHtlcs,
};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::Message;

use super::super::keys::{LSP, PEER_LSP};
use super::{At, Model, State};

/// One life of the LSP's process.
pub struct ModelNode {
    model: Model,
    life: u64,
}

fn refused(action: &'static str, reason: &str) -> NodeError {
    NodeError::Refused { action, reason: reason.to_owned() }
}

fn pending_state(at: At) -> PendingState {
    match at {
        At::Claimed => PendingState::AwaitingRemoveFulfill,
        At::Failed => PendingState::AwaitingRemoveFail,
        _ => PendingState::Committed,
    }
}

impl ModelNode {
    /// Of the process that lives now.
    pub fn new(model: Model) -> Arc<Self> {
        let life = model.lock().life;
        Arc::new(Self { model, life })
    }

    /// A call that changes something: it may be the one before which the process dies.
    fn act<T>(&self, what: impl FnOnce() -> String, body: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.model.lock();
        if state.life != self.life || state.dead {
            return None;
        }
        if let Some(calls) = state.crash_in {
            if calls == 0 {
                state.trace.count("crash between commit and effect");
                let why = what();
                state.die(&format!("before {why}"));
                return None;
            }
            state.crash_in = Some(calls - 1);
        }
        let line = format!("  ldk {}", what());
        state.trace.line(line);
        Some(body(&mut state))
    }

    fn look<T>(&self, body: impl FnOnce(&State) -> T) -> T {
        body(&self.model.lock())
    }
}

impl State {
    fn htlc_of(&self, id: InterceptId) -> Option<usize> {
        self.htlcs.iter().position(|htlc| htlc.intercept_id == id)
    }

    fn channel_of_scid(&self, scid: u64) -> Option<usize> {
        self.channels.iter().position(|channel| channel.scid == scid && channel.open)
    }

    fn pending(&self, peer: PublicKey) -> impl Iterator<Item = (usize, At)> {
        self.memory.at.iter().map(|(htlc, at)| (*htlc, *at)).filter(move |(htlc, at)| {
            let channel = &self.channels[self.htlcs[*htlc].inbound];
            *at != At::Gone && channel.open && channel.peer == peer
        })
    }

    fn listed(&self, number: usize, at: At) -> PendingInboundHtlc {
        let htlc = &self.htlcs[number];
        PendingInboundHtlc {
            intercept_id: htlc.intercept_id,
            channel_id: self.channels[htlc.inbound].id,
            htlc_id: htlc.htlc_id,
            payment_hash: self.payments[htlc.payment].hash,
            amount: Msat(htlc.amount_msat),
            expiry: BlockHeight(htlc.expiry),
            state: pending_state(at),
            channel_is_shutting_down: self.channels[htlc.inbound].shutting_down,
        }
    }

    fn forward_intercepted(&mut self, id: InterceptId, scid: u64, amount: Msat) -> Result<(), NodeError> {
        // The channel first: an HTLC whose channel cannot take it stays (ln/channelmanager.rs:7439).
        let Some(channel) = self.channel_of_scid(scid) else {
            return Err(refused("forwarding", "no such channel"));
        };
        let htlc = self.htlc_of(id).filter(|htlc| self.at(*htlc) == At::Intercepted);
        let Some(htlc) = htlc else {
            return Err(refused("forwarding", "not found"));
        };
        self.check_forward(htlc, channel, amount);
        self.set(htlc, At::Queued);
        Ok(())
    }
}

impl PaymentNode for ModelNode {
    fn node_id(&self) -> PublicKey {
        LSP.id
    }

    fn height(&self) -> BlockHeight {
        self.look(|state| BlockHeight(state.height))
    }

    fn is_connected(&self, peer: PublicKey) -> bool {
        self.look(|state| state.peers.get(&peer).is_some_and(|peer| peer.connected))
    }

    fn channels_with(&self, peer: PublicKey) -> Vec<Channel> {
        self.look(|state| {
            let channels = state.channels.iter().enumerate();
            let of_peer = channels.filter(|(_, channel)| channel.open && channel.peer == peer);
            of_peer
                .map(|(number, channel)| Channel {
                    channel_id: channel.id,
                    peer,
                    funding: None,
                    short_channel_id: Some(channel.scid),
                    capacity_sat: 0,
                    balance: Msat(channel.ours_msat),
                    outbound_capacity: Msat(state.room(number).0),
                    inbound_capacity: Msat(0),
                    is_usable: state.is_usable(number),
                    is_ready: true,
                    is_announced: peer == PEER_LSP.id,
                    is_shutting_down: channel.shutting_down,
                    pending_inbound_htlcs: 0,
                    pending_outbound_htlcs: state.room(number).1,
                })
                .collect()
        })
    }

    fn peer_of_channel(&self, channel_id: ChannelId) -> Option<PublicKey> {
        self.look(|state| {
            state
                .channels
                .iter()
                .find(|channel| channel.open && channel.id == channel_id)
                .map(|channel| channel.peer)
        })
    }

    fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc> {
        self.look(|state| state.pending(peer).map(|(htlc, at)| state.listed(htlc, at)).collect())
    }

    fn has_inbound_htlc(&self, id: InterceptId) -> bool {
        self.look(|state| {
            let is_it = |(htlc, at)| state.listed(htlc, at).intercept_id == id;
            state.peers.keys().any(|peer| state.pending(*peer).any(is_it))
        })
    }

    fn unresolved_htlcs(&self) -> UnresolvedHtlcs {
        self.look(|state| {
            let of_peer = |peer: &PublicKey| {
                let peer = *peer;
                state.pending(peer).map(move |(htlc, at)| (peer, state.listed(htlc, at)))
            };
            let out = state.memory.at.iter().filter(|(_, at)| **at == At::Out);
            let hash = |htlc: usize| state.payments[state.htlcs[htlc].payment].hash;
            UnresolvedHtlcs {
                inbound: state.peers.keys().flat_map(of_peer).collect(),
                outbound: out.map(|(htlc, _)| hash(*htlc)).collect(),
            }
        })
    }

    fn sleeping_htlcs(&self) -> Vec<SleepingHtlc> {
        self.look(|state| {
            let mut sleeping = Vec::new();
            for (peer_id, peer) in &state.peers {
                // Private channels only.
                if peer.connected || *peer_id == PEER_LSP.id {
                    continue;
                }
                for (number, at) in state.pending(*peer_id) {
                    let htlc = &state.htlcs[number];
                    sleeping.push(SleepingHtlc {
                        peer: *peer_id,
                        payment_hash: state.payments[htlc.payment].hash,
                        expiry: BlockHeight(htlc.expiry),
                        side: SleepingSide::Inbound {
                            intercept_id: htlc.intercept_id,
                            state: pending_state(at),
                        },
                    });
                }
                for (number, at) in &state.memory.at {
                    let htlc = &state.htlcs[*number];
                    let channel = &state.channels[htlc.outbound];
                    if *at == At::Out && channel.open && channel.peer == *peer_id {
                        sleeping.push(SleepingHtlc {
                            peer: *peer_id,
                            payment_hash: state.payments[htlc.payment].hash,
                            expiry: BlockHeight(htlc.out_expiry),
                            side: SleepingSide::Outbound,
                        });
                    }
                }
            }
            sleeping
        })
    }

    fn carry(&self, scid: u64) -> Option<ChannelCarry> {
        self.look(|state| {
            let number = state.channel_of_scid(scid)?;
            let (room_msat, pending_outbound_htlcs) = state.room(number);
            Some(ChannelCarry {
                channel_id: state.channels[number].id,
                peer: state.channels[number].peer,
                is_usable: state.is_usable(number),
                next_htlc_max: Msat(room_msat),
                next_htlc_min: Msat(1),
                pending_outbound_htlcs,
            })
        })
    }

    fn resolve_scid(&self, scid: u64) -> Option<(PublicKey, ChannelId)> {
        self.look(|state| {
            let channel = &state.channels[state.channel_of_scid(scid)?];
            Some((channel.peer, channel.id))
        })
    }

    fn forward_intercepted(&self, id: InterceptId, scid: u64, amount: Msat) -> Result<(), NodeError> {
        let number = self.look(|state| state.htlc_of(id));
        let done = self.act(
            || format!("forward_intercepted_htlc {number:?}"),
            |state| state.forward_intercepted(id, scid, amount),
        );
        done.unwrap_or_else(|| Err(refused("forwarding", "dead")))
    }

    fn fail_intercepted(&self, id: InterceptId) -> Result<(), NodeError> {
        let number = self.look(|state| state.htlc_of(id));
        let done = self.act(
            || format!("fail_intercepted_htlc {number:?}"),
            |state| {
                let htlc = number.filter(|htlc| state.at(*htlc) == At::Intercepted);
                let Some(htlc) = htlc else { return Err(refused("failing", "not found")) };
                state.fail(htlc);
                Ok(())
            },
        );
        done.unwrap_or_else(|| Err(refused("failing", "dead")))
    }

    fn flush_forwards(&self) {
        self.act(|| "process_pending_htlc_forwards".to_owned(), State::process_forwards);
    }

    fn reply(&self, _to: ReplyTo, message: Message) -> Result<(), NodeError> {
        self.act(|| "reply".to_owned(), |state| state.replies.push(message))
            .ok_or_else(|| refused("answering", "dead"))
    }

    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        if !PaymentNode::is_connected(self, peer) {
            return Err(refused("forwarding", "not connected"));
        }
        self.act(|| "forward_onion_message".to_owned(), |state| state.outbox.push((peer, message.to_vec())))
            .ok_or_else(|| refused("forwarding", "dead"))
    }

    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        let mut connected = PaymentNode::is_connected(self, node_id);
        if !connected && node_id == PEER_LSP.id {
            let called = || "call the other LSP".to_owned();
            connected = self.act(called, State::called).unwrap_or(false);
        }
        Box::pin(async move { if connected { Ok(()) } else { Err(refused("connecting", "no address")) } })
    }
}

impl MailboxNode for ModelNode {
    fn is_connected(&self, peer: PublicKey) -> bool {
        PaymentNode::is_connected(self, peer)
    }

    fn has_channel(&self, peer: PublicKey) -> bool {
        self.look(|state| state.channels.iter().any(|channel| channel.open && channel.peer == peer))
    }

    fn is_announced(&self, node_id: PublicKey) -> bool {
        node_id == PEER_LSP.id
    }

    fn has_announced_address(&self, node_id: PublicKey) -> bool {
        node_id == PEER_LSP.id
    }

    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        PaymentNode::forward_onion(self, message, peer)
    }

    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        PaymentNode::connect_announced(self, node_id)
    }
}

impl WakeNode for ModelNode {
    fn is_connected(&self, peer: PublicKey) -> bool {
        PaymentNode::is_connected(self, peer)
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.model.lock().rng.bytes()
    }
}
