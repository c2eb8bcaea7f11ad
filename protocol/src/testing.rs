//! What the tests of several modules and the fuzz targets share: fixed keys, and nodes that peel onion messages.
#![allow(clippy::unwrap_used, reason = "a panic here is a failed test or a finding")]

#[cfg(test)]
mod vectors;

use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey};
use lightning::blinded_path::EmptyNodeIdLookUp;
use lightning::blinded_path::message::{BlindedMessagePath, NextMessageHop};
use lightning::ln::msgs::{DecodeError, OnionMessage};
use lightning::onion_message::messenger::{
    CustomOnionMessageHandler, Destination, MessageSendInstructions, OnionMessagePath, PeeledOnion,
    Responder, ResponseInstruction, create_onion_message, peel_onion_message,
};
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::util::logger::{Logger, Record};

use crate::observe::{HopFields, Unreadable, read_hop_fields};
use crate::wire::Message;

#[cfg(test)]
pub(crate) use vectors::{check_vectors, read_vectors};

/// A secret key of one repeated byte, as the BOLT 4 vectors have them.
pub(crate) fn secret(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

/// The public key of [`secret`].
pub(crate) fn public(byte: u8) -> PublicKey {
    secret(byte).public_key(&Secp256k1::new())
}

/// The same bytes every time.
pub(crate) struct Fixed(pub(crate) u8);

impl EntropySource for Fixed {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        [self.0; 32]
    }
}

/// A node as far as onion messages go.
pub(crate) struct Node {
    pub(crate) keys: KeysManager,
    pub(crate) id: PublicKey,
    secp: Secp256k1<All>,
}

impl Node {
    pub(crate) fn new(seed: u8) -> Self {
        let keys = KeysManager::new(&[seed; 32], 0, 0, true);
        let id = keys.get_node_id(Recipient::Node).unwrap();
        Self { keys, id, secp: Secp256k1::new() }
    }

    /// A message along `path`, and the node that gets it first.
    pub(crate) fn send(
        &self,
        entropy: u8,
        path: BlindedMessagePath,
        message: impl Into<Message>,
        reply_path: Option<BlindedMessagePath>,
    ) -> (PublicKey, OnionMessage) {
        let path = OnionMessagePath {
            intermediate_nodes: Vec::new(),
            destination: Destination::BlindedPath(path),
            first_node_addresses: Vec::new(),
        };
        let entropy = Fixed(entropy);
        let lookup = EmptyNodeIdLookUp {};
        let message = message.into();
        create_onion_message(&entropy, &self.keys, &&lookup, &self.secp, path, message, reply_path)
            .map(|(first, onion, _)| (first, onion))
            .unwrap()
    }

    pub(crate) fn peel(&self, onion: &OnionMessage) -> Result<PeeledOnion<Message>, ()> {
        peel_onion_message(onion, &self.secp, &self.keys, &Silent, &Reader)
    }

    /// Peels a message that is to be forwarded.
    pub(crate) fn forward(&self, onion: &OnionMessage) -> (PublicKey, OnionMessage) {
        match self.peel(onion).unwrap() {
            PeeledOnion::Forward(NextMessageHop::NodeId(next), onion) => (next, onion),
            _ => panic!("not to be forwarded to a node id"),
        }
    }

    /// Peels a message that is for this node.
    pub(crate) fn receive(
        &self,
        onion: &OnionMessage,
    ) -> (Message, Option<Vec<u8>>, Option<BlindedMessagePath>) {
        match self.peel(onion).unwrap() {
            PeeledOnion::Custom(message, context, reply_path) => (message, context, reply_path),
            _ => panic!("not for this node"),
        }
    }

    pub(crate) fn observe(&self, onion: &OnionMessage) -> Result<Option<HopFields>, Unreadable> {
        read_hop_fields(onion, |key, tweak| self.keys.ecdh(Recipient::Node, key, tweak))
    }
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _: Record) {}
}

struct Reader;

impl CustomOnionMessageHandler for Reader {
    type CustomMessage = Message;

    fn handle_custom_message(
        &self,
        _: Message,
        _: Option<Vec<u8>>,
        _: Option<Responder>,
    ) -> Option<(Message, ResponseInstruction)> {
        None
    }

    fn read_custom_message<R: lightning::io::Read>(
        &self,
        message_type: u64,
        buffer: &mut R,
    ) -> Result<Option<Message>, DecodeError> {
        Message::read(message_type, buffer)
    }

    fn release_pending_custom_messages(&self) -> Vec<(Message, MessageSendInstructions)> {
        Vec::new()
    }
}
