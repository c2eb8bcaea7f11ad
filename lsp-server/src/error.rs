//! What can go wrong while the server starts and runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use node::{NodeError, SeedError};
use protocol::hold::StepError;
use storage::StorageError;

use crate::config::ConfigError;
use crate::guard::GuardError;
use crate::http::tls::TlsError;
use crate::store::StoreError;
use crate::tokens::TokenKeyError;

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
    /// The database may be an old copy.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Rows that make no sense.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Push tokens cannot be sealed or opened.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// Push notifications cannot be sent.
    #[error("push notifications cannot be set up")]
    Push(#[from] notifier::ClientError),
    /// The address for metrics cannot be bound.
    #[error(
        "cannot serve metrics on {address}: is another process using the port? Stop it, or change metrics.listen"
    )]
    MetricsListen {
        /// The configured address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The public API's address cannot be bound.
    #[error(
        "cannot serve HTTP on {address}: is another process using the port? Stop it, or change http.listen"
    )]
    HttpListen {
        /// From the config.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The public API's certificate or key cannot be used.
    #[error("cannot serve HTTPS: see http.tls_certificate and http.tls_key")]
    Tls(#[from] TlsError),
    /// The admin API's socket cannot be made.
    #[error("cannot make the admin socket {}: use a data directory with a short path, on a local disk", path.display())]
    AdminSocket {
        /// In the data directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No such hold.
    #[error("no hold has this pid: `lsp-server holds list` shows the holds that there are")]
    NoSuchHold,
    /// The hold does not allow it now.
    #[error(transparent)]
    Hold(#[from] StepError),
}

/// An error in one line, with its causes. Some libraries repeat the cause in their own text; here it stands once.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Nested {
        text: &'static str,
        source: Option<Box<Nested>>,
    }

    #[test]
    fn each_cause_is_told_once() {
        let nested = |text, source: Option<Nested>| Nested { text, source: source.map(Box::new) };
        let error = nested("open: refused", Some(nested("refused", Some(nested("no right", None)))));
        assert_eq!(with_causes(&error), "open: refused: no right");
    }
}
