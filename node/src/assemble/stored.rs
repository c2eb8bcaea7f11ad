//! LDK's objects as the database has them, or new ones at first start.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use lightning::chain::BlockLocator;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs};
use lightning::routing::scoring::ProbabilisticScoringDecayParameters;
use lightning::sign::{InMemorySigner, KeysManager};
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE, KVStore, NETWORK_GRAPH_PERSISTENCE_KEY,
    OUTPUT_SWEEPER_PERSISTENCE_KEY, SCORER_PERSISTENCE_KEY,
};
use lightning::util::ser::ReadableArgs;

use storage::StorageError;

use super::settings::user_config;
use crate::chain::{Broadcaster, Fees};
use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::kv::NodeKv;
use crate::ldk::{ChainMonitor, ChannelManager, MonitorPersister, NetworkGraph, Router, Scorer, Sweeper};
use crate::logger::LdkLogger;
use crate::onchain::OnChainWallet;
use crate::onion::MessageRouter;
use crate::ordered_watch::OrderedWatch;

/// What LDK's objects stand on.
pub(super) struct Foundation {
    pub(super) keys: Arc<KeysManager>,
    pub(super) fees: Arc<Fees>,
    pub(super) broadcaster: Arc<Broadcaster>,
    pub(super) on_chain: Arc<OnChainWallet>,
    pub(super) kv: NodeKv,
}

/// What the channel manager talks through.
pub(super) struct Ways {
    pub(super) watch: Arc<OrderedWatch<Arc<ChainMonitor>>>,
    pub(super) router: Arc<Router>,
    pub(super) message_router: Arc<MessageRouter>,
}

/// Peers tell of the graph again, so that one that cannot be read is no reason not to start.
pub(super) async fn graph(kv: &NodeKv, network: Network) -> Result<NetworkGraph, NodeError> {
    let stored = read(kv, NETWORK_GRAPH_PERSISTENCE_KEY).await?;
    let graph = stored.map(|bytes| NetworkGraph::read(&mut Cursor::new(bytes), LdkLogger));
    Ok(match graph {
        Some(Ok(graph)) => graph,
        Some(Err(_)) => {
            begins_anew("network graph", NETWORK_GRAPH_PERSISTENCE_KEY);
            NetworkGraph::new(network, LdkLogger)
        }
        None => NetworkGraph::new(network, LdkLogger),
    })
}

fn begins_anew(what: &str, key: &str) {
    tracing::error!(
        table = "kv",
        key,
        "the stored {what} cannot be read: it is set aside, and a new one begins"
    );
}

/// What routes were worth is learnt again.
pub(super) async fn scorer(kv: &NodeKv, graph: &Arc<NetworkGraph>) -> Result<Scorer, NodeError> {
    let decay = ProbabilisticScoringDecayParameters::default();
    let stored = read(kv, SCORER_PERSISTENCE_KEY).await?;
    let scorer = stored.map(|bytes| Scorer::read(&mut Cursor::new(bytes), (decay, graph.clone(), LdkLogger)));
    Ok(match scorer {
        Some(Ok(scorer)) => scorer,
        Some(Err(_)) => {
            begins_anew("scorer", SCORER_PERSISTENCE_KEY);
            Scorer::new(decay, graph.clone(), LdkLogger)
        }
        None => Scorer::new(decay, graph.clone(), LdkLogger),
    })
}

impl Foundation {
    /// The channel manager, and the block that it had seen. A new one starts at `tip`.
    pub(super) async fn channel_manager(
        &self,
        config: &NodeConfig,
        ways: Ways,
        tip: BlockLocator,
        monitors: &[(BlockLocator, ChannelMonitor<InMemorySigner>)],
    ) -> Result<(BlockLocator, ChannelManager), NodeError> {
        let user_config = user_config(&config.role);
        let key = || CHANNEL_MANAGER_PERSISTENCE_KEY.to_owned();
        let corrupt = || NodeError::Corrupt { what: "channel manager", key: key() };
        let Ways { watch, router, message_router } = ways;
        if let Some(bytes) = read(&self.kv, CHANNEL_MANAGER_PERSISTENCE_KEY).await? {
            let args = ChannelManagerReadArgs::new(
                self.keys.clone(),
                self.keys.clone(),
                self.keys.clone(),
                self.fees.clone(),
                watch,
                self.broadcaster.clone(),
                router,
                message_router,
                LdkLogger,
                user_config,
                monitors.iter().map(|(_, monitor)| monitor).collect(),
            );
            return <(BlockLocator, ChannelManager)>::read(&mut Cursor::new(bytes), args)
                .map_err(|_| corrupt());
        }
        if !monitors.is_empty() {
            return Err(corrupt());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let manager = ChannelManager::new(
            self.fees.clone(),
            watch,
            self.broadcaster.clone(),
            router,
            message_router,
            LdkLogger,
            self.keys.clone(),
            self.keys.clone(),
            self.keys.clone(),
            user_config,
            ChainParameters { network: config.network, best_block: tip },
            unix_time(now.as_secs()),
        );
        Ok((tip, manager))
    }

    /// The sweeper, and the block that it had seen. A new one starts at `best_block`.
    pub(super) async fn sweeper(
        &self,
        best_block: BlockLocator,
    ) -> Result<(BlockLocator, Sweeper), NodeError> {
        let Some(bytes) = read(&self.kv, OUTPUT_SWEEPER_PERSISTENCE_KEY).await? else {
            let sweeper = Sweeper::new(
                best_block,
                self.broadcaster.clone(),
                self.fees.clone(),
                None,
                self.keys.clone(),
                self.on_chain.clone(),
                self.kv.clone(),
                LdkLogger,
            );
            return Ok((best_block, sweeper));
        };
        let args = (
            self.broadcaster.clone(),
            self.fees.clone(),
            None,
            self.keys.clone(),
            self.on_chain.clone(),
            self.kv.clone(),
            LdkLogger,
        );
        <(BlockLocator, Sweeper)>::read(&mut Cursor::new(bytes), args).map_err(|_| NodeError::Corrupt {
            what: "output sweeper",
            key: OUTPUT_SWEEPER_PERSISTENCE_KEY.to_owned(),
        })
    }
}

/// BOLT 7 timestamps have 32 bits.
pub(super) fn unix_time(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

async fn read(kv: &NodeKv, key: &'static str) -> Result<Option<Vec<u8>>, NodeError> {
    match KVStore::read(kv, "", "", key).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == lightning::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable("object", key.to_owned(), &error)),
    }
}

/// A database that fails is not an object that is damaged.
fn unreadable(what: &'static str, key: String, error: &lightning::io::Error) -> NodeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(StorageError::Damaged(failure)) => NodeError::Storage(StorageError::Damaged(failure.clone())),
        Some(StorageError::Stopped) => NodeError::Storage(StorageError::Stopped),
        _ => NodeError::Corrupt { what, key },
    }
}

/// LDK reads all monitors at once, and does not say which of them it could not read.
pub(super) async fn unreadable_monitor(
    persister: &MonitorPersister,
    kv: &NodeKv,
    error: lightning::io::Error,
) -> NodeError {
    const WHAT: &str = "channel monitor";
    let (primary, secondary) =
        (CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE);
    for key in KVStore::list(kv, primary, secondary).await.unwrap_or_default() {
        if let Err(error) = persister.read_channel_monitor_with_updates(&key).await {
            return unreadable(WHAT, format!("{primary}/{key}"), &error);
        }
    }
    unreadable(WHAT, primary.to_owned(), &error)
}
