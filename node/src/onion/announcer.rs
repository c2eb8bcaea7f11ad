//! The feature bits in `init` and `node_announcement`, LSPS messages, and news of peers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{DecodeError, Init, LightningError};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::CustomMessageReader;
use lightning::util::ser::{LengthLimitedRead, LengthReadable};
use lightning_liquidity::lsps0::ser::{LSPS_MESSAGE_TYPE_ID, RawLSPSMessage};
use lightning_types::features::{InitFeatures, NodeFeatures};
use protocol::wire::FEATURE_BIT;
use tokio::sync::Notify;

use crate::handler::HandlerCell;
use crate::lsps::{LSPS_FEATURE_BIT, Lsps};

/// Takes `CustomMessageHandler`'s place in the peer manager: its one message is LSPS's, and it is told of peers after LDK's
/// handlers accepted them.
pub(crate) struct Announcer {
    handler: HandlerCell,
    connected: ConnectedPeers,
    lsps: Lsps,
}

/// Who has completed `init` and is here. LDK's handlers are called with the peer manager's locks held, so this is asked
/// instead of the peer manager.
#[derive(Clone, Default)]
pub(crate) struct ConnectedPeers(Arc<Connected>);

#[derive(Default)]
struct Connected {
    /// With the time at which each came.
    peers: RwLock<HashMap<PublicKey, Instant>>,
    came: Notify,
}

impl ConnectedPeers {
    pub(crate) fn contains(&self, peer: PublicKey) -> bool {
        self.0.peers.read().unwrap_or_else(PoisonError::into_inner).contains_key(&peer)
    }

    pub(crate) fn list(&self) -> Vec<PublicKey> {
        self.0.peers.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.peers.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those for whom `pick` says so, whoever came first before the others.
    pub(crate) fn oldest_first(&self, pick: impl Fn(&PublicKey) -> bool) -> Vec<PublicKey> {
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner);
        let mut picked: Vec<_> =
            peers.iter().filter(|(peer, _)| pick(peer)).map(|(peer, came)| (*came, *peer)).collect();
        picked.sort_unstable_by_key(|(came, _)| *came);
        picked.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Resolves when somebody came since it was last asked.
    pub(crate) async fn somebody_came(&self) {
        self.0.came.notified().await;
    }

    fn insert(&self, peer: PublicKey) {
        self.0.peers.write().unwrap_or_else(PoisonError::into_inner).insert(peer, Instant::now());
        self.0.came.notify_one();
    }

    fn remove(&self, peer: PublicKey) {
        self.0.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }
}

impl Announcer {
    /// An LSP announces its bits; a phone only looks for them.
    pub(crate) fn new(handler: HandlerCell, connected: ConnectedPeers, lsps: Lsps) -> Self {
        Self { handler, connected, lsps }
    }

    fn announces(&self) -> bool {
        matches!(self.lsps, Lsps::Service(_))
    }
}

impl CustomMessageReader for Announcer {
    type CustomMessage = RawLSPSMessage;

    fn read<R: LengthLimitedRead>(
        &self,
        message_type: u16,
        buffer: &mut R,
    ) -> Result<Option<RawLSPSMessage>, DecodeError> {
        match message_type {
            LSPS_MESSAGE_TYPE_ID => RawLSPSMessage::read_from_fixed_length_buffer(buffer).map(Some),
            _ => Ok(None),
        }
    }
}

impl CustomMessageHandler for Announcer {
    fn handle_custom_message(&self, msg: RawLSPSMessage, sender: PublicKey) -> Result<(), LightningError> {
        match &self.lsps {
            Lsps::Service(_) => {
                if let Some(handler) = self.handler.get() {
                    handler.lsps_message(sender, msg.payload);
                }
                Ok(())
            }
            Lsps::Client(client) => client.manager.handle_custom_message(msg, sender),
        }
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, RawLSPSMessage)> {
        match &self.lsps {
            Lsps::Service(answers) => answers.take(),
            Lsps::Client(client) => client.manager.get_and_clear_pending_msg(),
        }
    }

    fn peer_disconnected(&self, their_node_id: PublicKey) {
        self.connected.remove(their_node_id);
        if let Lsps::Client(client) = &self.lsps {
            client.peer_disconnected(their_node_id);
        }
        if let Some(handler) = self.handler.get() {
            handler.peer_disconnected(their_node_id);
        }
    }

    fn peer_connected(&self, their_node_id: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        if let Lsps::Client(client) = &self.lsps {
            client.manager.peer_connected(their_node_id, init, inbound)?;
        }
        self.connected.insert(their_node_id);
        if let Some(handler) = self.handler.get() {
            handler.peer_connected(their_node_id);
        }
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        let mut features = NodeFeatures::empty();
        if self.announces() {
            set(features.set_optional_custom_bit(FEATURE_BIT));
            set(features.set_optional_custom_bit(LSPS_FEATURE_BIT));
        }
        features
    }

    fn provided_init_features(&self, _their_node_id: PublicKey) -> InitFeatures {
        let mut features = InitFeatures::empty();
        if self.announces() {
            set(features.set_optional_custom_bit(FEATURE_BIT));
            set(features.set_optional_custom_bit(LSPS_FEATURE_BIT));
        }
        features
    }
}

fn set(outcome: Result<(), ()>) {
    debug_assert!(outcome.is_ok(), "these are custom bits that LDK does not know");
}

/// Whether feature flags (little endian, as LDK keeps them) carry the optional bit of LightningRod.
pub(crate) fn supports_lightning_rod(le_flags: &[u8]) -> bool {
    le_flags.get(FEATURE_BIT / 8).is_some_and(|byte| byte & (1 << (FEATURE_BIT % 8)) != 0)
}
