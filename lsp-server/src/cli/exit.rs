//! Exit codes, and the last words.

use std::process::ExitCode;

use node::SeedError;
use storage::StorageError;

use super::CliError;
use super::init::InitError;
use crate::error::{ServerError, with_causes};

/// The arguments or the config are wrong; clap uses it too.
const USAGE: u8 = 2;
/// `EX_SOFTWARE` of sysexits.h: the database failed, and the process stopped so that nothing is lost.
const DATABASE_FAILED: u8 = 70;

/// `EX_CONFIG` of sysexits.h: the database is, or may be, an old copy. No restart mends that.
pub(super) const STALE: u8 = 78;

pub(super) fn failed(error: &CliError) -> ExitCode {
    eprintln!("error: {}", with_causes(error));
    code(error)
}

pub(super) fn code(error: &CliError) -> ExitCode {
    match error {
        CliError::Server(
            ServerError::Config(_)
            | ServerError::TokenKey(_)
            | ServerError::Seed(
                SeedError::Unreadable { .. } | SeedError::Exposed { .. } | SeedError::Damaged { .. },
            ),
        )
        | CliError::Init(InitError::Exists { .. } | InitError::Config(_))
        | CliError::NoPid => ExitCode::from(USAGE),
        CliError::Server(ServerError::Guard(_) | ServerError::Storage(StorageError::Moved { .. })) => {
            ExitCode::from(STALE)
        }
        CliError::DatabaseFailed(_) => ExitCode::from(DATABASE_FAILED),
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_wrong_config_is_told_from_a_failure() {
        let wrong = Config::parse("/data".as_ref(), "network = 1", []).unwrap_err();
        let wrong = CliError::Server(ServerError::Config(wrong));
        assert_eq!(format!("{:?}", code(&wrong)), format!("{:?}", ExitCode::from(2)));
        let failure = CliError::DatabaseFailed(storage::Failure::TornDown);
        assert_eq!(format!("{:?}", code(&failure)), format!("{:?}", ExitCode::from(70)));
        let moved = StorageError::Moved { known: String::new(), found: String::new() };
        let moved = CliError::Server(ServerError::Storage(moved));
        assert_eq!(format!("{:?}", code(&moved)), format!("{:?}", ExitCode::from(78)));
        let refused = CliError::Refused { detail: String::new() };
        assert_eq!(format!("{:?}", code(&refused)), format!("{:?}", ExitCode::FAILURE));
    }
}
