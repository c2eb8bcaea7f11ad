//! What can go wrong while the server starts and runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use node::NodeError;
use protocol::hold::StepError;
use storage::StorageError;

use crate::config::{ConfigError, SeedError};
use crate::store::StoreError;

/// Errors of the server as a whole. `Display` says what to do; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The config cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The seed cannot be used.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The Lightning node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Rows that make no sense.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Push notifications cannot be sent.
    #[error("push notifications cannot be set up")]
    Push(#[from] notifier::webhook::WebhookGatewayError),
    /// The public API's address cannot be bound.
    #[error(
        "cannot serve HTTP on {address}: is another process using the port? Change http.listen, or stop it"
    )]
    HttpListen {
        /// From the config.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The admin API's socket cannot be made.
    #[error("cannot make the admin socket {}: use a data directory with a short path, on a local disk", path.display())]
    AdminSocket {
        /// In the data directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No such hold.
    #[error("no hold has this pid")]
    NoSuchHold,
    /// The hold does not allow it now.
    #[error(transparent)]
    Hold(#[from] StepError),
}
