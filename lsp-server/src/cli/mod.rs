//! The command line.
//!
//! `init`, `run`, `doctor`, `backup` and `accept-database` work on the data directory; everything else asks the running server over its admin API.

mod amounts;
pub(crate) mod client;
mod commands;
mod error;
mod exit;
mod init;
mod output;
mod panic;
mod run;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub use error::CliError;

/// After a graceful stop nothing of worth runs any more; what still does is not waited for longer.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// An LSP for phones that are offline: it holds payments, keeps messages, and wakes.
#[derive(Debug, Parser)]
#[command(name = "lsp-server", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    /// The server's directory: config, seed, database, admin socket.
    #[arg(long, global = true, env = "LSP_DATA_DIR", default_value_os_t = default_data_dir())]
    data_dir: PathBuf,

    /// Answer in JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Run(run::Arguments),
    Doctor(commands::doctor::Arguments),
    Backup(commands::database::BackupArguments),
    AcceptDatabase(commands::database::AcceptArguments),
    /// The Lightning node and its channels.
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Payments that are held for their payee.
    #[command(subcommand)]
    Holds(commands::holds::HoldsCommand),
    /// Phones that can be woken.
    #[command(subcommand)]
    Devices(commands::devices::DevicesCommand),
    /// Messages that wait for phones that are offline.
    #[command(subcommand)]
    Mailbox(commands::mailbox::MailboxCommand),
    /// Reasons for phones to come online that are still open.
    #[command(subcommand)]
    Wakes(commands::wakes::WakesCommand),
    /// The newest notifications that other services asked for, and what came of them.
    Notifications,
}

fn default_data_dir() -> PathBuf {
    std::env::home_dir().unwrap_or_default().join(".lightning-rod")
}

/// The program: reads the arguments, does what they say, and answers with the exit code.
///
/// 0: done. 1: it failed. 2: the arguments or the config are wrong. 70: the database failed under the
/// running server. 78: the database is, or may be, an old copy.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // One TLS provider for the process: for push webhooks. It fails only if there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&CliError::Runtime(error)),
    };
    let outcome = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    match outcome {
        Ok(code) => code,
        Err(error) => exit::failed(&error),
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { data_dir, json, command } = cli;
    let output = output::Output::new(json);
    match command {
        Command::Init(arguments) => init::init(&data_dir, arguments, output)?,
        Command::Run(arguments) => return run::run(&data_dir, arguments).await,
        Command::Doctor(arguments) => return commands::doctor::run(&data_dir, arguments, output).await,
        Command::Backup(arguments) => commands::database::backup(&data_dir, arguments, output).await?,
        Command::AcceptDatabase(arguments) => {
            commands::database::accept(&data_dir, arguments, output).await?;
        }
        Command::Node(command) => commands::node::run(&data_dir, command, output).await?,
        Command::Holds(command) => commands::holds::run(&data_dir, command, output).await?,
        Command::Devices(command) => commands::devices::run(&data_dir, command, output).await?,
        Command::Mailbox(command) => commands::mailbox::run(&data_dir, command, output).await?,
        Command::Wakes(command) => commands::wakes::run(&data_dir, command, output).await?,
        Command::Notifications => commands::notifications::run(&data_dir, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}
