//! `wallet init`

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use node::Seed;
use serde_json::json;
use wallet::LspAddress;

use super::config;
use super::error::CliError;
use super::output::Output;

/// Make a new wallet: a commented config, and a seed for its owner's eyes only.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// bitcoin, testnet, testnet4, signet or regtest.
    #[arg(long)]
    network: String,
    /// http://HOST:PORT of bitcoind's RPC interface.
    #[arg(long)]
    bitcoind_rpc_url: String,
    #[arg(long)]
    bitcoind_rpc_user: String,
    #[arg(long, env = "WALLET_BITCOIND_RPC_PASSWORD", hide_env_values = true)]
    bitcoind_rpc_password: String,
    /// NODEID@HOST:PORT of the LSP.
    #[arg(long)]
    lsp: LspAddress,
    /// Base URL of the LSP's public HTTP API; needed to register this phone for pushes.
    #[arg(long)]
    lsp_api: Option<String>,
}

/// Why no wallet was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error(
        "{} is there already: a wallet is never overwritten. Name another directory with --data-dir",
        path.display()
    )]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

pub(super) fn run(data_dir: &Path, arguments: &Arguments, output: Output) -> Result<(), CliError> {
    let config_path = config::path(data_dir);
    let seed_path = config::seed_path(data_dir);
    // A database without its seed is still somebody's money: the seed may turn up again.
    for path in [&config_path, &seed_path, &config::database_path(data_dir)] {
        if path.exists() {
            return Err(InitError::Exists { path: path.clone() }.into());
        }
    }
    let text = text(arguments);
    config::parse(data_dir, &text, [])?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| InitError::Write { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed(data_dir))?;
    Seed::create(&seed_path)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&config_path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    if let Err(source) = written {
        // No wallet was made, so the seed holds no money.
        let _ = fs::remove_file(&seed_path);
        return Err(InitError::Write { path: config_path, source }.into());
    }
    output.answer(&json!({ "config": config_path, "seed": seed_path }), || {
        format!(
            "config: {}\nseed:   {} (back it up: it is the only way to your money)",
            config_path.display(),
            seed_path.display()
        )
    });
    Ok(())
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's, too.
    json!(text).to_string()
}

fn text(arguments: &Arguments) -> String {
    let lsp_api = match &arguments.lsp_api {
        Some(url) => format!("lsp_api = {}", quoted(url)),
        None => "# lsp_api = \"https://lsp.example\"".to_owned(),
    };
    format!(
        "\
# bitcoin, testnet, testnet4, signet or regtest. Never changes for one database.
network = {network}

# NODEID@HOST:PORT. The LSP that holds payments, keeps messages, and wakes this phone.
lsp = {lsp}

# Base URL of the LSP's public HTTP API; only to register this phone for pushes.
{lsp_api}

# As a payee: build the way of the answer from the payer's node ids, if it gave them.
# build_unblock_path = false

# As a payer: tell the payee this wallet's node id and its LSP's.
# show_payer = false

[bitcoind]
rpc_url = {rpc_url}
rpc_user = {rpc_user}
rpc_password = {rpc_password}
",
        network = quoted(&arguments.network),
        lsp = quoted(&arguments.lsp.to_string()),
        rpc_url = quoted(&arguments.bitcoind_rpc_url),
        rpc_user = quoted(&arguments.bitcoind_rpc_user),
        rpc_password = quoted(&arguments.bitcoind_rpc_password),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LSP: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619@127.0.0.1:9735";

    fn arguments() -> Arguments {
        Arguments {
            network: "regtest".to_owned(),
            bitcoind_rpc_url: "http://127.0.0.1:18443".to_owned(),
            bitcoind_rpc_user: "user".to_owned(),
            bitcoind_rpc_password: "a\"b\\c#d".to_owned(),
            lsp: LSP.parse().unwrap(),
            lsp_api: None,
        }
    }

    #[test]
    fn what_init_writes_is_what_the_wallet_reads() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new");
        run(&data_dir, &arguments(), Output { json: false }).unwrap();
        let config = config::load(&data_dir).unwrap();
        assert_eq!(config.network, bitcoin::Network::Regtest);
        assert_eq!(config.lsp.to_string(), LSP);
        assert_eq!(config.lsp_api, None);
        assert_eq!(config.bitcoind.rpc_password, "a\"b\\c#d");
        assert!(!config.build_unblock_path);
    }

    #[test]
    fn a_wallet_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &arguments(), Output { json: false }).unwrap();
        let before = fs::read(config::seed_path(folder.path())).unwrap();
        let again = run(folder.path(), &arguments(), Output { json: false });
        assert!(matches!(again, Err(CliError::Init(InitError::Exists { .. }))));
        assert_eq!(fs::read(config::seed_path(folder.path())).unwrap(), before);
    }

    #[test]
    fn an_unknown_key_or_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &arguments(), Output { json: false }).unwrap();
        let path = config::path(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("colour = \"red\"\n{text}")).unwrap();
        assert!(matches!(config::load(folder.path()), Err(config::ConfigError::Mistakes { .. })));
        fs::write(&path, text.replace("regtest", "moonnet")).unwrap();
        assert!(matches!(config::load(folder.path()), Err(config::ConfigError::Mistakes { .. })));
    }
}
