//! The commented config that `init` writes.

use std::net::SocketAddr;

use bitcoin::Network;
use node::BitcoindConfig;

/// What `init` is told. Everything else has a default.
#[derive(Clone, Debug)]
pub struct InitSettings {
    /// The chain.
    pub network: Network,
    /// The chain source.
    pub bitcoind: BitcoindConfig,
    /// Where Lightning connections are accepted.
    pub listen: SocketAddr,
    /// Where the public HTTP API is served.
    pub http_listen: SocketAddr,
    /// The addresses that the node announcement carries.
    pub announced_addresses: Vec<SocketAddr>,
    /// The name in the node announcement.
    pub alias: String,
}

/// The config file for these settings, every other one in a comment with its default.
pub fn render(settings: &InitSettings) -> String {
    let announced: Vec<_> = settings.announced_addresses.iter().map(SocketAddr::to_string).collect();
    format!(
        include_str!("template.toml"),
        network = quote(&settings.network.to_string()),
        rpc_url = quote(&settings.bitcoind.rpc_url),
        rpc_user = quote(&settings.bitcoind.rpc_user),
        rpc_password = quote(&settings.bitcoind.rpc_password),
        listen = quote(&settings.listen.to_string()),
        announced_addresses = toml::Value::from(announced),
        alias = quote(&settings.alias),
        http_listen = quote(&settings.http_listen.to_string()),
    )
}

fn quote(text: &str) -> toml::Value {
    toml::Value::from(text)
}
