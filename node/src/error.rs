//! What can go wrong in a node.

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;

/// Errors of this crate. `Display` says what to do; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The chain source did not answer, or not as bitcoind does.
    #[error("bitcoind at {url} cannot be used: check that it runs, and its RPC address, user and password")]
    Bitcoind {
        /// The configured address.
        url: String,
        /// What it answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// bitcoind wants other credentials.
    #[error(
        "bitcoind at {url} refuses the RPC user or password: check both in the config, and rpcallowip in bitcoin.conf"
    )]
    BitcoindRefuses {
        /// The configured address.
        url: String,
    },
    /// bitcoind is on another chain than the config says.
    #[error("bitcoind is on {actual}, the config says {expected}: point one of them at the other's chain")]
    WrongChain {
        /// From the config.
        expected: Network,
        /// As bitcoind names it.
        actual: String,
    },
    /// The database belongs to another seed.
    #[error(
        "this database belongs to node {expected}, the seed makes {actual}: use the seed that the database was made with"
    )]
    WrongSeed {
        /// Stored at first start.
        expected: String,
        /// From the seed given.
        actual: PublicKey,
    },
    /// The database belongs to another network.
    #[error(
        "this database was made on {expected}, the config says {actual}: a node stays on its network; put {expected} back \
         into the config, or make a new node in another data directory"
    )]
    WrongNetwork {
        /// Stored at first start.
        expected: String,
        /// From the config.
        actual: Network,
    },
    /// The database failed.
    #[error("the database failed")]
    Storage(#[from] storage::StorageError),
    /// Something stored could not be read back.
    #[error(
        "stored {what} cannot be read (table kv, key `{key}`): leave the database as it is and report this; an older copy would \
         lose channels' money"
    )]
    Corrupt {
        /// Which object.
        what: &'static str,
        /// Which row: what LDK or BDK calls it.
        key: String,
    },
    /// A listening address could not be bound.
    #[error(
        "cannot listen on {address}: is another process using the port? Stop it, or change the address in the config"
    )]
    Listen {
        /// The configured address.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A peer could not be reached.
    #[error("cannot connect to {peer} at {address}")]
    Connect {
        /// The peer.
        peer: PublicKey,
        /// Where it was tried.
        address: String,
    },
    /// An address that does not resolve.
    #[error("{address} is no address: expected host:port")]
    Address {
        /// As given.
        address: String,
        /// The resolver's answer.
        source: std::io::Error,
    },
    /// LDK refused a call.
    #[error("{action} was refused: {reason}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// LDK's words.
        reason: String,
    },
    /// The on-chain wallet could not do it.
    #[error("the on-chain wallet cannot {action}: {reason}")]
    OnChain {
        /// What was asked.
        action: &'static str,
        /// BDK's words.
        reason: String,
    },
    /// LDK's router found no way with the channels and the gossip that it has.
    #[error("no route to the payee: the channels cannot carry the amount, or gossip about them is missing")]
    NoRoute,
    /// LDK knows a payment with this hash: nothing was sent.
    #[error("this invoice is being paid, or was paid a moment ago")]
    DuplicatePayment,
    /// An invoice that cannot be paid or made.
    #[error("{0}")]
    Invoice(String),
}

impl NodeError {
    pub(crate) fn refused(action: &'static str, reason: impl std::fmt::Debug) -> Self {
        Self::Refused { action, reason: format!("{reason:?}") }
    }

    pub(crate) fn on_chain(action: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::OnChain { action, reason: reason.to_string() }
    }
}
