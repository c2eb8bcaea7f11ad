//! `cargo xtask crash`.

use std::process::ExitCode;

use crate::demo;

/// The whole crash matrix: everybody dies wherever work may be half done, and no payment is lost.
///
/// Gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's cache), builds lsp-server,
/// wallet and the matrix, and starts it: two LSPs and two wallets, killed at every crash point of the source, at the
/// first time and at later ones, while they recover, and with `kill -9` at random moments. Takes an hour or two; a
/// short form is among the tests. Fails if anything was lost, or a point was never reached.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed to the matrix: `--point NAME` or `--point NAME:N` for one crash point, `--process` lsp_a, lsp_b, payer or
    /// payee for one process, `--story` main, cancel, refuse, ordinary, expire, late or mpp for one story, `--every` for
    /// each single time that a point is reached, `--random N` for so many rounds of random kills, `--random-only` for nothing else,
    /// `--seed N` for their moments, `--short` for what the tests run, `--lanes N` for how much happens at once.
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    // Crash points are in builds with debug assertions only.
    demo::become_program("crash", false, &arguments.rest)
}
