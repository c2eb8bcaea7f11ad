//! Sending onion messages.

use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext};
use lightning::ln::msgs::OnionMessage;
use lightning::onion_message::messenger::{Destination, MessageSendInstructions};
use lightning::sign::{EntropySource, NodeSigner};
use lightning::util::ser::LengthReadable;
use protocol::ids::Pid;
use protocol::wire::Message;

use crate::Node;
use crate::error::NodeError;
use crate::handler::ReplyTo;

impl Node {
    /// Sends `message`. With `reply_context`, LDK adds a reply path whose answers come back with these bytes.
    ///
    /// # Errors
    /// When there is no way to the destination now.
    pub fn send(
        &self,
        message: Message,
        destination: Destination,
        reply_context: Option<Vec<u8>>,
    ) -> Result<(), NodeError> {
        let instructions = match reply_context {
            Some(context) => MessageSendInstructions::WithReplyPath {
                destination,
                context: MessageContext::Custom(context),
            },
            None => MessageSendInstructions::WithoutReplyPath { destination },
        };
        self.send_with(message, instructions)
    }

    /// Sends `message` along a path of ours, with a reply path of ours.
    ///
    /// # Errors
    /// When the first hop is not connected.
    pub fn send_along(
        &self,
        path: BlindedMessagePath,
        message: Message,
        reply_path: Option<BlindedMessagePath>,
    ) -> Result<(), NodeError> {
        let destination = Destination::BlindedPath(path);
        let instructions = match reply_path {
            Some(reply_path) => MessageSendInstructions::WithSpecifiedReplyPath { destination, reply_path },
            None => MessageSendInstructions::WithoutReplyPath { destination },
        };
        self.send_with(message, instructions)
    }

    /// Answers along the sender's reply path.
    ///
    /// # Errors
    /// When the path's first hop is not connected.
    pub fn reply(&self, to: ReplyTo, message: Message) -> Result<(), NodeError> {
        storage::crash_point!("before_reply_sent");
        let outcome = self.onion_messenger.handle_onion_message_response(message, to.0.respond());
        storage::crash_point!("reply_queued");
        self.peer_manager.process_events();
        storage::crash_point!("reply_sent");
        outcome.map(drop).map_err(|error| NodeError::refused("answering an onion message", error))
    }

    fn send_with(&self, message: Message, instructions: MessageSendInstructions) -> Result<(), NodeError> {
        let outcome = self.onion_messenger.send_onion_message(message, instructions);
        self.peer_manager.process_events();
        outcome.map(drop).map_err(|error| NodeError::refused("sending an onion message", error))
    }

    /// Hands an encoded `onion_message` to a connected peer: one that was kept, or is sent again.
    ///
    /// # Errors
    /// When the peer is not connected, its buffer is full, or the bytes are no onion message.
    pub fn forward_onion(&self, message: &[u8], peer: PublicKey) -> Result<(), NodeError> {
        let message = OnionMessage::read_from_fixed_length_buffer(&mut &message[..])
            .map_err(|error| NodeError::refused("reading a kept onion message", error))?;
        let outcome = self.onion_messenger.forward_onion_message(message, &peer);
        self.peer_manager.process_events();
        outcome.map_err(|error| NodeError::refused("forwarding an onion message", error))
    }

    /// A reply path to this phone through its LSP `lsp`, whose hop carries `payment_unblock`.
    ///
    /// # Errors
    /// When LDK cannot build the path.
    pub fn unblocking_reply_path(
        &self,
        lsp: PublicKey,
        pid: &Pid,
        context: Vec<u8>,
    ) -> Result<BlindedMessagePath, NodeError> {
        protocol::path::payer_reply_path(
            &self.session_key()?,
            lsp,
            self.node_id,
            self.keys.get_receive_auth_key(),
            context,
            *pid,
            &self.secp,
        )
        .map_err(|error| NodeError::refused("building a reply path", error))
    }

    /// A fresh key for one blinded path.
    ///
    /// # Errors
    /// When 32 random bytes are no valid key: one time in 2^128.
    pub fn session_key(&self) -> Result<SecretKey, NodeError> {
        SecretKey::from_slice(&self.random_bytes())
            .map_err(|error| NodeError::refused("making a session key", error))
    }

    /// 32 fresh random bytes from LDK's entropy source.
    pub fn random_bytes(&self) -> [u8; 32] {
        self.keys.get_secure_random_bytes()
    }

    /// Signs `text` with the node's key (LDK `message_signing`, zbase32).
    ///
    /// # Errors
    /// When the signer is not available.
    pub fn sign(&self, text: &str) -> Result<String, NodeError> {
        self.keys.sign_message(text.as_bytes()).map_err(|()| NodeError::refused("signing", "no signer"))
    }
}
