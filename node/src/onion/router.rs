//! Ways for onion messages. LDK's own router knows direct connections only; a phone reaches all others through its LSP.

use std::sync::Arc;

use bitcoin::secp256k1::{self, PublicKey, Secp256k1};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::onion_message::messenger::{
    DefaultMessageRouter, Destination, MessageRouter as LdkMessageRouter, OnionMessagePath,
};
use lightning::sign::{KeysManager, ReceiveAuthKey};

use crate::ldk::NetworkGraph;
use crate::logger::LdkLogger;

type Inner = DefaultMessageRouter<Arc<NetworkGraph>, LdkLogger, Arc<KeysManager>>;

/// LDK's router, and the LSP as the first hop to whom a phone is not connected.
pub(crate) struct MessageRouter {
    inner: Inner,
    graph: Arc<NetworkGraph>,
    lsp: Option<PublicKey>,
}

impl MessageRouter {
    /// `lsp` is a phone's; an LSP passes none.
    pub(crate) fn new(graph: Arc<NetworkGraph>, keys: Arc<KeysManager>, lsp: Option<PublicKey>) -> Self {
        Self { inner: DefaultMessageRouter::new(graph.clone(), keys), graph, lsp }
    }
}

impl LdkMessageRouter for MessageRouter {
    fn find_path(
        &self,
        sender: PublicKey,
        peers: Vec<PublicKey>,
        mut destination: Destination,
    ) -> Result<OnionMessagePath, ()> {
        let Some(lsp) = self.lsp else { return self.inner.find_path(sender, peers, destination) };
        destination.resolve(&self.graph.read_only());
        let first = match &destination {
            Destination::Node(node_id) => *node_id,
            Destination::BlindedPath(path) => match path.introduction_node() {
                lightning::blinded_path::IntroductionNode::NodeId(node_id) => *node_id,
                lightning::blinded_path::IntroductionNode::DirectedShortChannelId(..) => return Err(()),
            },
        };
        if first == sender || first == lsp || peers.contains(&first) || !peers.contains(&lsp) {
            return self.inner.find_path(sender, peers, destination);
        }
        Ok(OnionMessagePath { intermediate_nodes: vec![lsp], destination, first_node_addresses: Vec::new() })
    }

    fn create_blinded_paths<T: secp256k1::Signing + secp256k1::Verification>(
        &self,
        recipient: PublicKey,
        local_node_receive_key: ReceiveAuthKey,
        context: MessageContext,
        peers: Vec<MessageForwardNode>,
        secp_ctx: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        self.inner.create_blinded_paths(recipient, local_node_receive_key, context, peers, secp_ctx)
    }
}
