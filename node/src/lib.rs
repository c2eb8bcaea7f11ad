//! The LDK assembly that `lsp-server` and `wallet` share.
//!
//! A [`Node`] is loaded from a seed, a database and a bitcoind, then started with a [`NodeHandler`]. LDK's own types
//! for channels, peers and events stay inside; what comes out are the types below.

mod allowance;
mod assemble;
mod chain;
mod channels;
pub mod clock;
mod config;
mod connections;
mod dispatch;
mod error;
mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gossip;
mod handler;
mod htlcs;
mod identity;
mod kv;
mod ldk;
mod limits;
mod logger;
mod lsps;
mod messages;
mod onchain;
mod onion;
mod ordered_watch;
mod payments;
mod peers;
mod run;
mod seed;
mod seed_file;
mod spawner;
mod unsent;

pub use chain::{ChainHealth, ChainLimits, ChainTrouble};
pub use channels::{Balances, Channel, ChannelCarry};
pub use config::{
    BitcoindConfig, CHAIN_POLL_INTERVAL, FEE_REFRESH_INTERVAL, LspSettings, NodeConfig, RECONNECT_INTERVAL,
    Role,
};
pub use error::NodeError;
pub use event::{Destination, InboundHtlc, InterceptedHtlc, NodeEvent};
pub use handler::{ForwardVerdict, ForwardedOnion, IncomingMessage, NodeHandler, Replay, ReplyTo};
pub use htlcs::{
    PendingInboundHtlc, PendingState, SleepingHtlc, SleepingSide, UnresolvedHtlcs, intercept_id,
};
pub use limits::{ChannelLimits, NodeLimit, PeerLimits};
pub use lsps::{
    HookNotificationError, HookNotifications, HookReason, LSPS_MESSAGE_BYTES_MAX, LspsAnswer, LspsCall,
    LspsRefusal, LspsRequest, LspsRequestId, WebhookError, Webhooks,
};
pub use onchain::OnChainBalance;
pub use payments::{InvoiceRequest, OwnPayment, PayRequest};
pub use seed::Seed;
pub use seed_file::SeedError;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bitcoin::secp256k1::{PublicKey, Secp256k1};
use clock::{Clock, SystemClock};
use lightning::ln::types::ChannelId;
use lightning::sign::KeysManager;
use protocol::units::BlockHeight;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use chain::{ChainClient, ChainWatch, Fees, PatientChain};
use handler::HandlerCell;
use ldk::{
    BumpHandler, ChainMonitor, ChannelManager, Gossip, NetworkGraph, OnionMessenger, PeerManager, Scorer,
    Sweeper,
};
use onchain::OnChainWallet;

/// A Lightning node on raw LDK.
pub struct Node {
    config: NodeConfig,
    database: storage::Database,
    node_id: PublicKey,
    keys: Arc<KeysManager>,
    secp: Secp256k1<bitcoin::secp256k1::All>,
    client: Arc<ChainClient>,
    fees: Arc<Fees>,
    graph: Arc<NetworkGraph>,
    scorer: Arc<RwLock<Scorer>>,
    on_chain: Arc<OnChainWallet>,
    chain_monitor: Arc<ChainMonitor>,
    channel_manager: Arc<ChannelManager>,
    onion_messenger: Arc<OnionMessenger>,
    gossip: Arc<Gossip>,
    peer_manager: Arc<PeerManager>,
    sweeper: Arc<Sweeper>,
    bump_handler: BumpHandler,
    handler: HandlerCell,
    connected: onion::ConnectedPeers,
    lsps: lsps::Lsps,
    block_time_unix: Arc<AtomicU64>,
    chain_watch: ChainWatch,
    channels_by_scid: RwLock<HashMap<u64, (PublicKey, ChannelId)>>,
    unsent: unsent::UnsentPayments,
    pending_run: Mutex<Option<PendingRun>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    processor: Mutex<Option<JoinHandle<()>>>,
}

/// What `load` prepared for `start`.
struct PendingRun {
    sockets: Vec<tokio::net::TcpListener>,
    broadcasts: mpsc::Receiver<Vec<bitcoin::Transaction>>,
    chain: Arc<PatientChain>,
    chain_tip: lightning_block_sync::poll::ValidatedBlockHeader,
    header_cache: lightning_block_sync::HeaderCache,
}

impl Node {
    /// This node's public key.
    pub fn node_id(&self) -> PublicKey {
        self.node_id
    }

    /// The height of the best chain, as LDK's channel manager knows it.
    pub fn height(&self) -> BlockHeight {
        BlockHeight(self.channel_manager.current_best_block().height)
    }

    /// How the chain source does. An LSP asks it every few seconds; a phone does not.
    pub fn chain_health(&self) -> ChainHealth {
        self.chain_watch.health()
    }

    /// The height to judge deadlines by: as [`Self::height`], or the most that it can well be by now if the chain source is in
    /// trouble. Never lower than the former.
    pub fn cautious_height(&self) -> BlockHeight {
        self.chain_watch.cautious_height(self.height(), SystemClock.now_unix())
    }

    /// The time that the best block claims, in seconds since 1970: LDK judges an invoice's expiry by it.
    pub fn block_time_unix(&self) -> u64 {
        self.block_time_unix.load(Ordering::Relaxed)
    }

    /// What the node was built from.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The database that LDK's state and its user's tables live in.
    pub fn database(&self) -> &storage::Database {
        &self.database
    }

    /// Whether bitcoind has this output unspent, in a block or in its mempool: a funding transaction is out.
    ///
    /// # Errors
    /// [`NodeError::Bitcoind`] when it does not answer.
    pub async fn is_output_known(&self, output: bitcoin::OutPoint) -> Result<bool, NodeError> {
        let params = [output.txid.to_string().into(), output.vout.into(), true.into()];
        let answer = self.client.call("gettxout", &params).await.map_err(|error| self.client.error(error))?;
        Ok(!answer.is_null())
    }

    /// Asks bitcoind for its best height; an error says what to check.
    ///
    /// # Errors
    /// [`NodeError::Bitcoind`] when it does not answer.
    pub async fn chain_height(&self) -> Result<BlockHeight, NodeError> {
        let count = self.client.call("getblockcount", &[]).await.map_err(|error| self.client.error(error))?;
        Ok(BlockHeight(count.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)))
    }
}
