//! The concrete LDK types of this assembly. They stay inside this crate.

use std::sync::{Arc, RwLock};

use lightning::chain::Filter;
use lightning::chain::chainmonitor::{self, AsyncPersister};
use lightning::ln::channelmanager;
use lightning::ln::peer_handler::{self, IgnoringMessageHandler};
use lightning::onion_message::messenger;
use lightning::routing::gossip as ldk_gossip;
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{ProbabilisticScorer, ProbabilisticScoringFeeParameters};
use lightning::sign::{InMemorySigner, KeysManager};
use lightning::util::persist::MonitorUpdatingPersisterAsync;
use lightning::util::sweep::OutputSweeper;
use lightning::util::wallet_utils;
use lightning_net_tokio::SocketDescriptor;

use crate::chain::{Broadcaster, Fees};
use crate::gossip::{AnnouncedOutputs, KeptUpdates};
use crate::kv::NodeKv;
use crate::logger::LdkLogger;
use crate::onchain::OnChainWallet;
use crate::onion::{Announcer, MessageRouter, OnionContents, OnionObserver};
use crate::ordered_watch::OrderedWatch;
use crate::spawner::OrderedSpawner;

type ChainFilter = Arc<dyn Filter + Send + Sync>;

pub(crate) type MonitorPersister = MonitorUpdatingPersisterAsync<
    NodeKv,
    OrderedSpawner,
    LdkLogger,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Broadcaster>,
    Arc<Fees>,
>;

pub(crate) type ChainMonitor = chainmonitor::ChainMonitor<
    InMemorySigner,
    ChainFilter,
    Arc<Broadcaster>,
    Arc<Fees>,
    LdkLogger,
    AsyncPersister<
        NodeKv,
        OrderedSpawner,
        LdkLogger,
        Arc<KeysManager>,
        Arc<KeysManager>,
        Arc<Broadcaster>,
        Arc<Fees>,
    >,
    Arc<KeysManager>,
>;

pub(crate) type NetworkGraph = ldk_gossip::NetworkGraph<LdkLogger>;
pub(crate) type Scorer = ProbabilisticScorer<Arc<NetworkGraph>, LdkLogger>;
pub(crate) type Router = DefaultRouter<
    Arc<NetworkGraph>,
    LdkLogger,
    Arc<KeysManager>,
    Arc<RwLock<Scorer>>,
    ProbabilisticScoringFeeParameters,
    Scorer,
>;

pub(crate) type ChannelManager = channelmanager::ChannelManager<
    Arc<OrderedWatch<Arc<ChainMonitor>>>,
    Arc<Broadcaster>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Fees>,
    Arc<Router>,
    Arc<MessageRouter>,
    LdkLogger,
>;

pub(crate) type OnionMessenger = messenger::OnionMessenger<
    Arc<KeysManager>,
    Arc<KeysManager>,
    LdkLogger,
    Arc<ChannelManager>,
    Arc<MessageRouter>,
    Arc<ChannelManager>,
    Arc<ChannelManager>,
    IgnoringMessageHandler,
    Arc<OnionContents>,
>;

pub(crate) type Gossip = ldk_gossip::P2PGossipSync<Arc<NetworkGraph>, Arc<AnnouncedOutputs>, LdkLogger>;

pub(crate) type PeerManager = peer_handler::PeerManager<
    SocketDescriptor,
    Arc<ChannelManager>,
    Arc<KeptUpdates>,
    Arc<OnionObserver>,
    LdkLogger,
    Arc<Announcer>,
    Arc<KeysManager>,
    Arc<ChainMonitor>,
>;

pub(crate) type Sweeper = OutputSweeper<
    Arc<Broadcaster>,
    Arc<OnChainWallet>,
    Arc<Fees>,
    ChainFilter,
    NodeKv,
    LdkLogger,
    Arc<KeysManager>,
>;

pub(crate) type BumpHandler = lightning::events::bump_transaction::BumpTransactionEventHandler<
    Arc<Broadcaster>,
    Arc<wallet_utils::Wallet<Arc<OnChainWallet>, LdkLogger>>,
    Arc<KeysManager>,
    LdkLogger,
>;
