//! `cargo xtask bench`: what lightning-rod costs and how fast it is, every figure beside another of the same run.

mod arguments;
mod figures;
mod lsp;
mod mailbox;
mod outbox;
mod payments;
mod providers;
mod push_latency;
mod pushes;
mod registrations;
mod report;
mod shim;
mod usage;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use ::tests::bitcoind::Bitcoind;
use ::tests::failure::Failure;
use ::tests::folder::Folder;
use clap::Parser;

use arguments::{Arguments, Name};
use report::Report;
use shim::Shim;

/// As in `lsp-server`, whose parts are measured in processes of this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A folder in memory, where there is one.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Of a log, when something went wrong.
const LOG_LINES_SHOWN: usize = 30;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match &arguments.worker {
        Some(job) => runtime.block_on(worker::work(job)),
        None => runtime.block_on(run(&arguments)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", xtask::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let in_memory = Path::new(MEMORY_FOLDER);
    let (parent, storage) = match &arguments.storage {
        Some(parent) => (parent.clone(), "the folder that was asked for"),
        None if in_memory.is_dir() => (in_memory.to_owned(), "memory (tmpfs)"),
        None => (std::env::temp_dir(), "the system's temporary folder"),
    };
    let folder = Folder::new_in(&parent)?;
    let shim = Shim::build(folder.path(), arguments.fsync_cost)?;
    let mut report = Report {
        machine: usage::machine(),
        storage: storage.to_owned(),
        fsync_cost_ms: figures::ms(arguments.fsync_cost),
        rounds: arguments.rounds(),
        ..Report::default()
    };
    let measured = measure(arguments, folder.path(), &shim, &mut report).await;
    if measured.is_err() {
        show_logs(folder.path());
    }
    // What was measured before something failed is worth having, too.
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        let failure = |source| Failure::File { path: path.clone(), source };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::wrong(format!("the figures cannot be written: {error}")))?;
        std::fs::write(path, text + "\n").map_err(failure)?;
    }
    measured
}

/// One benchmark after the other: the shorter ones first.
async fn measure(
    arguments: &Arguments,
    folder: &Path,
    shim: &Shim,
    report: &mut Report,
) -> Result<(), Failure> {
    if arguments.asks_for(Name::Pushes) {
        report.pushes = Some(pushes::measure(arguments, folder, shim).await?);
    }
    if arguments.asks_for(Name::PushLatency) {
        report.push_latency = Some(push_latency::measure(arguments, folder, shim).await?);
    }
    if arguments.asks_for(Name::Registrations) || arguments.asks_for_payments() {
        let bitcoind =
            Bitcoind::start(&folder.join("bitcoind"), &mut |text| eprintln!("bitcoind: {text}")).await?;
        if arguments.asks_for(Name::Registrations) {
            report.registrations = Some(registrations::measure(arguments, folder, &bitcoind, shim).await?);
        }
        if arguments.asks_for_payments() {
            report.payments = Some(payments::measure(arguments, folder, &bitcoind, shim).await?);
        }
        bitcoind.stop().await?;
    }
    if arguments.asks_for(Name::Mailbox) {
        report.mailbox = Some(mailbox::measure(arguments, folder, shim).await?);
    }
    Ok(())
}

fn show_logs(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
            eprintln!("--- the end of {} ---\n{end}", path.file_name().unwrap_or_default().display());
        }
    }
}
