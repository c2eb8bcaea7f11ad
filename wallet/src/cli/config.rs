//! The config file.

use std::path::{Path, PathBuf};

use bitcoin::Network;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use node::BitcoindConfig;
use serde::Deserialize;
use storage::DatabaseUrl;
use wallet::{LspAddress, LspAddressError, WalletConfig};

/// Environment variables that stand in for lines of the file: `WALLET__BITCOIND__RPC_URL`.
const ENV_PREFIX: &str = "WALLET__";

/// Why the config cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("there is no wallet in {}: make one with `wallet init`", path.display())]
    NoWallet { path: PathBuf },
    #[error("the config {} is wrong", path.display())]
    Wrong { path: PathBuf, source: Box<figment::Error> },
    #[error("the config {} is wrong", path.display())]
    Lsp { path: PathBuf, source: LspAddressError },
    #[error("{name:?} is no network: expected bitcoin, testnet, testnet4, signet or regtest")]
    Network { name: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    network: String,
    lsp: String,
    lsp_api: Option<String>,
    bitcoind: Bitcoind,
    #[serde(default)]
    build_unblock_path: bool,
    #[serde(default)]
    show_payer: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bitcoind {
    rpc_url: String,
    rpc_user: String,
    rpc_password: String,
}

impl std::fmt::Debug for Bitcoind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bitcoind").field("rpc_url", &self.rpc_url).finish_non_exhaustive()
    }
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("config.toml")
}

pub(super) fn network(name: &str) -> Result<Network, ConfigError> {
    name.parse().map_err(|_| ConfigError::Network { name: name.to_owned() })
}

pub(super) fn load(data_dir: &Path) -> Result<WalletConfig, ConfigError> {
    let path = path(data_dir);
    if !path.exists() {
        return Err(ConfigError::NoWallet { path: data_dir.to_owned() });
    }
    let file: File = Figment::from(Toml::file_exact(&path))
        .merge(Env::prefixed(ENV_PREFIX).split("__"))
        .extract()
        .map_err(|source| ConfigError::Wrong { path: path.clone(), source: Box::new(source) })?;
    let lsp: LspAddress = file.lsp.parse().map_err(|source| ConfigError::Lsp { path, source })?;
    Ok(WalletConfig {
        network: network(&file.network)?,
        bitcoind: BitcoindConfig {
            rpc_url: file.bitcoind.rpc_url,
            rpc_user: file.bitcoind.rpc_user,
            rpc_password: file.bitcoind.rpc_password,
        },
        lsp,
        lsp_api: file.lsp_api,
        database: DatabaseUrl::Sqlite(data_dir.join("wallet.db")),
        build_unblock_path: file.build_unblock_path,
        show_payer: file.show_payer,
    })
}
