//! What can go wrong on the command line.

use std::error::Error;
use std::process::ExitCode;

use node::SeedError;
use wallet::WalletError;

use super::config::ConfigError;
use super::init::InitError;

/// The arguments or the config are wrong; clap uses it too.
const USAGE: u8 = 2;
/// `EX_SOFTWARE` of sysexits.h: the database failed, and the process stopped so that nothing is lost.
const DATABASE_FAILED: u8 = 70;

/// Why a command ended without doing what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(
        "the database failed: the process stops so that nothing is lost; its next start goes on from what is stored"
    )]
    DatabaseFailed(#[source] storage::Failure),
    #[error("cannot listen for signals")]
    Signal(#[source] std::io::Error),
}

impl CliError {
    /// The error and what caused it, in one line. Some libraries repeat the cause in their own text; here it stands once.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
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

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Seed(
                SeedError::Unreadable { .. } | SeedError::Exposed { .. } | SeedError::Damaged { .. },
            )
            | Self::Init(InitError::Exists { .. }) => ExitCode::from(USAGE),
            Self::DatabaseFailed(_) => ExitCode::from(DATABASE_FAILED),
            _ => ExitCode::FAILURE,
        }
    }
}
