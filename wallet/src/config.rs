//! What a wallet needs to be told.

use std::fmt;
use std::str::FromStr;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use node::BitcoindConfig;
use storage::DatabaseUrl;

/// Everything that a [`Wallet`](crate::Wallet) is built from, besides its seed.
#[derive(Clone, Debug)]
pub struct WalletConfig {
    /// The chain.
    pub network: Network,
    /// The chain source.
    pub bitcoind: BitcoindConfig,
    /// The one LSP: first hop, reply path, and keeper of holds and messages.
    pub lsp: LspAddress,
    /// Base URL of the LSP's public HTTP API; needed only to register devices.
    pub lsp_api: Option<String>,
    /// Where everything is kept. One wallet per database, one process at a time.
    pub database: DatabaseUrl,
    /// As a payee: build the way of the answer from the node ids in `payment_pending`, when the payer gave them, instead of
    /// using the payer's reply path.
    pub build_unblock_path: bool,
    /// As a payer: put the node ids of this wallet and its LSP into `payment_pending`, so that the payee can build the way of
    /// its answer by itself. The payee then knows who pays.
    pub show_payer: bool,
}

/// `NODEID@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LspAddress {
    /// The LSP's public key.
    pub node_id: PublicKey,
    /// `host:port`.
    pub address: String,
}

/// A text that is no [`LspAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no LSP address: expected NODEID@HOST:PORT")]
pub struct LspAddressError {
    text: String,
}

impl FromStr for LspAddress {
    type Err = LspAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('@').and_then(|(node_id, address)| {
            let (host, port) = address.rsplit_once(':')?;
            port.parse::<u16>().ok().filter(|_| !host.is_empty())?;
            Some(Self { node_id: node_id.parse().ok()?, address: address.to_owned() })
        });
        parsed.ok_or_else(|| LspAddressError { text: text.to_owned() })
    }
}

impl fmt::Display for LspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE_ID: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

    #[test]
    fn an_lsp_address_round_trips() {
        let text = format!("{NODE_ID}@lsp.example:9735");
        let address: LspAddress = text.parse().unwrap();
        assert_eq!(address.address, "lsp.example:9735");
        assert_eq!(address.to_string(), text);
    }

    #[test]
    fn what_names_no_node_or_port_is_refused() {
        for text in ["", NODE_ID, "@h:1", &format!("{NODE_ID}@h"), &format!("{NODE_ID}@:1"), "02@h:1"] {
            assert!(text.parse::<LspAddress>().is_err(), "{text}");
        }
    }
}
