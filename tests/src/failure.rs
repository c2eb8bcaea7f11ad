//! What can go wrong in a test besides what it tests.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the harness cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no bitcoind.
    #[error("no chain to run on")]
    Bitcoind(#[from] xtask::bitcoind::BitcoindError),
    /// A program of this workspace is missing.
    #[error("{name} is not at {}: build it with `cargo build -p lsp-server -p wallet`, or let `cargo xtask test` do it", path.display())]
    NotBuilt {
        /// The program.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A process could not be started or waited for.
    #[error("{name} could not be run")]
    Start {
        /// The process.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A process ended that should not have, or with a failure.
    #[error("{name} ended with {status}: {stderr}")]
    Ended {
        /// The process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it had to say.
        stderr: String,
    },
    /// Something was waited for in vain.
    #[error("waited {timeout:?} for {what}{}", LastSeen(last.as_deref()))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
        /// What was there instead.
        last: Option<String>,
    },
    /// bitcoind refused a call.
    #[error("bitcoind refused {method}: {message}")]
    Rpc {
        /// The call.
        method: String,
        /// Its reason.
        message: String,
    },
    /// bitcoind could not be asked.
    #[error("no answer from bitcoind to {method}")]
    RpcTransport {
        /// The call.
        method: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// A program printed something else than it should.
    #[error("unexpected output of {name}: {output}")]
    Output {
        /// The program.
        name: String,
        /// What it printed.
        output: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The world is not as it should be.
    #[error("{0}")]
    Wrong(String),
}

impl Failure {
    /// The world is not as it should be.
    pub fn wrong(text: impl Into<String>) -> Self {
        Self::Wrong(text.into())
    }
}

struct LastSeen<'a>(Option<&'a str>);

impl fmt::Display for LastSeen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |last| write!(f, "; instead: {last}"))
    }
}

/// How a test ends: any error, printed with its causes.
pub type TestResult = Result<(), Report>;

/// An error whose `Debug`, which is what cargo prints of a failed test, is for people.
pub struct Report(String);

impl<E: Error + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Self(xtask::with_causes(&error))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
