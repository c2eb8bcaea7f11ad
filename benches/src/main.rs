//! `cargo xtask bench`: what a payment costs the LSP, beside a stock ldk-node in the same run.

mod lsp;
mod payment;
mod phone;
mod report;
mod shim;
mod side;
mod stopwatch;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::tests::bitcoind::Bitcoind;
use ::tests::failure::Failure;
use ::tests::folder::Folder;
use clap::Parser;

use lsp::Lsp;
use report::{Level, ReleaseFigures, Report};
use shim::Shim;
use side::{CHANNELS_PER_SIDE, Kind, Run, Side};

/// A folder in memory, where there is one.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Payments per run: this many for each that is under way at once, within the bounds below.
const PAYMENTS_PER_LANE: usize = 5;
const PAYMENTS_MIN: usize = 20;
const PAYMENTS_MIN_QUICK: usize = 10;
const RELEASES: usize = 50;
const RELEASES_QUICK: usize = 10;
/// An LSP's own count of commits and the fsyncs differ by less than this share, and this number: a checkpoint costs two fsyncs
/// more, a commit that changes nothing costs none.
const COUNTS_DIFFER_SHARE_MAX: f64 = 0.1;
const COUNTS_DIFFER_MAX: f64 = 20.0;

/// Payments through lsp-server, and the same number through a stock ldk-node, in turns, with real nodes on both ends and a
/// real bitcoind.
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", version)]
struct Arguments {
    /// One short round at 1 and 64 payments at once.
    #[arg(long)]
    quick: bool,

    /// Payments at once, one level after the other.
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    concurrent: Vec<usize>,

    /// How often everything is measured, in turns.
    #[arg(long, default_value_t = 2)]
    rounds: usize,

    /// Payments in each run, in place of a number that fits the level.
    #[arg(long)]
    payments: Option<usize>,

    /// What an fsync costs: `1ms`, `250us`, or `0` for what it costs by itself.
    #[arg(long, default_value = "1ms", value_parser = parse_cost)]
    fsync_cost: Duration,

    /// Where the LSPs' data lies; memory by default, where there is a /dev/shm.
    #[arg(long, value_name = "FOLDER")]
    storage: Option<PathBuf>,

    /// What to measure: `held`, `plain` (both ours) and `stock`.
    #[arg(long, value_delimiter = ',', default_value = "held,plain,stock")]
    only: Vec<Subject>,

    /// Leave out the latency of releases.
    #[arg(long)]
    no_release: bool,

    /// Write the figures here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The stock LSP's program, which `cargo xtask bench` builds.
    #[arg(long, env = "LIGHTNING_ROD_STOCK_LSP", value_name = "PROGRAM")]
    stock_lsp: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// Payments that lsp-server holds, releases and settles.
    Held,
    /// Payments that lsp-server forwards at once.
    Plain,
    /// Payments that ldk-node forwards.
    Stock,
}

fn parse_cost(text: &str) -> Result<Duration, String> {
    let (number, nanos) = match text {
        "0" => return Ok(Duration::ZERO),
        text => [("us", 1_000), ("ms", 1_000_000)]
            .into_iter()
            .find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, nanos)))
            .ok_or("it is a number of ms or us, as in 1ms")?,
    };
    let number: u64 = number.parse().map_err(|error| format!("{error}"))?;
    Ok(Duration::from_nanos(number * nanos))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments)) {
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
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut |text| eprintln!("{text}")).await?;
    let shim = Shim::build(folder.path(), arguments.fsync_cost)?;
    let measured = measure(arguments, folder.path(), &bitcoind, &shim).await;
    let (levels, release) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            for log in ["ours.log", "stock.log"] {
                let text = std::fs::read_to_string(folder.path().join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("--- the end of {log} ---\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
            return Err(error);
        }
    };
    let report = Report {
        machine: usage::machine(),
        storage: storage.to_owned(),
        fsync_cost_ms: arguments.fsync_cost.as_secs_f64() * 1e3,
        channels_per_side: CHANNELS_PER_SIDE,
        amount_msat: payment::AMOUNT.0,
        rounds: arguments.rounds(),
        levels,
        release,
    };
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        let failure = |source| Failure::File { path: path.clone(), source };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::wrong(format!("the figures cannot be written: {error}")))?;
        std::fs::write(path, text + "\n").map_err(failure)?;
    }
    bitcoind.stop().await
}

impl Arguments {
    fn asks_for(&self, subject: Subject) -> bool {
        self.only.contains(&subject)
    }

    fn levels(&self) -> Vec<usize> {
        match (&self.concurrent[..], self.quick) {
            ([], true) => vec![1, 64],
            ([], false) => vec![1, 16, 64, 200],
            (levels, _) => levels.to_vec(),
        }
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    fn payments(&self, concurrent: usize) -> usize {
        self.payments.unwrap_or_else(|| {
            let (per_lane, min) =
                if self.quick { (2, PAYMENTS_MIN_QUICK) } else { (PAYMENTS_PER_LANE, PAYMENTS_MIN) };
            (concurrent * per_lane).max(min)
        })
    }
}

/// What one level's runs brought, ours held, ours plain, and the stock LSP's.
#[derive(Default)]
struct Runs {
    held: Vec<Run>,
    plain: Vec<Run>,
    stock: Vec<Run>,
}

async fn measure(
    arguments: &Arguments,
    folder: &Path,
    bitcoind: &Bitcoind,
    shim: &Shim,
) -> Result<(Vec<Level>, Option<ReleaseFigures>), Failure> {
    let ours = if arguments.asks_for(Subject::Held) || arguments.asks_for(Subject::Plain) {
        let lsp = Lsp::ours(folder, bitcoind, shim).await?;
        eprintln!("lsp-server is process {}", lsp.pid());
        Some(Side::new("ours", lsp, folder, bitcoind).await?)
    } else {
        None
    };
    let stock = if arguments.asks_for(Subject::Stock) {
        let program = arguments.stock_lsp.as_deref();
        let program = program.ok_or_else(|| Failure::wrong("the stock LSP's program is not named"))?;
        let lsp = Lsp::stock(program, folder, bitcoind, shim).await?;
        eprintln!("stock-lsp is process {}", lsp.pid());
        Some(Side::new("stock", lsp, folder, bitcoind).await?)
    } else {
        None
    };
    let levels = arguments.levels();
    let mut all: Vec<Runs> = levels.iter().map(|_| Runs::default()).collect();
    for round in 1..=arguments.rounds() {
        for (concurrent, runs) in levels.iter().copied().zip(&mut all) {
            let payments = arguments.payments(concurrent);
            if let Some(side) = &ours
                && arguments.asks_for(Subject::Held)
            {
                runs.held.push(told(side, Kind::Held, concurrent, payments, round).await?);
            }
            if let Some(side) = &stock {
                runs.stock.push(told(side, Kind::Plain, concurrent, payments, round).await?);
            }
            if let Some(side) = &ours
                && arguments.asks_for(Subject::Plain)
            {
                runs.plain.push(told(side, Kind::Plain, concurrent, payments, round).await?);
            }
        }
    }
    let release = match &ours {
        Some(side) if !arguments.no_release => {
            let count = if arguments.quick { RELEASES_QUICK } else { RELEASES };
            let releases = stopwatch::releases(side, folder, bitcoind, count).await?;
            Some(ReleaseFigures::new(&releases, arguments.fsync_cost))
        }
        _ => None,
    };
    for side in ours.into_iter().chain(stock) {
        side.finish().await?;
    }
    let level =
        |(concurrent, runs): (usize, Runs)| Level::new(concurrent, &runs.held, &runs.plain, &runs.stock);
    Ok((levels.into_iter().zip(all).map(level).collect(), release))
}

/// Runs, and says how it went.
async fn told(
    side: &Side,
    kind: Kind,
    concurrent: usize,
    payments: usize,
    round: usize,
) -> Result<Run, Failure> {
    let run = side.run(kind, concurrent, payments).await?;
    let of = if run.usage.commits.is_some() { "ours" } else { "stock" };
    eprintln!(
        "round {round}, {of}, {kind:?}, {concurrent} at once: {payments} payments in {:.2} s, {} fsyncs",
        run.elapsed.as_secs_f64(),
        run.usage.durable.fsyncs
    );
    check_counts(&run)?;
    Ok(run)
}

/// The LSP's own count against the shim's.
fn check_counts(run: &Run) -> Result<(), Failure> {
    let Some(commits) = run.usage.commits else { return Ok(()) };
    let fsyncs = run.usage.durable.fsyncs;
    let most = commits as f64 * COUNTS_DIFFER_SHARE_MAX + COUNTS_DIFFER_MAX;
    if commits.abs_diff(fsyncs) as f64 <= most {
        Ok(())
    } else {
        Err(Failure::wrong(format!("lsp-server counts {commits} commits, the shim {fsyncs} fsyncs")))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_cost_has_a_unit() {
        assert_eq!(parse_cost("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_cost("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_cost("0"), Ok(Duration::ZERO));
        for wrong in ["", "1", "ms", "-1ms", "1s"] {
            assert!(parse_cost(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quick_is_quick_unless_told_otherwise() {
        let parse = |line: &str| Arguments::parse_from(line.split(' '));
        assert_eq!(parse("bench").levels(), [1, 16, 64, 200]);
        assert_eq!(parse("bench --quick").levels(), [1, 64]);
        assert_eq!(parse("bench --quick --concurrent 3,4").levels(), [3, 4]);
        assert_eq!(parse("bench --quick --rounds 9").rounds(), 1);
        assert_eq!(parse("bench").payments(200), 1_000);
        assert_eq!(parse("bench --payments 7").payments(200), 7);
    }
}
