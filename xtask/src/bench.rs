//! `cargo xtask bench`.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use xtask::bitcoind::{self, BitcoindError, EXE_VAR};
use xtask::{BIN_DIR_VAR, with_causes};

use crate::process::{self, ProcessError, cargo, target_dir};
use crate::steps::print_progress;

/// Names the stock LSP's program to the benchmark.
const STOCK_LSP_VAR: &str = "LIGHTNING_ROD_STOCK_LSP";

/// What a payment costs the LSP, beside a stock ldk-node; pushes and their latency; registrations; a mailbox of a million
/// messages. Every figure beside another of the same run.
///
/// Gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's cache), builds lsp-server, the
/// benchmark, and an LSP on stock ldk-node with optimizations (as far as what is asked for needs them), and starts it. Needs a C
/// compiler. docs/benchmarks.md says what the figures mean; nothing else should run on the machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed to the benchmark: `--quick` for one short round, `--only pushes,registrations` for a part, `--help` for the rest.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Bitcoind(#[from] BitcoindError),
    #[error("the benchmark could not be built")]
    Build(#[source] ProcessError),
    #[error("the stock LSP could not be built")]
    BuildStock(#[source] ProcessError),
    #[error("tests/interop is missing, where the stock LSP is built")]
    NoInterop,
    #[error("cannot find the target folder")]
    TargetDir(#[source] io::Error),
    #[error("cannot start {}", path.display())]
    Start { path: PathBuf, source: io::Error },
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let error = become_bench(arguments);
    eprintln!("error: {}", with_causes(&error));
    ExitCode::FAILURE
}

/// What a run needs besides the benchmark itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// lsp-server and a bitcoind.
    server: bool,
    /// The stock LSP.
    stock: bool,
}

impl Needs {
    const NOTHING: Self = Self { server: false, stock: false };
    const EVERYTHING: Self = Self { server: true, stock: true };

    /// By the benchmark's own arguments. What is not understood here needs everything: the benchmark has the last word.
    fn of(rest: &[String]) -> Self {
        if rest.iter().any(|word| matches!(word.as_str(), "-h" | "--help" | "-V" | "--version")) {
            return Self::NOTHING;
        }
        let mut names = Vec::new();
        for (at, word) in rest.iter().enumerate() {
            let listed = match word.as_str() {
                "--only" => rest.get(at + 1).map(String::as_str),
                word => word.strip_prefix("--only="),
            };
            names.extend(listed.into_iter().flat_map(|list| list.split(',')));
        }
        if names.is_empty() {
            return Self::EVERYTHING;
        }
        let of_one = |name: &str| match name {
            "pushes" | "push-latency" | "mailbox" => Self::NOTHING,
            "held" | "plain" | "registrations" => Self { server: true, stock: false },
            _ => Self::EVERYTHING,
        };
        names.into_iter().map(of_one).fold(Self::NOTHING, |all, one| Self {
            server: all.server || one.server,
            stock: all.stock || one.stock,
        })
    }
}

/// Returns only if the benchmark could not be started. It takes this process's place, so that a signal reaches it.
fn become_bench(arguments: &Arguments) -> BenchError {
    let prepared = match prepare(Needs::of(&arguments.rest)) {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let path = prepared.folder.join("bench");
    let mut bench = process::program(&path);
    bench.args(&arguments.rest).env(BIN_DIR_VAR, prepared.folder);
    if let Some(bitcoind) = prepared.bitcoind {
        bench.env(EXE_VAR, bitcoind);
    }
    if let Some(stock_lsp) = prepared.stock_lsp {
        bench.env(STOCK_LSP_VAR, stock_lsp);
    }
    BenchError::Start { path, source: bench.exec() }
}

struct Prepared {
    bitcoind: Option<PathBuf>,
    /// With the programs that were built.
    folder: PathBuf,
    stock_lsp: Option<PathBuf>,
}

fn prepare(needs: Needs) -> Result<Prepared, BenchError> {
    let mut build = cargo();
    build.args(["build", "--release", "-p", "benches", "--bins"]);
    let mut bitcoind = None;
    if needs.server {
        bitcoind = Some(bitcoind::ensure(&mut print_progress)?);
        build.args(["-p", "lsp-server"]);
    }
    process::run(&mut build).map_err(BenchError::Build)?;
    let folder = target_dir().map_err(BenchError::TargetDir)?.join("release");
    let stock_lsp = if needs.stock { Some(build_stock()?) } else { None };
    Ok(Prepared { bitcoind, folder, stock_lsp })
}

fn build_stock() -> Result<PathBuf, BenchError> {
    let manifest = process::interop_manifest().ok_or(BenchError::NoInterop)?;
    // Said to both sides, whatever cargo's configuration says.
    let target = manifest.with_file_name("target");
    let mut build = cargo();
    build.args(["build", "--release", "--bin", "stock-lsp", "--manifest-path"]).arg(manifest);
    process::run(build.arg("--target-dir").arg(&target)).map_err(BenchError::BuildStock)?;
    Ok(target.join("release").join("stock-lsp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_built() {
        let needs = |line: &str| Needs::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(Needs::of(&[]), Needs::EVERYTHING);
        assert_eq!(needs("--quick"), Needs::EVERYTHING);
        assert_eq!(needs("--help"), Needs::NOTHING);
        assert_eq!(needs("--quick --only pushes,mailbox"), Needs::NOTHING);
        assert_eq!(needs("--only=pushes --only registrations"), Needs { server: true, stock: false });
        assert_eq!(needs("--only held,stock"), Needs::EVERYTHING);
        assert_eq!(needs("--only something-new"), Needs::EVERYTHING);
    }
}
