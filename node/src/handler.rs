//! How a node talks to whoever runs it.

use std::sync::{Arc, OnceLock};

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lightning::blinded_path::message::BlindedMessagePath;
use lightning::onion_message::messenger::Responder;
use lightning::util::ser::{Readable, Writeable, Writer};
use lightning::{io, write_tlv_fields};
use protocol::ids::{Pid, PidHash};
use protocol::units::BlockHeight;
use protocol::wire::Message;

use crate::error::NodeError;
use crate::event::NodeEvent;
use crate::limits::NodeLimit;

/// Answered to an event that could not be recorded: LDK gives it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay;

/// The server's or the wallet's side of a node.
///
/// LDK awaits [`NodeHandler::event`] for one event after the other and forgets an event once it answered Ok: queue
/// what must survive before that. All other methods are called on LDK's own threads with its locks held: they must neither
/// block nor call the node, except [`crate::Node::is_connected`]; leave that to a task.
pub trait NodeHandler: Send + Sync + 'static {
    /// An event of LDK.
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>>;

    /// A LightningRod message whose last hop we are.
    fn message(&self, incoming: IncomingMessage);

    /// A message that passes through us and carries one of our fields for this hop. Only an LSP sees any.
    fn forwarding(&self, _seen: ForwardedOnion) -> ForwardVerdict {
        ForwardVerdict::Forward
    }

    /// An LSPS message (JSON-RPC) of a peer. Only an LSP gets any.
    fn lsps_message(&self, _peer: PublicKey, _payload: String) {}

    /// A peer completed its `init`.
    fn peer_connected(&self, _peer: PublicKey) {}

    /// A peer is gone.
    fn peer_disconnected(&self, _peer: PublicKey) {}

    /// A bound refused something. `peer` is whose it was, where that is known. Strangers cause this: count it, and log it
    /// sparingly.
    fn refused(&self, _limit: NodeLimit, _peer: Option<PublicKey>) {}

    /// The best chain has a new block.
    fn block_connected(&self, _height: BlockHeight) {}
}

/// A LightningRod message for this node.
#[derive(Debug)]
pub struct IncomingMessage {
    /// What it says. Nothing proves who sent it, but a signature inside.
    pub message: Message,
    /// The bytes that we put into the reply path that it came along; LDK authenticated them.
    pub context: Option<Vec<u8>>,
    /// Where an answer goes.
    pub reply_to: Option<ReplyTo>,
}

/// The sender's reply path.
#[derive(Clone, Debug)]
pub struct ReplyTo(pub(crate) Responder);

impl ReplyTo {
    /// An answer along a path of our own making, in place of the one that the sender gave.
    ///
    /// # Errors
    /// When LDK does not take the path for a reply path.
    pub fn along(path: &BlindedMessagePath) -> Result<Self, NodeError> {
        Self::decode(&AsResponder(path).encode())
    }

    /// LDK's serialization, to answer after a restart.
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Reads what [`Self::encode`] gave.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        Responder::read(&mut &bytes[..])
            .map(Self)
            .map_err(|error| NodeError::refused("reading a stored reply path", error))
    }
}

/// `Responder` has no public constructor, but a serialization: a TLV stream whose field 0 is the path.
struct AsResponder<'a>(&'a BlindedMessagePath);

impl Writeable for AsResponder<'_> {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        write_tlv_fields!(writer, { (0, self.0, required) });
        Ok(())
    }
}

/// What a forwarding hop of ours carried.
#[derive(Clone, Debug)]
pub struct ForwardedOnion {
    /// The peer that delivered it. Good for rate limits, proves nothing.
    pub previous_hop: PublicKey,
    /// `payment_unblock` (65551).
    pub payment_unblock: Option<Pid>,
    /// `payment_pending_for` (65553).
    pub payment_pending_for: Option<PidHash>,
    /// The peer that it goes to, when named by node id.
    pub next_hop: Option<PublicKey>,
    /// The `onion_message` for the next hop, peeled and encoded; only with `payment_pending_for`.
    pub outgoing: Option<Vec<u8>>,
}

/// What becomes of a [`ForwardedOnion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardVerdict {
    /// LDK forwards it, or hands it back for the mailbox when the next hop is offline.
    Forward,
    /// It ends here.
    Consume,
}

/// The handler's place: filled at start, read by everything that LDK calls.
#[derive(Clone, Default)]
pub(crate) struct HandlerCell(Arc<OnceLock<Arc<dyn NodeHandler>>>);

impl HandlerCell {
    pub(crate) fn get(&self) -> Option<&Arc<dyn NodeHandler>> {
        self.0.get()
    }

    pub(crate) fn refused(&self, limit: NodeLimit, peer: Option<PublicKey>) {
        if let Some(handler) = self.get() {
            handler.refused(limit, peer);
        }
    }

    /// False when there is a handler already.
    pub(crate) fn set(&self, handler: Arc<dyn NodeHandler>) -> bool {
        self.0.set(handler).is_ok()
    }
}
