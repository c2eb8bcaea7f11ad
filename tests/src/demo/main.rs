//! `demo`: two phones that are never online together pay each other, on a regtest chain.
//!
//! Everything runs as a process of its own. What is printed about holds, amounts and channels is what those processes say; this
//! program only adds when a phone was switched on, and when a push reached it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tests::failure::Failure;
use tests::process::end_everything;
use tokio::signal::unix::{SignalKind, signal};

mod farewell;
mod phone;
mod story;
mod timeline;
mod verdict;
mod words;

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Two phones that are never online together pay each other, through two LSPs on a regtest chain.
#[derive(Parser)]
#[command(name = "cargo xtask demo", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: Options,
}

/// What the demo is to show.
#[derive(Args, Clone, Copy, Debug)]
struct Options {
    /// One LSP that serves both phones, or one for each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    lsps: u8,

    /// In how many parts to pay: so many channels has the payer, of which no fewer can carry the amount.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    parts: u8,

    /// Leave everything running in the end, and say how to talk to it.
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand)]
enum Command {
    /// One phone, as `--keep` leaves it running: starts its wallet when a push comes.
    #[command(hide = true)]
    Phone(PhoneOptions),
}

#[derive(Args)]
struct PhoneOptions {
    name: String,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    log: PathBuf,
}

// One thread: between two awaits nothing else happens, so that an interrupt finds every process that was started known to the
// guardian.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = tokio::select! {
        ended = run(cli) => ended,
        interrupted = interrupted() => interrupted.map(|()| {
            eprintln!("\nInterrupted. Ending every process ...");
            end_everything();
            eprintln!("Nothing is left running.");
            std::process::exit(INTERRUPTED.into());
        }),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nThe demo failed: {}", xtask::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Some(Command::Phone(options)) => phone::run(&options).await,
        None => story::run(cli.options).await,
    }
}

async fn interrupted() -> Result<(), Failure> {
    let on = |kind| signal(kind).map_err(|source| Failure::Start { name: "the demo".to_owned(), source });
    let (mut interrupt, mut terminate, mut hangup) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
