//! What can go wrong in a command.

use std::path::PathBuf;

use super::init::InitError;
use crate::error::ServerError;

/// Errors of the commands. `Display` says what to do; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `init`
    #[error(transparent)]
    Init(#[from] InitError),
    /// `run`
    #[error(transparent)]
    Server(#[from] ServerError),
    /// `run`: what was not written is not lost, since LDK and the peers were not told that it was.
    #[error(
        "the database failed, and the server stopped so that nothing is lost: check the disk, then start it again"
    )]
    DatabaseFailed(#[source] storage::Failure),
    /// Nobody listens on the admin socket.
    #[error(
        "no server is running for {} (start it with `lsp-server run`, or name its directory with --data-dir)",
        data_dir.display()
    )]
    NotRunning {
        /// As given.
        data_dir: PathBuf,
    },
    /// `run`: two never share a data directory.
    #[error(
        "a server is running for {} already: stop it first, or name another data directory with --data-dir",
        data_dir.display()
    )]
    Running {
        /// As given.
        data_dir: PathBuf,
    },
    /// The admin socket cannot be used, or the server ended in the middle of an answer.
    #[error("the server cannot be asked over {}", socket.display())]
    Transport {
        /// The admin socket.
        socket: PathBuf,
        /// What happened.
        source: reqwest::Error,
    },
    /// The server's answer cannot be read.
    #[error("the server's answer cannot be read: is the CLI of another version than the server?")]
    Answer(#[source] serde_json::Error),
    /// The server said no.
    #[error("{detail}")]
    Refused {
        /// The server's words.
        detail: String,
    },
    /// The pid on stdin. What was read is not repeated.
    #[error("expected the pid on stdin: 64 hex digits")]
    NoPid,
    /// stdin, stdout or a signal handler.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
    /// The process cannot even begin.
    #[error("the async runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}
