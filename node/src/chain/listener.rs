//! All that follows the chain, told in one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::Block;
use bitcoin::block::Header;
use lightning::chain::transaction::TransactionData;
use lightning::chain::{BlockLocator, Listen};
use protocol::units::BlockHeight;

use crate::handler::HandlerCell;
use crate::ldk::{ChainMonitor, ChannelManager, Sweeper};
use crate::onchain::OnChainWallet;

/// Hands blocks to LDK, to the on-chain wallet, and then tells our handler of the new height.
pub(crate) struct Listeners {
    pub(crate) channel_manager: Arc<ChannelManager>,
    pub(crate) chain_monitor: Arc<ChainMonitor>,
    pub(crate) sweeper: Arc<Sweeper>,
    pub(crate) on_chain: Arc<OnChainWallet>,
    pub(crate) handler: HandlerCell,
    pub(crate) block_time_unix: Arc<AtomicU64>,
}

impl Listen for Listeners {
    fn filtered_block_connected(&self, header: &Header, txdata: &TransactionData, height: u32) {
        // bitcoind serves whole blocks; a source of filtered ones would starve the on-chain wallet.
        debug_assert!(false, "filtered block at {height}");
        self.channel_manager.filtered_block_connected(header, txdata, height);
        self.chain_monitor.filtered_block_connected(header, txdata, height);
        self.sweeper.filtered_block_connected(header, txdata, height);
    }

    fn block_connected(&self, block: &Block, height: u32) {
        self.channel_manager.block_connected(block, height);
        self.chain_monitor.block_connected(block, height);
        self.sweeper.block_connected(block, height);
        self.on_chain.block_connected(block, height);
        self.block_time_unix.store(u64::from(block.header.time), Ordering::Relaxed);
        if let Some(handler) = self.handler.get() {
            handler.block_connected(BlockHeight(height));
        }
    }

    fn blocks_disconnected(&self, fork_point: BlockLocator) {
        tracing::warn!(height = fork_point.height, hash = %fork_point.block_hash, "blocks disconnected");
        self.channel_manager.blocks_disconnected(fork_point);
        self.chain_monitor.blocks_disconnected(fork_point);
        self.sweeper.blocks_disconnected(fork_point);
        self.on_chain.blocks_disconnected(fork_point);
    }
}
