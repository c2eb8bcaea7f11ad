//! Sits between the peer manager and LDK's messenger: limits each peer, and reads our fields of messages that pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use lightning::blinded_path::message::NextMessageHop;
use lightning::ln::msgs::{BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler};
use lightning::onion_message::messenger::{PeeledOnion, peel_onion_message};
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use lightning::util::ser::Writeable;
use lightning_types::features::{InitFeatures, NodeFeatures};
use protocol::observe::read_hop_fields;

use super::OnionContents;
use crate::allowance::{Allowance, Rate};
use crate::handler::{ForwardVerdict, ForwardedOnion, HandlerCell};
use crate::ldk::OnionMessenger;
use crate::limits::{NodeLimit, PeerLimits};
use crate::logger::LdkLogger;

/// Peers whose allowance is remembered; beyond that, those who have not sent lately start afresh.
const ALLOWANCES_MAX: usize = 10_000;

/// Wraps LDK's messenger. The peer manager gets the wrapper, the background processor the messenger itself.
pub(crate) struct OnionObserver {
    messenger: Arc<OnionMessenger>,
    contents: Arc<OnionContents>,
    keys: Arc<KeysManager>,
    handler: HandlerCell,
    secp: Secp256k1<All>,
    reads_fields: bool,
    rate: Rate,
    allowances: Mutex<HashMap<PublicKey, Allowance>>,
}

impl OnionObserver {
    /// `reads_fields` is true for an LSP.
    pub(crate) fn new(
        messenger: Arc<OnionMessenger>,
        contents: Arc<OnionContents>,
        keys: Arc<KeysManager>,
        handler: HandlerCell,
        reads_fields: bool,
        limits: PeerLimits,
    ) -> Self {
        let secp = Secp256k1::new();
        let allowances = Mutex::default();
        let rate = Rate { burst: limits.onion_messages_burst, per_second: limits.onion_messages_per_second };
        Self { messenger, contents, keys, handler, secp, reads_fields, rate, allowances }
    }

    fn allowed(&self, peer: PublicKey) -> bool {
        let now = Instant::now();
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if allowances.len() >= ALLOWANCES_MAX && !allowances.contains_key(&peer) {
            allowances.retain(|_, allowance| !allowance.is_full(self.rate, now));
            if allowances.len() >= ALLOWANCES_MAX {
                // Each of them has spent something: only who is connected can go on.
                return false;
            }
        }
        allowances.entry(peer).or_insert_with(|| Allowance::full(self.rate, now)).take(self.rate, now)
    }

    fn verdict(&self, previous_hop: PublicKey, message: &OnionMessage) -> ForwardVerdict {
        let Some(handler) = self.handler.get() else { return ForwardVerdict::Forward };
        let ecdh = |point: &PublicKey, tweak: Option<&bitcoin::secp256k1::Scalar>| {
            self.keys.ecdh(Recipient::Node, point, tweak)
        };
        let fields = match read_hop_fields(message, ecdh) {
            Ok(Some(fields)) => fields,
            // Not a forward, tampered with, or without our fields: LDK's own business.
            Ok(None) | Err(_) => return ForwardVerdict::Forward,
        };
        if fields.payment_unblock.is_none() && fields.payment_pending_for.is_none() {
            return ForwardVerdict::Forward;
        }
        let mut next_hop = fields.next_node;
        let mut outgoing = None;
        if fields.payment_pending_for.is_some() {
            let peeled = peel_onion_message(message, &self.secp, &*self.keys, LdkLogger, &*self.contents);
            if let Ok(PeeledOnion::Forward(NextMessageHop::NodeId(node_id), next)) = peeled {
                next_hop = Some(node_id);
                outgoing = Some(next.encode());
            }
        }
        handler.forwarding(ForwardedOnion {
            previous_hop,
            payment_unblock: fields.payment_unblock,
            payment_pending_for: fields.payment_pending_for,
            next_hop,
            outgoing,
        })
    }
}

impl OnionMessageHandler for OnionObserver {
    fn handle_onion_message(&self, peer_node_id: PublicKey, msg: &OnionMessage) {
        if !self.allowed(peer_node_id) {
            self.handler.refused(NodeLimit::OnionMessages, Some(peer_node_id));
            return;
        }
        if self.reads_fields && self.verdict(peer_node_id, msg) == ForwardVerdict::Consume {
            return;
        }
        self.messenger.handle_onion_message(peer_node_id, msg);
    }

    fn next_onion_message_for_peer(&self, peer_node_id: PublicKey) -> Option<OnionMessage> {
        self.messenger.next_onion_message_for_peer(peer_node_id)
    }

    fn timer_tick_occurred(&self) {
        self.messenger.timer_tick_occurred();
    }
}

impl BaseMessageHandler for OnionObserver {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.messenger.get_and_clear_pending_msg_events()
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.messenger.peer_disconnected(their_node_id);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.messenger.provided_node_features()
    }

    fn provided_init_features(&self, their_node_id: PublicKey) -> InitFeatures {
        self.messenger.provided_init_features(their_node_id)
    }

    fn peer_connected(&self, their_node_id: PublicKey, msg: &Init, inbound: bool) -> Result<(), ()> {
        self.messenger.peer_connected(their_node_id, msg, inbound)
    }
}
