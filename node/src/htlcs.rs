//! Intercepted HTLCs: where they came from, letting them go, failing them.

use std::collections::HashSet;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::units::{BlockHeight, Msat};

use crate::Node;
use crate::error::NodeError;

/// An HTLC on a peer's channel that is not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingInboundHtlc {
    /// The id that it has, had, or would have had as an intercepted HTLC.
    pub intercept_id: InterceptId,
    /// The channel.
    pub channel_id: ChannelId,
    /// Its id on the channel.
    pub htlc_id: u64,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// What came in.
    pub amount: Msat,
    /// When it times out.
    pub expiry: BlockHeight,
    /// How far it is.
    pub state: PendingState,
    /// The channel is being closed together.
    pub channel_is_shutting_down: bool,
}

/// LDK's `InboundHTLCStateDetails`, as far as we must tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PendingState {
    /// Waits for its fate: held by us, or by the next hop.
    Committed,
    /// The preimage is known; the peer must come for it.
    AwaitingRemoveFulfill,
    /// It is failed; the peer must come for that.
    AwaitingRemoveFail,
}

/// An unresolved HTLC on a private channel whose peer is not connected: nothing can move it until the peer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SleepingHtlc {
    /// The phone.
    pub peer: PublicKey,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// When it times out.
    pub expiry: BlockHeight,
    /// Which way, and how far it is.
    pub side: SleepingSide,
}

/// Whose HTLC a [`SleepingHtlc`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SleepingSide {
    /// The phone offered it to us.
    Inbound {
        /// Its id as an intercepted HTLC.
        intercept_id: InterceptId,
        /// How far it is.
        state: PendingState,
    },
    /// We offered it to the phone.
    Outbound,
}

/// What LDK lists as unresolved, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnresolvedHtlcs {
    /// HTLCs that peers offer us on private channels, each with its peer.
    pub inbound: Vec<(PublicKey, PendingInboundHtlc)>,
    /// The hashes of the HTLCs that we offer, on any channel.
    pub outbound: HashSet<PaymentHash>,
}

fn pending_inbound(details: &ChannelDetails) -> impl Iterator<Item = PendingInboundHtlc> + '_ {
    let channel_is_shutting_down = crate::channels::is_shutting_down(details);
    details.pending_inbound_htlcs.iter().map(move |htlc| PendingInboundHtlc {
        intercept_id: intercept_id(htlc.htlc_id, details.channel_id, details.counterparty.node_id),
        channel_id: details.channel_id,
        htlc_id: htlc.htlc_id,
        payment_hash: htlc.payment_hash,
        amount: Msat(htlc.amount_msat),
        expiry: BlockHeight(htlc.cltv_expiry),
        state: pending_state(htlc.state.as_ref()),
        channel_is_shutting_down,
    })
}

fn pending_state(state: Option<&InboundHTLCStateDetails>) -> PendingState {
    match state {
        Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFulfill) => {
            PendingState::AwaitingRemoveFulfill
        }
        Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail) => PendingState::AwaitingRemoveFail,
        Some(InboundHTLCStateDetails::Committed | InboundHTLCStateDetails::AwaitingRemoteRevokeToAdd)
        | None => PendingState::Committed,
    }
}

/// LDK's `InterceptId` of an HTLC: SHA256(htlc_id, big endian || channel_id || counterparty's node id). LDK has no public
/// constructor, and its event names no source (`InterceptId::from_incoming_shared_secret` and friends in
/// `ln/channelmanager.rs`); the node's tests hold this formula against a real event.
pub fn intercept_id(htlc_id: u64, channel_id: ChannelId, counterparty: PublicKey) -> InterceptId {
    let mut engine = sha256::Hash::engine();
    engine.input(&htlc_id.to_be_bytes());
    engine.input(&channel_id.0);
    engine.input(&counterparty.serialize());
    InterceptId(sha256::Hash::from_engine(engine).to_byte_array())
}

impl Node {
    /// Unresolved HTLCs that `peer` offers us.
    pub fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc> {
        let channels = self.channel_manager.list_channels_with_counterparty(&peer);
        channels.iter().flat_map(pending_inbound).collect()
    }

    /// Whether an open channel of ours has this HTLC. One whose channel has closed since is on none.
    pub fn has_inbound_htlc(&self, id: InterceptId) -> bool {
        self.channel_manager
            .list_channels()
            .iter()
            .any(|details| pending_inbound(details).any(|htlc| htlc.intercept_id == id))
    }

    /// Unresolved HTLCs on private channels, and the hashes of those that we offer.
    pub fn unresolved_htlcs(&self) -> UnresolvedHtlcs {
        let mut unresolved = UnresolvedHtlcs::default();
        for details in self.channel_manager.list_channels() {
            unresolved.outbound.extend(details.pending_outbound_htlcs.iter().map(|htlc| htlc.payment_hash));
            if !details.is_announced {
                let peer = details.counterparty.node_id;
                unresolved.inbound.extend(pending_inbound(&details).map(|htlc| (peer, htlc)));
            }
        }
        unresolved
    }

    /// Unresolved HTLCs on private channels of peers that are not here.
    pub fn sleeping_htlcs(&self) -> Vec<SleepingHtlc> {
        let mut sleeping = Vec::new();
        for details in self.channel_manager.list_channels() {
            let peer = details.counterparty.node_id;
            if details.is_announced || self.is_connected(peer) {
                continue;
            }
            sleeping.extend(details.pending_inbound_htlcs.iter().map(|htlc| SleepingHtlc {
                peer,
                payment_hash: htlc.payment_hash,
                expiry: BlockHeight(htlc.cltv_expiry),
                side: SleepingSide::Inbound {
                    intercept_id: intercept_id(htlc.htlc_id, details.channel_id, peer),
                    state: pending_state(htlc.state.as_ref()),
                },
            }));
            sleeping.extend(details.pending_outbound_htlcs.iter().map(|htlc| SleepingHtlc {
                peer,
                payment_hash: htlc.payment_hash,
                expiry: BlockHeight(htlc.cltv_expiry),
                side: SleepingSide::Outbound,
            }));
        }
        sleeping
    }

    /// The peer whose channel is `channel_id`.
    pub fn peer_of_channel(&self, channel_id: ChannelId) -> Option<PublicKey> {
        self.channel_manager
            .list_channels()
            .into_iter()
            .find(|details| details.channel_id == channel_id)
            .map(|details| details.counterparty.node_id)
    }

    /// Lets an intercepted HTLC go to the channel that its sender asked for. `Ok` does not mean that the next hop got it:
    /// LDK answers Ok for a peer that is gone, and fails the HTLC then. [`Node::flush_forwards`] sends it on its way.
    ///
    /// # Errors
    /// When the channel or the HTLC is not there (any more).
    pub fn forward_intercepted(&self, id: InterceptId, scid: u64, amount: Msat) -> Result<(), NodeError> {
        let (peer, channel_id) = self
            .resolve_scid(scid)
            .ok_or_else(|| NodeError::refused("forwarding", "no channel has this short channel id"))?;
        self.channel_manager
            .forward_intercepted_htlc(id, &channel_id, peer, amount.0)
            .map_err(|error| NodeError::refused("forwarding", error))
    }

    /// Sends released HTLCs now instead of after LDK's random batch delay.
    pub fn flush_forwards(&self) {
        self.channel_manager.process_pending_htlc_forwards();
        self.peer_manager.process_events();
    }

    /// Fails an intercepted HTLC back (LDK: permanent `UnknownNextPeer`).
    ///
    /// # Errors
    /// When LDK does not hold it (any more).
    pub fn fail_intercepted(&self, id: InterceptId) -> Result<(), NodeError> {
        let outcome = self.channel_manager.fail_intercepted_htlc(id);
        self.channel_manager.process_pending_htlc_forwards();
        outcome.map_err(|error| NodeError::refused("failing an HTLC", error))
    }
}
