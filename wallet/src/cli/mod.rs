//! The command line. Each command is a process of its own: it opens the wallet, does its work, takes a payment that is on its way,
//! and goes offline again.

mod commands;
mod config;
mod devices;
mod error;
mod init;
mod output;
mod webhooks;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use node::Seed;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tracing_subscriber::EnvFilter;
use wallet::{Step, SystemClock, Wallet};

use error::CliError;
use output::Output;

/// After a graceful stop nothing of worth runs any more; what still does is not waited for longer.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a command that has done its work stays for a payment that this wallet has said yes to meanwhile.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A Lightning wallet that need not be online to pay and to be paid.
#[derive(Debug, Parser)]
#[command(name = "wallet", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    /// The wallet's directory: config, seed, database.
    #[arg(long, global = true, env = "WALLET_DATA_DIR", default_value_os_t = default_data_dir())]
    data_dir: PathBuf,

    /// Answer in JSON, one object per line, for scripts.
    #[arg(long, global = true)]
    json: bool,

    /// As a payee, build the way of the answer from the payer's node ids, if it gave them.
    #[arg(long, global = true)]
    build_unblock_path: bool,

    /// As a payer, tell the payee this wallet's node id and its LSP's.
    #[arg(long, global = true)]
    show_payer: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    #[command(flatten)]
    Work(commands::Command),
}

fn default_data_dir() -> PathBuf {
    std::env::home_dir().unwrap_or_default().join(".lightning-rod-wallet")
}

/// 0: done. 1: it failed. 2: the arguments or the config are wrong. 70: the database failed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // One TLS provider for the process. It fails only if there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    start_log(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            error.exit_code()
        }
    }
}

/// To stderr: stdout is for answers. `WALLET_LOG` says how much.
fn start_log(json: bool) {
    let default = if json { "info,ldk=warn" } else { "error" };
    let filter = EnvFilter::try_from_env("WALLET_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(ansi).init();
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let output = Output { json: cli.json };
    let command = match cli.command {
        Command::Init(arguments) => return init::run(&cli.data_dir, &arguments, output),
        Command::Work(command) => command,
    };
    let mut config = config::load(&cli.data_dir)?;
    config.build_unblock_path |= cli.build_unblock_path;
    config.show_payer |= cli.show_payer;
    let seed = Seed::load(&config::seed_path(&cli.data_dir))?;
    let mut stop = StopSignals::new().map_err(CliError::Signal)?;
    let wallet = tokio::select! {
        wallet = Wallet::open(config, seed, Arc::new(SystemClock)) => wallet?,
        () = stop.next() => return Ok(()),
    };
    let (mut steps, shows_steps) = (wallet.steps(), command.shows_steps());
    let outcome = work(&wallet, command, output, &mut stop, &mut steps).await;
    wallet.close().await;
    // Told since.
    while let Ok(step) = steps.try_recv() {
        if shows_steps {
            output.step(&step);
        }
    }
    outcome
}

/// The signals that ask the wallet to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs the command and prints its steps as they come, until it is done or a signal asks to stop.
async fn work(
    wallet: &Wallet,
    command: commands::Command,
    output: Output,
    stop: &mut StopSignals,
    steps: &mut broadcast::Receiver<Step>,
) -> Result<(), CliError> {
    if command.needs_network() {
        wallet.start().await?;
    }
    let receives = command.receives();
    let shows_steps = command.shows_steps();
    let show = |step: &Step| {
        if shows_steps {
            output.step(step);
        }
    };
    let answer = {
        let mut work = std::pin::pin!(command.run(wallet));
        loop {
            tokio::select! {
                biased;
                step = steps.recv() => if let Ok(step) = step { show(&step) },
                failure = wallet.failed() => return Err(CliError::DatabaseFailed(failure)),
                answer = &mut work => break answer,
                () = stop.next() => return Ok(()),
            }
        }
    };
    while let Ok(step) = steps.try_recv() {
        show(&step);
    }
    if let Ok(outcome) = &answer {
        output.outcome(outcome);
    }
    if receives {
        let mut receiving = std::pin::pin!(wallet.receive(RECEIVE_TIMEOUT));
        loop {
            tokio::select! {
                biased;
                step = steps.recv() => if let Ok(step) = step { show(&step) },
                failure = wallet.failed() => return Err(CliError::DatabaseFailed(failure)),
                () = &mut receiving => break,
                () = stop.next() => break,
            }
        }
    }
    answer.map(drop)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_arguments_may_stand_anywhere() {
        let cli = Cli::try_parse_from(["wallet", "balance", "--json", "--data-dir", "/d"]).unwrap();
        assert!(cli.json);
        assert_eq!(cli.data_dir, PathBuf::from("/d"));
    }
}
