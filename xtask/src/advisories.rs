//! `cargo xtask advisories`.

use std::process::ExitCode;

use xtask::with_causes;

use crate::tools::DENY;

/// Known vulnerabilities in the dependencies, from the RustSec database.
///
/// Apart from `check`, because the database has to be fetched from the network, and because it changes while the
/// code does not. Exits with 0 when nothing is known against any dependency, with 1 when something is, and with 2,
/// saying "not checked", when the database cannot be fetched.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// The dependencies were not checked: neither good nor bad news.
const NOT_CHECKED: u8 = 2;

pub(crate) fn run(_: &Arguments) -> ExitCode {
    // A step of its own, so that a failed fetch cannot be taken for a finding, nor an old database for news.
    if let Err(error) = DENY.run(&["fetch", "db", "index"]) {
        eprintln!("advisories: not checked: the database could not be fetched: {}", with_causes(&error));
        return ExitCode::from(NOT_CHECKED);
    }
    match DENY.run(&["--offline", "check", "advisories"]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("advisories: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
