//! The peer's `channel_update` of a channel that is being announced.
//!
//! Whichever side gets the other's `announcement_signatures` first announces the channel, and sends its `channel_update` at
//! once. To the other side the channel is unknown for a few milliseconds more; LDK drops the update there, nobody sends it
//! again, and no phone finds a route through the channel. It is kept here until the channel is in the graph.

use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, ChannelAnnouncement, ChannelUpdate, ErrorAction, Init, LightningError,
    MessageSendEvent, NodeAnnouncement, QueryChannelRange, QueryShortChannelIds, ReplyChannelRange,
    ReplyShortChannelIdsEnd, RoutingMessageHandler,
};
use lightning::routing::gossip::NodeId;
use lightning_types::features::{InitFeatures, NodeFeatures};

use crate::ldk::{ChannelManager, Gossip, NetworkGraph};

/// Updates kept at once: one per channel that is being announced.
const KEPT_UPDATES_MAX: usize = 64;

/// A bit of `message_flags`.
const DONT_FORWARD: u8 = 1 << 1;

/// A bit of `channel_flags`: which of the channel's two nodes speaks.
const OF_NODE_2: u8 = 1;

/// LDK's gossip, with a memory for updates that come a moment too early.
pub(crate) struct KeptUpdates {
    inner: Arc<Gossip>,
    graph: Arc<NetworkGraph>,
    channel_manager: Arc<ChannelManager>,
    early: Mutex<Vec<(PublicKey, ChannelUpdate)>>,
}

impl KeptUpdates {
    pub(crate) fn new(
        inner: Arc<Gossip>,
        graph: Arc<NetworkGraph>,
        channel_manager: Arc<ChannelManager>,
    ) -> Self {
        Self { inner, graph, channel_manager, early: Mutex::default() }
    }

    fn keep_if_own(&self, peer: PublicKey, update: &ChannelUpdate) {
        let us = self.channel_manager.get_our_node_id();
        if !is_for_all(update) || !is_of(peer, us, update) {
            return;
        }
        let scid = update.contents.short_channel_id;
        let channels = self.channel_manager.list_channels_with_counterparty(&peer);
        if !channels.iter().any(|details| details.is_announced && details.short_channel_id == Some(scid)) {
            return;
        }
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.retain(|(_, kept)| kept.contents.short_channel_id != scid);
        if early.len() < KEPT_UPDATES_MAX {
            early.push((peer, update.clone()));
        }
    }

    /// Those whose channel has come into the graph since.
    fn due(&self) -> Vec<MessageSendEvent> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.is_empty() {
            return Vec::new();
        }
        let graph = self.graph.read_only();
        let is_due = |(_, update): &mut (PublicKey, ChannelUpdate)| {
            graph.channel(update.contents.short_channel_id).is_some()
        };
        let us = NodeId::from_pubkey(&self.channel_manager.get_our_node_id());
        early
            .extract_if(.., is_due)
            .map(|(peer, msg)| MessageSendEvent::BroadcastChannelUpdate {
                msg,
                node_id_1: us,
                node_id_2: NodeId::from_pubkey(&peer),
            })
            .collect()
    }
}

/// Neither kept in a graph nor told to others if not, by BOLT 7 (`dont_forward`).
fn is_for_all(update: &ChannelUpdate) -> bool {
    update.contents.message_flags & DONT_FORWARD == 0
}

/// A peer also sends our own update back as soon as it has it: that one must not take the place of the peer's.
fn is_of(peer: PublicKey, us: PublicKey, update: &ChannelUpdate) -> bool {
    let is_of_node_1 = update.contents.channel_flags & OF_NODE_2 == 0;
    is_of_node_1 == (NodeId::from_pubkey(&peer) < NodeId::from_pubkey(&us))
}

impl RoutingMessageHandler for KeptUpdates {
    fn handle_channel_update(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelUpdate,
    ) -> Result<Option<(NodeId, NodeId)>, LightningError> {
        let outcome = self.inner.handle_channel_update(their_node_id, msg);
        // The channel may be in the graph by now, of which another thread told it since: to look for it there would lose the update.
        if let (Err(error), Some(peer)) = (&outcome, their_node_id)
            && !matches!(error.action, ErrorAction::IgnoreDuplicateGossip)
        {
            self.keep_if_own(peer, msg);
        }
        outcome
    }

    fn handle_node_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        self.inner.handle_node_announcement(their_node_id, msg)
    }

    fn handle_channel_announcement(
        &self,
        their_node_id: Option<PublicKey>,
        msg: &ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        self.inner.handle_channel_announcement(their_node_id, msg)
    }

    fn get_next_channel_announcement(
        &self,
        starting_point: u64,
    ) -> Option<(ChannelAnnouncement, Option<ChannelUpdate>, Option<ChannelUpdate>)> {
        self.inner.get_next_channel_announcement(starting_point)
    }

    fn get_next_node_announcement(&self, starting_point: Option<&NodeId>) -> Option<NodeAnnouncement> {
        self.inner.get_next_node_announcement(starting_point)
    }

    fn handle_reply_channel_range(
        &self,
        their_node_id: PublicKey,
        msg: ReplyChannelRange,
    ) -> Result<(), LightningError> {
        self.inner.handle_reply_channel_range(their_node_id, msg)
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        their_node_id: PublicKey,
        msg: ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        self.inner.handle_reply_short_channel_ids_end(their_node_id, msg)
    }

    fn handle_query_channel_range(
        &self,
        their_node_id: PublicKey,
        msg: QueryChannelRange,
    ) -> Result<(), LightningError> {
        self.inner.handle_query_channel_range(their_node_id, msg)
    }

    fn handle_query_short_channel_ids(
        &self,
        their_node_id: PublicKey,
        msg: QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        self.inner.handle_query_short_channel_ids(their_node_id, msg)
    }

    fn processing_queue_high(&self) -> bool {
        self.inner.processing_queue_high()
    }
}

impl BaseMessageHandler for KeptUpdates {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        let mut events = self.inner.get_and_clear_pending_msg_events();
        events.extend(self.due());
        events
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.inner.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.inner.provided_node_features()
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        self.inner.provided_init_features(their_node_id)
    }

    fn peer_connected(&self, their_node_id: PublicKey, msg: &Init, inbound: bool) -> Result<(), ()> {
        self.inner.peer_connected(their_node_id, msg, inbound)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::constants::ChainHash;
    use bitcoin::secp256k1::ecdsa::Signature;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning::ln::msgs::UnsignedChannelUpdate;

    use super::*;

    fn update(message_flags: u8, channel_flags: u8) -> ChannelUpdate {
        let contents = UnsignedChannelUpdate {
            chain_hash: ChainHash::using_genesis_block(Network::Regtest),
            short_channel_id: 1,
            timestamp: 1,
            message_flags,
            channel_flags,
            cltv_expiry_delta: 0,
            htlc_minimum_msat: 0,
            htlc_maximum_msat: 0,
            fee_base_msat: 0,
            fee_proportional_millionths: 0,
            excess_data: Vec::new(),
        };
        ChannelUpdate { signature: Signature::from_compact(&[1; 64]).unwrap(), contents }
    }

    #[test]
    fn only_the_peers_own_update_for_everybody_is_kept() {
        let key = |byte| SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&Secp256k1::new());
        let mut nodes = [key(1), key(2)];
        nodes.sort();
        let [node_1, node_2] = nodes;
        for (flags, peer, us, is_peers) in [
            (0, node_1, node_2, true),
            (1, node_1, node_2, false),
            (0, node_2, node_1, false),
            (1, node_2, node_1, true),
            (0b11, node_2, node_1, true),
        ] {
            assert_eq!(is_of(peer, us, &update(1, flags)), is_peers, "{flags}");
        }
        assert!(is_for_all(&update(0b01, 0)));
        assert!(!is_for_all(&update(0b11, 0)));
    }
}
