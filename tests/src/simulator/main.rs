//! The simulator's program: `cargo xtask simulate`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use tests::simulate::{pinned, run};

/// Runs simulated worlds until one goes wrong.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this seed, with all that happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the databases lie.
    #[arg(long, value_enum, default_value_t = Store::Memory)]
    store: Store,
    /// Worlds at once; as many as there are processors if this is not said.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Store {
    /// SQLite files in a temporary folder.
    Sqlite,
    /// SQLite files in memory, where the system has a place for them.
    Memory,
}

/// A line of progress after so many worlds.
const PROGRESS_SEEDS: u64 = 1_000;

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let folder: PathBuf = match arguments.store {
        Store::Sqlite => std::env::temp_dir(),
        Store::Memory => run::memory_folder(),
    };
    if let Some(seed) = arguments.seed {
        let trace = run::one(seed, &folder)?;
        println!("{}", trace.lines().join("\n"));
        println!("seed {seed}: hash {:016x}, violations: {:?}", trace.hash(), trace.violations());
        return Ok(if trace.violations().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for (seed, found) in pinned::PINNED {
        let trace = run::one(*seed, &folder)?;
        if !trace.violations().is_empty() {
            println!("pinned seed {seed} ({found}) goes wrong again: {:?}", trace.violations());
            return Ok(ExitCode::FAILURE);
        }
    }
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or_else(processors);
    let started = Instant::now();
    let summary = run::many(arguments.from, arguments.seeds, threads, &folder, |done| {
        if done % PROGRESS_SEEDS == 0 {
            let rate = done as f64 / started.elapsed().as_secs_f64();
            println!("{done} worlds, {rate:.0} per second");
        }
    })?;
    for (what, count) in &summary.counts {
        println!("{count:>12}  {what}");
    }
    let rate = summary.seeds as f64 / summary.took.as_secs_f64();
    println!("{} worlds in {:.0?}, {rate:.0} per second", summary.seeds, summary.took);
    for failed in &summary.failed {
        println!("{}", failed.report());
    }
    Ok(if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
