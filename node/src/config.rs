//! What a node needs to be told before it starts.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;

use crate::chain::ChainLimits;
use crate::limits::{ChannelLimits, PeerLimits};

/// How often the chain source is asked for a new tip.
pub const CHAIN_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How often fee estimates are refreshed.
pub const FEE_REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// How often peers that should be connected are tried again.
pub const RECONNECT_INTERVAL: Duration = Duration::from_secs(2);

/// Everything that a [`crate::Node`] is built from, besides its seed and its database.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The chain to be on; checked against bitcoind's and against the database's.
    pub network: Network,
    /// The chain source.
    pub bitcoind: BitcoindConfig,
    /// Addresses to accept Lightning connections on; none for a phone.
    pub listen: Vec<SocketAddr>,
    /// Addresses that the node announcement carries.
    pub announced_addresses: Vec<SocketAddr>,
    /// Name in the node announcement, at most 32 bytes of UTF-8.
    pub alias: String,
    /// LSP or phone.
    pub role: Role,
}

/// A bitcoind with its JSON-RPC interface.
#[derive(Clone)]
pub struct BitcoindConfig {
    /// `http://host:port`.
    pub rpc_url: String,
    /// `rpcuser` or the user part of the cookie.
    pub rpc_user: String,
    /// `rpcpassword` or the secret part of the cookie.
    pub rpc_password: String,
}

impl fmt::Debug for BitcoindConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitcoindConfig")
            .field("rpc_url", &self.rpc_url)
            .field("rpc_user", &self.rpc_user)
            .finish_non_exhaustive()
    }
}

/// What the node is for.
#[derive(Clone, Debug)]
pub enum Role {
    /// An always-online LSP that forwards, holds and keeps.
    Lsp(LspSettings),
    /// A phone: never forwards, never announced, has one LSP.
    Wallet {
        /// The LSP's node id: the only peer whose channels are accepted, and the way out for onion messages.
        lsp: PublicKey,
        /// `host:port` of the LSP.
        lsp_address: String,
    },
}

/// The terms of an LSP's forwarding.
#[derive(Clone, Debug)]
pub struct LspSettings {
    /// Blocks between an inbound HTLC's expiry and the outbound one's (BOLT 7 `cltv_expiry_delta`).
    pub cltv_expiry_delta_blocks: u16,
    /// BOLT 7 `fee_base_msat`.
    pub fee_base_msat: u32,
    /// BOLT 7 `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
    /// When the chain source is not to be relied on.
    pub chain: ChainLimits,
    /// Who may connect, and how much they may say.
    pub peers: PeerLimits,
    /// Which channels are accepted.
    pub channels: ChannelLimits,
}

impl Role {
    /// A phone's one peer is its LSP, which hands over a whole mailbox at once and then forgets it: what the phone drops is lost. Its
    /// bound only keeps an LSP that has gone mad from its battery.
    pub(crate) fn peer_limits(&self) -> PeerLimits {
        match self {
            Self::Lsp(settings) => settings.peers,
            Self::Wallet { .. } => PeerLimits {
                onion_messages_per_second: 500,
                onion_messages_burst: 5_000,
                ..PeerLimits::default()
            },
        }
    }
}
