//! `lsp-server init`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bitcoin::Network;
use node::{BitcoindConfig, Seed, SeedError};
use serde::Serialize;

use super::CliError;
use super::output::Output;
use super::table::Fields;
use crate::config::{
    CONFIG_FILE, Config, ConfigError, DATABASE_FILE, InitSettings, SEED_FILE, TOKEN_KEY_FILE, render,
};
use crate::tokens::{self, TokenKeyError};

/// Make a data directory: a commented config, a new seed, and a key that push tokens are sealed with.
///
/// Overwrites nothing: for a directory that has a config, a seed or a database it is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The chain: bitcoin, testnet, testnet4, signet or regtest.
    #[arg(long)]
    network: Network,
    /// bitcoind's JSON-RPC interface, http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    bitcoind_rpc_url: String,
    /// bitcoind's rpcuser.
    #[arg(long, value_name = "USER")]
    bitcoind_rpc_user: String,
    /// bitcoind's rpcpassword. In the environment other users of this machine do not see it.
    #[arg(long, value_name = "PASSWORD", env = "LSP__BITCOIND__RPC_PASSWORD", hide_env_values = true)]
    bitcoind_rpc_password: String,
    /// Where Lightning connections are accepted.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9735")]
    listen: SocketAddr,
    /// Where the public HTTP API is served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http_listen: SocketAddr,
    /// An address that other nodes are told to connect to; may be repeated.
    #[arg(long = "announce-address", value_name = "ADDRESS")]
    announced_addresses: Vec<SocketAddr>,
    /// The node's name in the public graph, at most 32 bytes.
    #[arg(long, default_value = "lightning-rod")]
    alias: String,
}

/// Why there is no new data directory. Nothing was written that was not there before.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A node lives there.
    #[error(
        "{} exists: init makes a new node and overwrites nothing. Name another directory with --data-dir",
        path.display()
    )]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The arguments make no config that could be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The seed could not be made.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The key for push tokens could not be made.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The directory or a file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    config: PathBuf,
    seed: PathBuf,
    token_key: PathBuf,
}

pub(super) fn init(data_dir: &Path, arguments: Arguments, output: Output) -> Result<(), CliError> {
    let made = make(data_dir, arguments)?;
    output.print(&made, |made| {
        let next = "`lsp-server doctor`, then `lsp-server run`. Keep a copy of the seed in a safe place: with the \
                    database it is the node's money. Keep one of the token key, apart from the database's copies";
        Fields::default()
            .field("config", made.config.display())
            .field("seed", made.seed.display())
            .field("token key", made.token_key.display())
            .field("next", next)
    })
}

fn make(data_dir: &Path, arguments: Arguments) -> Result<Made, InitError> {
    for file in [CONFIG_FILE, SEED_FILE, TOKEN_KEY_FILE, DATABASE_FILE] {
        let path = data_dir.join(file);
        if path.exists() {
            return Err(InitError::Exists { path });
        }
    }
    let text = render(&InitSettings {
        network: arguments.network,
        bitcoind: BitcoindConfig {
            rpc_url: arguments.bitcoind_rpc_url,
            rpc_user: arguments.bitcoind_rpc_user,
            rpc_password: arguments.bitcoind_rpc_password,
        },
        listen: arguments.listen,
        http_listen: arguments.http_listen,
        announced_addresses: arguments.announced_addresses,
        alias: arguments.alias,
    });
    Config::parse(data_dir, &text, [])?;

    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| InitError::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed(data_dir))?;
    let config = data_dir.join(CONFIG_FILE);
    let seed = data_dir.join(SEED_FILE);
    let token_key = data_dir.join(TOKEN_KEY_FILE);
    write_new(&config, &text).map_err(failed(&config))?;
    // A config without a seed would stand in the way of the next attempt.
    if let Err(error) = tokens::create(&token_key) {
        fs::remove_file(&config).map_err(failed(&config))?;
        return Err(error.into());
    }
    if let Err(error) = Seed::create(&seed) {
        fs::remove_file(&config).map_err(failed(&config))?;
        fs::remove_file(&token_key).map_err(failed(&token_key))?;
        return Err(error.into());
    }
    File::open(data_dir).and_then(|directory| directory.sync_all()).map_err(failed(data_dir))?;
    Ok(Made { config, seed, token_key })
}

/// The config holds bitcoind's password: it is for its owner only.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            network: Network::Regtest,
            bitcoind_rpc_url: "http://127.0.0.1:18443".to_owned(),
            bitcoind_rpc_user: "user".to_owned(),
            bitcoind_rpc_password: "hunter2".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9735)),
            http_listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            announced_addresses: Vec::new(),
            alias: "alice".to_owned(),
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn everything_is_for_its_owner_only_and_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("some/where");
        let made = make(&data_dir, arguments()).unwrap();
        assert_eq!((mode(&data_dir), mode(&made.config), mode(&made.seed)), (0o700, 0o600, 0o600));
        assert_eq!(mode(&made.token_key), 0o600);
        tokens::load(&made.token_key).unwrap();
        Seed::load(&made.seed).unwrap();
        let text = fs::read_to_string(&made.config).unwrap();
        let config = Config::parse(&data_dir, &text, []).unwrap();
        assert_eq!((config.lightning.alias.as_str(), config.seed_path()), ("alice", made.seed));
    }

    #[test]
    fn nothing_is_overwritten() {
        for file in [CONFIG_FILE, SEED_FILE, TOKEN_KEY_FILE, DATABASE_FILE] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(file), "precious").unwrap();
            let error = make(dir.path(), arguments()).unwrap_err();
            assert!(matches!(&error, InitError::Exists { path } if path.ends_with(file)), "{error:?}");
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), "precious");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn arguments_that_make_no_config_write_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("new");
        let wrong =
            Arguments { bitcoind_rpc_url: "127.0.0.1".to_owned(), alias: "x".repeat(33), ..arguments() };
        let error = make(&data_dir, wrong).unwrap_err().to_string();
        assert!(error.contains("bitcoind.rpc_url") && error.contains("lightning.alias"), "{error}");
        assert!(!data_dir.exists());
    }
}
