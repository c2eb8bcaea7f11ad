//! The server's configuration: one TOML file in the data directory, and the environment above it.
//!
//! A setting `key` of `[section]` is overridden by the variable `LSP__SECTION__KEY`; lists are written with commas there.
//! The whole is checked at once, and every mistake is reported, not only the first.

mod edge;
mod error;
mod notify;
mod push;
mod read;
mod setting;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use node::{BitcoindConfig, ChainLimits, ChannelLimits, LspSettings, NodeConfig, PeerLimits, Role};
use protocol::deadline::{HOLD_BLOCKS_MIN, HoldLimits};
use protocol::mailbox::MailboxLimits;
use protocol::units::Msat;
use storage::DatabaseUrl;

use crate::http::tls::TlsFiles;
use crate::payment::PaymentLimits;

pub use error::{ConfigError, ConfigMistake};
pub use notify::NotifyConfig;
pub use push::{ApnsAppConfig, ApnsConfig, FcmConfig, PushConfig, PushCredentials};
pub use template::{InitSettings, render};

/// The file with the settings, in the data directory.
pub const CONFIG_FILE: &str = "config.toml";
/// The file with the seed, in the data directory.
pub const SEED_FILE: &str = "seed";
/// The file with the keys that push tokens are sealed with, in the data directory unless a setting says otherwise.
pub const TOKEN_KEY_FILE: &str = "push-token.key";
/// The admin API's socket, in the data directory.
pub const ADMIN_SOCKET_FILE: &str = "admin.sock";
/// The embedded database, in the data directory.
pub const DATABASE_FILE: &str = "lsp.sqlite";

/// Everything that the server is told before it starts. Checked: what is here can be used.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server keeps its files.
    pub data_dir: PathBuf,
    /// The chain.
    pub network: Network,
    /// The chain source.
    pub bitcoind: BitcoindConfig,
    /// When the chain source is not to be relied on.
    pub chain: ChainLimits,
    /// The one database.
    pub database: DatabaseUrl,
    /// A file outside the data directory that remembers how far the database had come.
    pub database_witness: Option<PathBuf>,
    /// The Lightning node.
    pub lightning: LightningConfig,
    /// Who may connect, and how much they may say.
    pub peers: PeerLimits,
    /// Which channels are accepted.
    pub channels: ChannelLimits,
    /// What is promised to payers.
    pub holds: HoldsConfig,
    /// What is done for payees.
    pub payee: PayeeConfig,
    /// How much may wait for phones that are offline.
    pub mailbox: MailboxLimits,
    /// The public HTTP API.
    pub http: HttpConfig,
    /// Push notifications.
    pub push: PushConfig,
    /// Notifications that other services ask for.
    pub notify: NotifyConfig,
    /// What monitoring reads.
    pub metrics: MetricsConfig,
}

/// `[lightning]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightningConfig {
    /// Where Lightning connections are accepted.
    pub listen: Vec<SocketAddr>,
    /// The addresses that the node announcement carries.
    pub announced_addresses: Vec<SocketAddr>,
    /// The name in the node announcement, at most 32 bytes.
    pub alias: String,
    /// BOLT 7 `cltv_expiry_delta`. Bounds the time in which a payer must come to settle.
    pub cltv_expiry_delta_blocks: u16,
    /// BOLT 7 `fee_base_msat`.
    pub fee_base_msat: u32,
    /// BOLT 7 `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
}

/// `[holds]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldsConfig {
    /// The longest hold, in blocks from its request.
    pub hold_blocks_max: u32,
    /// Holds at once.
    pub holds_max: u64,
    /// Holds that one payer may have at once.
    pub holds_per_peer_max: u64,
    /// Holds of one payer that are remembered, those that are over included.
    pub holds_kept_per_peer_max: u64,
    /// How long a hold that is over is remembered, in days.
    pub ended_days_kept: u64,
    /// Payment hashes of one hold.
    pub hashes_per_hold_max: u64,
    /// HTLCs that may come under one hold, those that were failed included.
    pub parts_per_hold_max: u64,
    /// HTLCs that are held at once.
    pub held_htlcs_max: u64,
    /// What they may be worth together.
    pub held_msat_max: Msat,
    /// HTLCs that are held for one payer at once.
    pub held_htlcs_per_peer_max: u64,
    /// What they may be worth together.
    pub held_msat_per_peer_max: Msat,
    /// The smallest HTLC that is held: one below the dust limit cannot be claimed on chain.
    pub hold_part_msat_min: Msat,
}

/// `[payee]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayeeConfig {
    /// How long an incoming HTLC waits for a phone that is being woken, in seconds.
    pub wait_secs: u64,
    /// HTLCs that wait at once.
    pub waiting_htlcs_max: u64,
    /// HTLCs that wait for one phone at once.
    pub waiting_htlcs_per_payee_max: u64,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where the public API is served.
    pub listen: SocketAddr,
    /// With what it is served as HTTPS. Plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Plain HTTP on an address that is not loopback.
    pub allow_plain_http: bool,
    /// Connections at once.
    pub connections_max: u64,
    /// Requests under way at once.
    pub requests_max: u64,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where `GET /metrics` is served, in plain HTTP and to everybody who can connect; nowhere unless set.
    pub listen: Option<SocketAddr>,
}

impl Config {
    /// Reads the config of `data_dir`, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake at once.
    pub fn load(data_dir: &Path) -> Result<Self, ConfigError> {
        let path = data_dir.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(data_dir, &text, environment)
    }

    /// As [`Self::load`], from `text` and from `environment`'s variables, of which it takes its own.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake at once.
    pub fn parse(
        data_dir: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        read::config(data_dir, text, environment)
    }

    /// Reads the files that `[push]` names.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`] when the certificates cannot be used that all providers are trusted by. What is wrong with one
    /// provider is in the answer.
    pub fn push_credentials(&self) -> Result<PushCredentials, ConfigError> {
        let path = self.data_dir.join(CONFIG_FILE);
        self.push.credentials().map_err(|mistakes| ConfigError::Mistakes { path, mistakes })
    }

    /// The file with the seed.
    pub fn seed_path(&self) -> PathBuf {
        self.data_dir.join(SEED_FILE)
    }

    /// The admin API's socket.
    pub fn admin_socket_path(&self) -> PathBuf {
        self.data_dir.join(ADMIN_SOCKET_FILE)
    }

    /// The bounds of the payment driver.
    pub fn payments(&self) -> PaymentLimits {
        let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let HoldsConfig {
            hold_blocks_max,
            holds_max,
            holds_per_peer_max,
            holds_kept_per_peer_max,
            ended_days_kept,
            hashes_per_hold_max,
            parts_per_hold_max,
            held_htlcs_max,
            held_msat_max,
            held_htlcs_per_peer_max,
            held_msat_per_peer_max,
            hold_part_msat_min,
        } = self.holds;
        PaymentLimits {
            hold: HoldLimits { hold_blocks_min: HOLD_BLOCKS_MIN, hold_blocks_max },
            holds_max,
            holds_per_peer_max,
            holds_kept_per_peer_max,
            ended_days_kept,
            hashes_per_hold_max: to_usize(hashes_per_hold_max),
            parts_per_hold_max,
            held_htlcs_max,
            held_max: held_msat_max,
            held_htlcs_per_peer_max,
            held_per_peer_max: held_msat_per_peer_max,
            hold_part_min: hold_part_msat_min,
            pending_bytes_max: to_usize(self.mailbox.message_bytes_max),
            payee_wait_secs: self.payee.wait_secs,
            payee_waits_max: to_usize(self.payee.waiting_htlcs_max),
            payee_waits_per_payee_max: to_usize(self.payee.waiting_htlcs_per_payee_max),
            stranger_wakes_per_node_max: self.push.wakes.stranger_wakes_per_node_max,
        }
    }

    /// What the Lightning node is told.
    pub fn node(&self) -> NodeConfig {
        NodeConfig {
            network: self.network,
            bitcoind: self.bitcoind.clone(),
            listen: self.lightning.listen.clone(),
            announced_addresses: self.lightning.announced_addresses.clone(),
            alias: self.lightning.alias.clone(),
            role: Role::Lsp(LspSettings {
                cltv_expiry_delta_blocks: self.lightning.cltv_expiry_delta_blocks,
                fee_base_msat: self.lightning.fee_base_msat,
                fee_proportional_millionths: self.lightning.fee_proportional_millionths,
                chain: self.chain,
                peers: self.peers,
                channels: self.channels,
            }),
        }
    }
}
