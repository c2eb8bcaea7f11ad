//! Builds a [`Node`] from its seed, database and chain, so that it only needs to be started.

mod settings;
mod stored;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::Secp256k1;
use lightning::chain::chainmonitor::ChainMonitor as LdkChainMonitor;
use lightning::chain::{BlockLocator, Listen};
use lightning::ln::peer_handler::{IgnoringMessageHandler, MessageHandler, PeerManager as LdkPeerManager};
use lightning::routing::scoring::ProbabilisticScoringFeeParameters;
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::util::wallet_utils;
use lightning_block_sync::init::{synchronize_listeners, validate_best_block_header};
use storage::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::chain::{Broadcaster, ChainClient, ChainLimits, ChainWatch, Fees, PatientChain, safe_height};
use crate::config::{NodeConfig, Role};
use crate::error::NodeError;
use crate::gossip::{AnnouncedOutputs, KeptUpdates};
use crate::handler::HandlerCell;
use crate::kv::NodeKv;
use crate::ldk::{BumpHandler, ChainMonitor, ChannelManager, MonitorPersister, OnionMessenger, Router};
use crate::logger::LdkLogger;
use crate::lsps::{Lsps, WebhookClient};
use crate::onchain::OnChainWallet;
use crate::onion::{Announcer, ConnectedPeers, MessageRouter, OnionContents, OnionObserver};
use crate::ordered_watch::OrderedWatch;
use crate::seed::Seed;
use crate::spawner::OrderedSpawner;
use crate::unsent::UnsentPayments;
use crate::{Node, PendingRun, identity};

/// Monitor updates written one by one before the whole monitor is written again.
const MONITOR_UPDATES_MAX: u64 = 100;

impl Node {
    /// Loads the node, or makes it at first start, and brings it to the chain's tip. Nothing runs until
    /// [`Node::start`].
    ///
    /// # Errors
    /// When a listening address cannot be bound, bitcoind cannot be used, the database belongs to another seed or network,
    /// or what it holds cannot be read.
    pub async fn load(config: NodeConfig, seed: Seed, database: Database) -> Result<Arc<Self>, NodeError> {
        // What can be wrong with the config comes first, while nothing is touched.
        let sockets = listen(&config.listen).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let keys = Arc::new(KeysManager::new(seed.bytes(), now.as_secs(), now.subsec_nanos(), true));
        let node_id =
            keys.get_node_id(Recipient::Node).map_err(|()| NodeError::refused("deriving the node id", ()))?;
        let is_new = identity::check(&database, config.network, node_id).await?;
        let client = Arc::new(ChainClient::new(&config.bitcoind));
        client.check(config.network).await?;
        let tip =
            validate_best_block_header(&*client).await.map_err(|error| client.error(error.into_inner()))?;
        if is_new {
            identity::write(&database, config.network, node_id).await?;
        }

        let kv = NodeKv::new(database.clone());
        let fees = Arc::new(Fees::default());
        fees.refresh(&client).await;
        let handler = HandlerCell::default();
        let (broadcaster, broadcasts) = Broadcaster::new(handler.clone());
        let broadcaster = Arc::new(broadcaster);
        let tip_locator = tip.to_block_locator();
        let on_chain = Arc::new(
            OnChainWallet::load(
                &seed,
                config.network,
                database.clone(),
                tip_locator,
                broadcaster.clone(),
                fees.clone(),
            )
            .await?,
        );

        let graph = Arc::new(stored::graph(&kv, config.network).await?);
        let scorer = Arc::new(RwLock::new(stored::scorer(&kv, &graph).await?));
        let router = Arc::new(Router::new(
            graph.clone(),
            LdkLogger,
            keys.clone(),
            scorer.clone(),
            ProbabilisticScoringFeeParameters::default(),
        ));
        let (lsp, chain_limits) = match &config.role {
            Role::Lsp(settings) => (None, settings.chain),
            Role::Wallet { lsp, .. } => (Some(*lsp), ChainLimits::of(config.network)),
        };
        let chain_watch = ChainWatch::new(config.network, chain_limits);
        let message_router = Arc::new(MessageRouter::new(graph.clone(), keys.clone(), lsp));

        let persister = MonitorPersister::new(
            kv.clone(),
            OrderedSpawner,
            LdkLogger,
            MONITOR_UPDATES_MAX,
            keys.clone(),
            keys.clone(),
            broadcaster.clone(),
            fees.clone(),
        );
        let monitors = match persister.read_all_channel_monitors_with_updates().await {
            Ok(monitors) => monitors,
            Err(error) => return Err(stored::unreadable_monitor(&persister, &kv, error).await),
        };
        let chain_monitor: Arc<ChainMonitor> = Arc::new(LdkChainMonitor::new_async_beta(
            None,
            broadcaster.clone(),
            LdkLogger,
            fees.clone(),
            persister,
            keys.clone(),
            keys.get_peer_storage_key(),
            true,
        ));

        let foundation = stored::Foundation {
            keys: keys.clone(),
            fees: fees.clone(),
            broadcaster: broadcaster.clone(),
            on_chain: on_chain.clone(),
            kv: kv.clone(),
        };
        let watch = Arc::new(OrderedWatch::new(chain_monitor.clone()));
        let ways = stored::Ways { watch: watch.clone(), router, message_router: message_router.clone() };
        let (manager_best_block, channel_manager) =
            foundation.channel_manager(&config, ways, tip_locator, &monitors).await?;
        let channel_manager = Arc::new(channel_manager);

        // From where the manager is, not from the tip: what a phone has seen decides how far it may look now.
        let (sweeper_best_block, sweeper) = foundation.sweeper(manager_best_block).await?;

        let on_chain_best_block = on_chain.best_block();
        let monitor_listeners: Vec<_> = monitors
            .into_iter()
            .map(|(best_block, monitor)| {
                (best_block, (monitor, broadcaster.clone(), fees.clone(), LdkLogger))
            })
            .collect();
        let chain_wallet = OnChainListener(&on_chain);
        let mut listeners: Vec<(BlockLocator, &(dyn Listen + Send + Sync))> = vec![
            (manager_best_block, &*channel_manager),
            (sweeper_best_block, &sweeper),
            (on_chain_best_block, &chain_wallet),
        ];
        listeners.extend(
            monitor_listeners
                .iter()
                .map(|(best_block, monitor)| (*best_block, monitor as &(dyn Listen + Send + Sync))),
        );
        let chain = Arc::new(PatientChain::new(client.clone()));
        if lsp.is_some() {
            let seen = listeners.iter().map(|(best_block, _)| best_block.height).max().unwrap_or_default();
            let safe = safe_height(outbound_expiries(&channel_manager), seen);
            if safe.is_some_and(|safe| safe < tip.height) {
                tracing::info!(?safe, tip = tip.height, "later blocks wait until the LSP was heard");
            }
            chain.hold_at(safe);
        }
        storage::crash_point!("before_chain_caught_up");
        let (header_cache, chain_tip) = synchronize_listeners(chain.clone(), config.network, listeners)
            .await
            .map_err(|error| client.error(error.into_inner()))?;
        storage::crash_point!("chain_caught_up");
        for (_, (monitor, ..)) in monitor_listeners {
            let (channel_id, last_update_id) = (monitor.channel_id(), monitor.get_latest_update_id());
            chain_monitor
                .load_existing_monitor(channel_id, monitor)
                .map_err(|()| NodeError::Corrupt { what: "channel monitor", key: channel_id.to_string() })?;
            watch.resume(channel_id, last_update_id);
            if last_update_id == 0 {
                // LDK 0.3.0-rc3 remembers which updates of a monitor were being written, but not that a channel's first monitor
                // was (`ln/channelmanager.rs`, `handle_in_flight_updates`): a process that ended before the manager had heard
                // of its completion would wait for it for good, and the channel would never be ready. Told of twice does no harm.
                chain_monitor
                    .channel_monitor_updated(channel_id, 0)
                    .map_err(|error| NodeError::refused("resuming a new channel", error))?;
            }
        }

        let connected = ConnectedPeers::default();
        let contents = Arc::new(OnionContents::new(handler.clone()));
        let is_lsp = lsp.is_none();
        let onion_messenger =
            Arc::new(messenger(is_lsp, &keys, &channel_manager, message_router, contents.clone()));
        // A phone takes its LSP's gossip as it comes: it has no time to verify it.
        let verifier =
            is_lsp.then(|| Arc::new(AnnouncedOutputs::new(client.clone(), channel_manager.clone())));
        let gossip = Arc::new(crate::ldk::Gossip::new(graph.clone(), verifier, LdkLogger));
        let observer = Arc::new(OnionObserver::new(
            onion_messenger.clone(),
            contents,
            keys.clone(),
            handler.clone(),
            is_lsp,
            config.role.peer_limits(),
        ));
        let lsps = if is_lsp {
            Lsps::Service(Arc::default())
        } else {
            let client =
                WebhookClient::new(keys.clone(), channel_manager.clone(), kv.clone(), broadcaster.clone());
            Lsps::Client(Arc::new(client.await?))
        };
        let message_handler = MessageHandler {
            chan_handler: channel_manager.clone(),
            route_handler: Arc::new(KeptUpdates::new(gossip.clone(), graph.clone(), channel_manager.clone())),
            onion_message_handler: observer,
            custom_message_handler: Arc::new(Announcer::new(
                handler.clone(),
                connected.clone(),
                lsps.clone(),
            )),
            send_only_message_handler: chain_monitor.clone(),
        };
        let peer_manager = Arc::new(LdkPeerManager::new(
            message_handler,
            stored::unix_time(now.as_secs()),
            &keys.get_secure_random_bytes(),
            LdkLogger,
            keys.clone(),
        ));
        let coin_source = Arc::new(wallet_utils::Wallet::new(on_chain.clone(), LdkLogger));
        let bump_handler = BumpHandler::new(broadcaster.clone(), coin_source, keys.clone(), LdkLogger);

        let node = Arc::new(Self {
            config,
            database,
            node_id,
            keys,
            secp: Secp256k1::new(),
            client,
            fees,
            graph,
            scorer,
            on_chain,
            chain_monitor,
            channel_manager,
            onion_messenger,
            gossip,
            peer_manager,
            sweeper: Arc::new(sweeper),
            bump_handler,
            handler,
            connected,
            chain_watch,
            lsps,
            block_time_unix: Arc::new(AtomicU64::new(u64::from(chain_tip.header.time))),
            channels_by_scid: RwLock::default(),
            unsent: UnsentPayments::default(),
            pending_run: Mutex::new(Some(PendingRun { sockets, broadcasts, chain, chain_tip, header_cache })),
            stop: watch::channel(false).0,
            tasks: Mutex::default(),
            processor: Mutex::default(),
        });
        node.refresh_scids();
        Ok(node)
    }
}

/// When our HTLCs in flight expire.
pub(crate) fn outbound_expiries(channel_manager: &ChannelManager) -> impl Iterator<Item = u32> {
    let channels = channel_manager.list_channels();
    channels.into_iter().flat_map(|details| details.pending_outbound_htlcs).map(|htlc| htlc.cltv_expiry)
}

/// Connections wait in the system's queue until [`Node::start`].
async fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, NodeError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        let socket = TcpListener::bind(address).await;
        sockets.push(socket.map_err(|source| NodeError::Listen { address: *address, source })?);
    }
    Ok(sockets)
}

/// The on-chain wallet among the listeners that catch up at start.
struct OnChainListener<'a>(&'a OnChainWallet);

impl Listen for OnChainListener<'_> {
    fn filtered_block_connected(
        &self,
        _header: &bitcoin::block::Header,
        _txdata: &lightning::chain::transaction::TransactionData,
        height: u32,
    ) {
        debug_assert!(false, "bitcoind serves whole blocks, not filtered ones as at {height}");
    }

    fn block_connected(&self, block: &bitcoin::Block, height: u32) {
        self.0.block_connected(block, height);
    }

    fn blocks_disconnected(&self, fork_point: BlockLocator) {
        self.0.blocks_disconnected(fork_point);
    }
}

/// An LSP's messenger hands back what is for peers that are offline; a phone's forwards nothing.
fn messenger(
    is_lsp: bool,
    keys: &Arc<KeysManager>,
    channel_manager: &Arc<ChannelManager>,
    message_router: Arc<MessageRouter>,
    contents: Arc<OnionContents>,
) -> OnionMessenger {
    if is_lsp {
        OnionMessenger::new_with_offline_peer_interception(
            keys.clone(),
            keys.clone(),
            LdkLogger,
            channel_manager.clone(),
            message_router,
            channel_manager.clone(),
            channel_manager.clone(),
            IgnoringMessageHandler {},
            contents,
            false,
        )
    } else {
        OnionMessenger::new(
            keys.clone(),
            keys.clone(),
            LdkLogger,
            channel_manager.clone(),
            message_router,
            channel_manager.clone(),
            channel_manager.clone(),
            IgnoringMessageHandler {},
            contents,
        )
    }
}
