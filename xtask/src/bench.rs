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

/// What a payment costs the LSP, beside a stock ldk-node in the same run: payments and fsyncs, bytes, CPU.
///
/// Gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's cache), builds lsp-server, the
/// benchmark, and an LSP on stock ldk-node with optimizations, and starts it. Needs a C compiler. docs/benchmarks.md says what the
/// figures mean; nothing else should run on the machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed to the benchmark: `--quick` for a run of a minute, `--help` for the rest.
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

/// Returns only if the benchmark could not be started. It takes this process's place, so that a signal reaches it.
fn become_bench(arguments: &Arguments) -> BenchError {
    let prepared = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let path = prepared.folder.join("bench");
    let mut bench = process::program(&path);
    bench.args(&arguments.rest).env(EXE_VAR, prepared.bitcoind).env(BIN_DIR_VAR, prepared.folder);
    let source = bench.env(STOCK_LSP_VAR, prepared.stock_lsp).exec();
    BenchError::Start { path, source }
}

struct Prepared {
    bitcoind: PathBuf,
    /// With the programs that were built.
    folder: PathBuf,
    stock_lsp: PathBuf,
}

fn prepare() -> Result<Prepared, BenchError> {
    let bitcoind = bitcoind::ensure(&mut print_progress)?;
    process::run(cargo().args(["build", "--release", "-p", "lsp-server", "-p", "benches", "--bins"]))
        .map_err(BenchError::Build)?;
    let manifest = process::interop_manifest().ok_or(BenchError::NoInterop)?;
    let target = target_dir().map_err(BenchError::TargetDir)?;
    // Said to both sides, whatever cargo's configuration says.
    let stock_target = manifest.with_file_name("target");
    let mut build = cargo();
    build.args(["build", "--release", "--bin", "stock-lsp", "--manifest-path"]).arg(manifest);
    process::run(build.arg("--target-dir").arg(&stock_target)).map_err(BenchError::BuildStock)?;
    Ok(Prepared {
        bitcoind,
        folder: target.join("release"),
        stock_lsp: stock_target.join("release").join("stock-lsp"),
    })
}
