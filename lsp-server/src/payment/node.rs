//! What the driver asks of the node.

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use node::{
    ChainTrouble, Channel, ChannelCarry, Node, NodeError, PendingInboundHtlc, ReplyTo, SleepingHtlc,
    UnresolvedHtlcs,
};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::Message;

/// A Lightning node, as the payment driver sees it. Each method is [`Node`]'s of the same name.
pub trait PaymentNode: Send + Sync + 'static {
    /// This node's public key.
    fn node_id(&self) -> PublicKey;

    /// The height of the best chain, as LDK knows it.
    fn height(&self) -> BlockHeight;

    /// The peer completed its `init`, and is here.
    fn is_connected(&self, peer: PublicKey) -> bool;

    /// The channels with a peer.
    fn channels_with(&self, peer: PublicKey) -> Vec<Channel>;

    /// The peer whose channel this is.
    fn peer_of_channel(&self, channel_id: ChannelId) -> Option<PublicKey>;

    /// Unresolved HTLCs that `peer` offers us.
    fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc>;

    /// Whether an open channel has this HTLC; by default it has.
    fn has_inbound_htlc(&self, _: InterceptId) -> bool {
        true
    }

    /// Unresolved HTLCs on private channels, and the hashes of those that we offer. By default none: what nobody lists is never
    /// found to be without a row.
    fn unresolved_htlcs(&self) -> UnresolvedHtlcs {
        UnresolvedHtlcs::default()
    }

    /// The height to judge deadlines by while the chain source is in trouble; else, and by default, [`Self::height`].
    fn cautious_height(&self) -> BlockHeight {
        self.height()
    }

    /// Why the chain cannot be relied on, if it cannot.
    fn chain_trouble(&self) -> Option<ChainTrouble> {
        None
    }

    /// Unresolved HTLCs on private channels of peers that are not here.
    fn sleeping_htlcs(&self) -> Vec<SleepingHtlc>;

    /// The channel that an onion's short channel id or alias means, and what it can carry now.
    fn carry(&self, scid: u64) -> Option<ChannelCarry>;

    /// The peer and channel behind a short channel id or alias.
    fn resolve_scid(&self, scid: u64) -> Option<(PublicKey, ChannelId)>;

    /// Lets an intercepted HTLC go. `Ok` does not mean that the next hop got it.
    ///
    /// # Errors
    /// When the channel or the HTLC is not there (any more).
    fn forward_intercepted(&self, id: InterceptId, scid: u64, amount: Msat) -> Result<(), NodeError>;

    /// Fails an intercepted HTLC back.
    ///
    /// # Errors
    /// When LDK does not hold it (any more).
    fn fail_intercepted(&self, id: InterceptId) -> Result<(), NodeError>;

    /// Sends released HTLCs now.
    fn flush_forwards(&self);

    /// Answers along the sender's reply path.
    ///
    /// # Errors
    /// When the path's first hop is not connected.
    fn reply(&self, to: ReplyTo, message: Message) -> Result<(), NodeError>;

    /// Hands an encoded `onion_message` to a connected peer.
    ///
    /// # Errors
    /// When the peer is not connected or its buffer is full.
    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError>;

    /// Connects to a node at the addresses of its announcement.
    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>>;
}

impl PaymentNode for Node {
    fn node_id(&self) -> PublicKey {
        Self::node_id(self)
    }

    fn height(&self) -> BlockHeight {
        Self::height(self)
    }

    fn is_connected(&self, peer: PublicKey) -> bool {
        Self::is_connected(self, peer)
    }

    fn channels_with(&self, peer: PublicKey) -> Vec<Channel> {
        Self::channels_with(self, peer)
    }

    fn peer_of_channel(&self, channel_id: ChannelId) -> Option<PublicKey> {
        Self::peer_of_channel(self, channel_id)
    }

    fn pending_inbound_htlcs(&self, peer: PublicKey) -> Vec<PendingInboundHtlc> {
        Self::pending_inbound_htlcs(self, peer)
    }

    fn has_inbound_htlc(&self, id: InterceptId) -> bool {
        Self::has_inbound_htlc(self, id)
    }

    fn unresolved_htlcs(&self) -> UnresolvedHtlcs {
        Self::unresolved_htlcs(self)
    }

    fn cautious_height(&self) -> BlockHeight {
        Self::cautious_height(self)
    }

    fn chain_trouble(&self) -> Option<ChainTrouble> {
        self.chain_health().trouble
    }

    fn sleeping_htlcs(&self) -> Vec<SleepingHtlc> {
        Self::sleeping_htlcs(self)
    }

    fn carry(&self, scid: u64) -> Option<ChannelCarry> {
        Self::carry(self, scid)
    }

    fn resolve_scid(&self, scid: u64) -> Option<(PublicKey, ChannelId)> {
        Self::resolve_scid(self, scid)
    }

    fn forward_intercepted(&self, id: InterceptId, scid: u64, amount: Msat) -> Result<(), NodeError> {
        Self::forward_intercepted(self, id, scid, amount)
    }

    fn fail_intercepted(&self, id: InterceptId) -> Result<(), NodeError> {
        Self::fail_intercepted(self, id)
    }

    fn flush_forwards(&self) {
        Self::flush_forwards(self);
    }

    fn reply(&self, to: ReplyTo, message: Message) -> Result<(), NodeError> {
        Self::reply(self, to, message)
    }

    fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        Self::forward_onion(self, message, peer)
    }

    fn connect_announced(&self, node_id: PublicKey) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(Self::connect_announced(self, node_id))
    }
}
