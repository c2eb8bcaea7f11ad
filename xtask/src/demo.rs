//! `cargo xtask demo`.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use xtask::bitcoind::{self, BitcoindError, EXE_VAR};
use xtask::{BIN_DIR_VAR, with_causes};

use crate::arguments::take_flag;
use crate::process::{self, ProcessError, cargo, target_dir};
use crate::steps::print_progress;

/// Two phones that are never online together pay each other, on a regtest chain.
///
/// Gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's cache), builds lsp-server,
/// wallet and the demo, and starts it. Everything it runs is a process of its own, on free ports, with its data in a
/// temporary folder; Ctrl-C ends them all.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build with optimizations.
    #[arg(long)]
    release: bool,

    /// Handed to the demo: `--lsps 1` for one LSP that serves both phones, `--parts N` for a payment in N parts,
    /// `--keep` to leave everything running and say how to talk to it.
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Bitcoind(#[from] BitcoindError),
    #[error("it could not be built")]
    Build(#[source] ProcessError),
    #[error("cannot find the target folder")]
    TargetDir(#[source] io::Error),
    #[error("cannot start {}", path.display())]
    Start { path: PathBuf, source: io::Error },
}

impl Arguments {
    /// Whether to build with optimizations, and what the demo gets.
    pub(crate) fn split(&self) -> (bool, Vec<String>) {
        take_flag("--release", self.release, &self.rest)
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (release, rest) = arguments.split();
    become_program("demo", release, &rest)
}

/// Builds the programs and puts one of them, of the tests' package, into this process's place, so that a signal reaches it.
/// Returns only if it could not be started.
pub(crate) fn become_program(name: &str, release: bool, arguments: &[String]) -> ExitCode {
    let error = match prepare(release) {
        Ok((bitcoind, folder)) => {
            let path = folder.join(name);
            let mut program = process::program(&path);
            let source = program.args(arguments).env(EXE_VAR, bitcoind).env(BIN_DIR_VAR, folder).exec();
            StartError::Start { path, source }
        }
        Err(error) => error,
    };
    eprintln!("error: {}", with_causes(&error));
    ExitCode::FAILURE
}

/// The bitcoind, and the folder with the programs that were built.
fn prepare(release: bool) -> Result<(PathBuf, PathBuf), StartError> {
    let bitcoind = bitcoind::ensure(&mut print_progress)?;
    let mut build = cargo();
    build.args(["build", "-p", "lsp-server", "-p", "wallet", "-p", "tests", "--bins"]);
    if release {
        build.arg("--release");
    }
    process::run(&mut build).map_err(StartError::Build)?;
    let profile = if release { "release" } else { "debug" };
    let folder = target_dir().map_err(StartError::TargetDir)?.join(profile);
    Ok((bitcoind, folder))
}
