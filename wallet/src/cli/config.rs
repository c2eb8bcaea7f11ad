//! The config file, and the environment above it. The whole is checked at once, and every mistake is reported.

mod settings;

use std::path::{Path, PathBuf};

use bitcoin::Network;
use node::BitcoindConfig;
use reqwest::Url;
use storage::DatabaseUrl;
use wallet::{LspAddress, WalletConfig};

use settings::{Settings, TEXT};

/// Why the config cannot be used. No text repeats a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(
        "there is no wallet in {}: make one with `wallet init`, or name its directory with --data-dir",
        path.display()
    )]
    NoWallet { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{}", list(path, mistakes))]
    Mistakes { path: PathBuf, mistakes: Vec<String> },
}

fn list(path: &Path, mistakes: &[String]) -> String {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    format!("the config has {count} ({} and the environment):\n  {}", path.display(), mistakes.join("\n  "))
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("config.toml")
}

pub(super) fn seed_path(data_dir: &Path) -> PathBuf {
    data_dir.join("seed")
}

pub(super) fn database_path(data_dir: &Path) -> PathBuf {
    data_dir.join("wallet.db")
}

pub(super) fn load(data_dir: &Path) -> Result<WalletConfig, ConfigError> {
    let path = path(data_dir);
    if !path.exists() {
        return Err(ConfigError::NoWallet { path: data_dir.to_owned() });
    }
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path, source })?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parse(data_dir, &text, environment)
}

/// As [`load`], from `text` and from `environment`'s variables, of which it takes its own.
pub(super) fn parse(
    data_dir: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<WalletConfig, ConfigError> {
    let path = path(data_dir);
    let table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.clone(),
        line: error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
        message: error.message().to_owned(),
    })?;
    let mut settings = Settings::new(table, environment);
    let network = settings.required("network", "bitcoin, testnet, testnet4, signet or regtest", network);
    let lsp = settings.required("lsp", "NODEID@HOST:PORT", lsp);
    let lsp_api = settings.optional("lsp_api", "http://HOST:PORT or https://HOST", lsp_api);
    let build_unblock_path = settings.optional("build_unblock_path", "true or false", truth);
    let show_payer = settings.optional("show_payer", "true or false", truth);
    let rpc_url =
        settings.required("bitcoind.rpc_url", "http://HOST:PORT, without user and password", rpc_url);
    let rpc_user = settings.required("bitcoind.rpc_user", TEXT, text_of);
    let rpc_password = settings.required("bitcoind.rpc_password", TEXT, text_of);
    let mistakes = settings.mistakes();
    let (Some(network), Some(lsp), Some(rpc_url), Some(rpc_user), Some(rpc_password), true) =
        (network, lsp, rpc_url, rpc_user, rpc_password, mistakes.is_empty())
    else {
        return Err(ConfigError::Mistakes { path, mistakes });
    };
    Ok(WalletConfig {
        network,
        bitcoind: BitcoindConfig { rpc_url, rpc_user, rpc_password },
        lsp,
        lsp_api,
        database: DatabaseUrl::Sqlite(database_path(data_dir)),
        build_unblock_path: build_unblock_path.unwrap_or(false),
        show_payer: show_payer.unwrap_or(false),
    })
}

fn network(value: &toml::Value) -> Option<Network> {
    value.as_str()?.parse().ok()
}

fn lsp(value: &toml::Value) -> Option<LspAddress> {
    value.as_str()?.parse().ok()
}

fn lsp_api(value: &toml::Value) -> Option<String> {
    url(value, &["http", "https"])
}

fn rpc_url(value: &toml::Value) -> Option<String> {
    url(value, &["http"])
}

fn url(value: &toml::Value, schemes: &[&str]) -> Option<String> {
    let text = value.as_str()?;
    let url: Url = text.parse().ok()?;
    let usable = schemes.contains(&url.scheme())
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none();
    usable.then(|| text.to_owned())
}

fn text_of(value: &toml::Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The environment has nothing but text.
fn truth(value: &toml::Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        network = "regtest"
        lsp = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619@127.0.0.1:9735"
        show_payer = true
        [bitcoind]
        rpc_url = "http://127.0.0.1:18443"
        rpc_user = "user"
        rpc_password = "hunter2"
    "#;

    fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match parse(Path::new("/data"), text, variables) {
            Err(ConfigError::Mistakes { mistakes, .. }) => mistakes,
            other => panic!("expected mistakes: {other:?}"),
        }
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let variables =
            [("WALLET__BITCOIND__RPC_USER", "other"), ("WALLET__SHOW_PAYER", "false"), ("PATH", "/")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = parse(Path::new("/data"), GOOD, variables).unwrap();
        assert_eq!((config.bitcoind.rpc_user.as_str(), config.show_payer), ("other", false));
        assert_eq!((config.lsp_api, config.build_unblock_path), (None, false));
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_no_secret_with_it() {
        let wrong = GOOD.replace("regtest", "moonnet").replace("rpc_password", "rpc_pasword");
        let wrong = wrong.replace("http://", "ftp://").replace("show_payer = true", "zebra = 1");
        let found = mistakes(&wrong, &[("WALLET__LSP_APY", "http://lsp.example"), ("WALLET__LSP", "nobody")]);
        let expected = [
            "network: expected bitcoin, testnet, testnet4, signet or regtest",
            "WALLET__LSP: expected NODEID@HOST:PORT",
            "bitcoind.rpc_url: expected http://HOST:PORT, without user and password",
            "bitcoind.rpc_password: is missing: expected text in quotes",
            "bitcoind.rpc_pasword: is unknown; did you mean bitcoind.rpc_password?",
            "WALLET__LSP_APY: is unknown; did you mean lsp_api?",
            "zebra: is unknown",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_should_be_a_section_is_told() {
        let wrong = "network = 1\nlsp = 2\nbitcoind = 3\n[lsp_api]\nurl = 4";
        let found = mistakes(wrong, &[]).join("\n");
        for expected in
            ["network: expected", "lsp: expected", "bitcoind.rpc_url: is missing", "lsp_api: expected"]
        {
            assert!(found.contains(expected), "{expected} is not in {found}");
        }
    }
}
