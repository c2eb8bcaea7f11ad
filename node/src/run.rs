//! Starting and stopping a node's tasks.

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightning::ln::msgs::SocketAddress;
use lightning::util::persist::{KVStore, NETWORK_GRAPH_PERSISTENCE_KEY, SCORER_PERSISTENCE_KEY};
use lightning::util::ser::Writeable;
use lightning_background_processor::{GossipSync, process_events_async};
use lightning_block_sync::SpvClient;
use lightning_block_sync::poll::ChainPoller;
use storage::StorageError;
use tokio::net::{TcpListener, TcpStream};

use crate::assemble::outbound_expiries;
use crate::chain::{Listeners, Patience, PatientChain, run_broadcaster, run_fee_refresh, safe_height};
use crate::channels::is_shutting_down;
use crate::config::{CHAIN_POLL_INTERVAL, RECONNECT_INTERVAL, Role};
use crate::connections::{Connections, Place};
use crate::error::NodeError;
use crate::handler::NodeHandler;
use crate::kv::NodeKv;
use crate::logger::LdkLogger;
use crate::lsps::Lsps;
use crate::peers::at_once;
use crate::{Node, PendingRun};

/// How often a phone looks for HTLCs that LDK would still wait with.
const TAKE_HTLCS_INTERVAL: Duration = Duration::from_millis(20);

/// How often an LSP announces itself. Peers drop repeats within their own limits.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);

/// The first announcements: a new channel makes a node visible within seconds of its own announcement.
const ANNOUNCE_FIRST_INTERVAL: Duration = Duration::from_secs(2);

/// How many announcements come at the first pace.
const ANNOUNCE_FIRST_COUNT: u32 = 60;

/// LDK's type for the colour in a node announcement.
const ANNOUNCED_RGB: [u8; 3] = [0xf5, 0xa6, 0x23];

impl Node {
    /// Runs the node: events go to `handler` from here on.
    ///
    /// # Errors
    /// When the node was started before.
    pub async fn start(self: &Arc<Self>, handler: Arc<dyn NodeHandler>) -> Result<(), NodeError> {
        let pending = self.pending_run.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(PendingRun { sockets, broadcasts, chain, chain_tip, header_cache }) = pending else {
            return Err(NodeError::refused("starting", "it runs already"));
        };
        if !self.handler.set(handler) {
            return Err(NodeError::refused("starting", "it has a handler already"));
        }

        self.spawn(run_broadcaster(self.client.clone(), broadcasts));
        self.spawn(run_fee_refresh(self.fees.clone(), self.client.clone()));
        let connections = Connections::new(self.config.role.peer_limits());
        for socket in sockets {
            self.spawn(self.clone().accept(socket, connections.clone()));
        }
        self.spawn(self.clone().keep_room());
        self.spawn(self.clone().keep_connected());
        if let Lsps::Client(client) = &self.lsps {
            self.spawn(client.clone().run());
        }
        match self.config.role {
            Role::Lsp(_) => {
                self.spawn(self.clone().announce());
                self.spawn(self.clone().watch_chain());
            }
            Role::Wallet { .. } => self.spawn(self.clone().take_htlcs_at_once()),
        }
        self.spawn(self.clone().follow_chain(chain, chain_tip, header_cache));
        let processor = tokio::spawn(self.clone().process_events());
        *self.processor.lock().unwrap_or_else(PoisonError::into_inner) = Some(processor);
        Ok(())
    }

    /// Stops in an order that loses nothing: peers first, then LDK's last persistence, then the other tasks. The
    /// database stays open.
    pub async fn stop(&self) {
        self.peer_manager.disconnect_all_peers();
        self.stop.send_replace(true);
        let processor = self.processor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(processor) = processor
            && let Err(error) = processor.await
        {
            tracing::error!(%error, "LDK's background processor ended badly");
        }
        if matches!(self.config.role, Role::Wallet { .. }) {
            self.persist_graph().await;
        }
        // The channel manager counts as written when it is queued.
        let queued = self.database.submit("stop", |_| Box::pin(async { Ok::<_, StorageError>(()) }));
        if let Err(error) = queued.await {
            tracing::error!(%error, "LDK's last state is not on disk");
        }
        let tasks: Vec<_> = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(tokio::spawn(task));
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, connections: Connections) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => match connections.admit(from.ip(), Instant::now()) {
                    Ok(place) => self.take(stream, place),
                    Err(limit) => self.handler.refused(limit, None),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(RECONNECT_INTERVAL).await;
                }
            }
        }
    }

    /// LDK ends a connection whose handshake takes longer than a few seconds.
    fn take(&self, stream: TcpStream, place: Place) {
        match at_once(stream) {
            Ok(stream) => {
                let connection = lightning_net_tokio::setup_inbound(self.peer_manager.clone(), stream);
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => tracing::debug!(%error, "an inbound connection was lost"),
        }
    }

    async fn follow_chain(
        self: Arc<Self>,
        chain: Arc<PatientChain>,
        chain_tip: lightning_block_sync::poll::ValidatedBlockHeader,
        header_cache: lightning_block_sync::HeaderCache,
    ) {
        let listeners = Listeners {
            channel_manager: self.channel_manager.clone(),
            chain_monitor: self.chain_monitor.clone(),
            sweeper: self.sweeper.clone(),
            on_chain: self.on_chain.clone(),
            handler: self.handler.clone(),
            block_time_unix: self.block_time_unix.clone(),
        };
        let poller = ChainPoller::new(chain.clone(), self.config.network);
        let mut spv = SpvClient::new(chain_tip, poller, header_cache, &listeners);
        let mut reachable = true;
        let mut patience = Patience::new(Instant::now());
        loop {
            chain.hold_at(self.held_height(&mut patience).await);
            match spv.poll_best_tip().await {
                Ok(_) if !reachable => {
                    reachable = true;
                    tracing::info!("bitcoind answers again");
                }
                Ok(_) => {}
                Err(error) if reachable => {
                    reachable = false;
                    let error = error.into_inner();
                    tracing::error!(%error, "bitcoind does not answer; the chain stands still for us");
                }
                Err(_) => {}
            }
            tokio::time::sleep(CHAIN_POLL_INTERVAL).await;
        }
    }

    /// LDK waits before it looks at HTLCs, at random and for two seconds after a start, so that a forwarder tells less to
    /// those who watch it. A phone forwards nothing, and its system gives it only seconds.
    async fn take_htlcs_at_once(self: Arc<Self>) {
        loop {
            if self.channel_manager.needs_pending_htlc_processing() {
                self.flush_forwards();
            }
            tokio::time::sleep(TAKE_HTLCS_INTERVAL).await;
        }
    }

    /// The height to stop at for now: see [`PatientChain`].
    async fn held_height(&self, patience: &mut Patience) -> Option<u32> {
        let Role::Wallet { lsp, .. } = self.config.role else { return None };
        let safe = safe_height(outbound_expiries(&self.channel_manager), self.height().0)?;
        // bitcoind out of reach: the poll right after this says so.
        let tip = self.chain_height().await.ok()?.0;
        let reestablished =
            self.is_connected(lsp)
                && self.channel_manager.list_channels().iter().all(|details| {
                    details.is_usable || !details.is_channel_ready || is_shutting_down(details)
                });
        patience.holds(safe, tip, reestablished, Instant::now()).then_some(safe)
    }

    async fn announce(self: Arc<Self>) {
        let mut alias = [0; 32];
        let bytes = self.config.alias.as_bytes();
        let len = bytes.len().min(alias.len());
        alias[..len].copy_from_slice(&bytes[..len]);
        let addresses: Vec<_> =
            self.config.announced_addresses.iter().map(|address| SocketAddress::from(*address)).collect();
        let mut count = 0;
        loop {
            if self
                .channel_manager
                .list_channels()
                .iter()
                .any(|channel| channel.is_announced && channel.is_usable)
            {
                self.peer_manager.broadcast_node_announcement(ANNOUNCED_RGB, alias, addresses.clone());
                self.peer_manager.process_events();
            }
            count += 1;
            let first = count <= ANNOUNCE_FIRST_COUNT;
            tokio::time::sleep(if first { ANNOUNCE_FIRST_INTERVAL } else { ANNOUNCE_INTERVAL }).await;
        }
    }

    async fn process_events(self: Arc<Self>) {
        let stop = self.stop.subscribe();
        let sleeper = move |duration: Duration| {
            let mut stop = stop.clone();
            Box::pin(async move {
                tokio::select! {
                    () = tokio::time::sleep(duration) => false,
                    _ = stop.wait_for(|stop| *stop) => true,
                }
            })
        };
        let node = self.clone();
        let on_event = move |event| {
            let node = node.clone();
            async move { node.dispatch(event).await }
        };
        // A phone must not punish its own LSP's channel for a hold that was failed back: it applies failures itself,
        // in `dispatch`.
        let (gossip_sync, scorer) = match self.config.role {
            Role::Lsp(_) => (GossipSync::p2p(self.gossip.clone()), Some(self.scorer.clone())),
            Role::Wallet { .. } => (GossipSync::None, None),
        };
        let outcome = process_events_async(
            NodeKv::new(self.database.clone()),
            on_event,
            self.chain_monitor.clone(),
            self.channel_manager.clone(),
            Some(self.onion_messenger.clone()),
            gossip_sync,
            self.peer_manager.clone(),
            lightning_background_processor::NO_LIQUIDITY_MANAGER,
            Some(self.sweeper.clone()),
            LdkLogger,
            scorer,
            sleeper,
            false,
            || SystemTime::now().duration_since(UNIX_EPOCH).ok(),
        )
        .await;
        if let Err(error) = outcome {
            // The database's own alarm stops the process: what LDK could not persist must not go on.
            tracing::error!(%error, "LDK's state could not be persisted");
        }
    }

    /// A phone's graph and scorer, which the background processor leaves alone.
    async fn persist_graph(&self) {
        let kv = NodeKv::new(self.database.clone());
        let scorer = self.scorer.read().unwrap_or_else(PoisonError::into_inner).encode();
        let graph = KVStore::write(&kv, "", "", NETWORK_GRAPH_PERSISTENCE_KEY, self.graph.encode());
        let scorer = KVStore::write(&kv, "", "", SCORER_PERSISTENCE_KEY, scorer);
        if let Err(error) = futures::future::try_join(graph, scorer).await {
            tracing::warn!(%error, "the network graph was not kept; the next start asks for it again");
        }
    }
}
