//! Verifying announced channels against the chain.

use std::sync::Arc;

use bitcoin::TxOut;
use bitcoin::constants::ChainHash;
use lightning::routing::utxo::{UtxoLookup, UtxoResult};
use lightning::util::wakers::Notifier;
use lightning_block_sync::gossip::{GossipVerifier, TokioSpawner};

use crate::chain::ChainClient;
use crate::ldk::ChannelManager;

/// A channel of ours is announced soon after its confirmation; older ones are in the graph.
const OWN_CHANNEL_BLOCKS_MAX: u64 = 144;

/// LDK's verifier, except for this node's own channels: their outputs are known here. Asked of bitcoind, they would be in
/// question for a moment, and LDK drops what the peer says of a channel that is new to it just then.
pub(crate) struct AnnouncedOutputs {
    verifier: GossipVerifier<TokioSpawner, Arc<ChainClient>>,
    channel_manager: Arc<ChannelManager>,
}

impl AnnouncedOutputs {
    pub(crate) fn new(client: Arc<ChainClient>, channel_manager: Arc<ChannelManager>) -> Self {
        Self { verifier: GossipVerifier::new(client, TokioSpawner), channel_manager }
    }

    fn own_output(&self, short_channel_id: u64) -> Option<TxOut> {
        let confirmed_at = short_channel_id >> 40;
        let height = u64::from(self.channel_manager.current_best_block().height);
        if confirmed_at + OWN_CHANNEL_BLOCKS_MAX < height {
            return None;
        }
        self.channel_manager
            .list_channels()
            .iter()
            .find(|details| details.short_channel_id == Some(short_channel_id))?
            .get_funding_output()
    }
}

impl UtxoLookup for AnnouncedOutputs {
    fn get_utxo(&self, chain_hash: &ChainHash, short_channel_id: u64, notifier: Arc<Notifier>) -> UtxoResult {
        match self.own_output(short_channel_id) {
            Some(output) => UtxoResult::Sync(Ok(output)),
            None => self.verifier.get_utxo(chain_hash, short_channel_id, notifier),
        }
    }
}
