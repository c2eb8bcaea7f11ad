//! What a payment costs the LSP, beside a stock ldk-node in the same run.

mod payment;
mod phone;
mod report;
mod side;
mod stopwatch;

use std::path::Path;

use tests::bitcoind::Bitcoind;
use tests::failure::Failure;

use crate::arguments::{Arguments, Name};
use crate::lsp::Lsp;
use crate::shim::Shim;
pub(crate) use report::Report;
use report::{Level, ReleaseFigures};
use side::{CHANNELS_PER_SIDE, Kind, Run, Side};

/// An LSP's own count of commits and the fsyncs differ by less than this share, and this number: a checkpoint costs two fsyncs
/// more, a commit that changes nothing costs none.
const COUNTS_DIFFER_SHARE_MAX: f64 = 0.1;
const COUNTS_DIFFER_MAX: f64 = 20.0;

/// What one level's runs brought, ours held, ours plain, and the stock LSP's.
#[derive(Default)]
struct Runs {
    held: Vec<Run>,
    plain: Vec<Run>,
    stock: Vec<Run>,
}

/// Runs them all, in turns.
pub(crate) async fn measure(
    arguments: &Arguments,
    folder: &Path,
    bitcoind: &Bitcoind,
    shim: &Shim,
) -> Result<Report, Failure> {
    let ours = if arguments.asks_for(Name::Held) || arguments.asks_for(Name::Plain) {
        let lsp = Lsp::ours("ours", folder, bitcoind, shim).await?;
        eprintln!("payments: lsp-server is process {}", lsp.pid());
        Some(Side::new("ours", lsp, folder, bitcoind).await?)
    } else {
        None
    };
    let stock = if arguments.asks_for(Name::Stock) {
        let program = arguments.stock_lsp.as_deref();
        let program = program.ok_or_else(|| {
            Failure::wrong(
                "the stock LSP's program is not named: `cargo xtask bench` builds it, `--only` leaves it out",
            )
        })?;
        let lsp = Lsp::stock(program, folder, bitcoind, shim).await?;
        eprintln!("payments: stock-lsp is process {}", lsp.pid());
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
                && arguments.asks_for(Name::Held)
            {
                runs.held.push(told(side, Kind::Held, concurrent, payments, round).await?);
            }
            if let Some(side) = &stock {
                runs.stock.push(told(side, Kind::Plain, concurrent, payments, round).await?);
            }
            if let Some(side) = &ours
                && arguments.asks_for(Name::Plain)
            {
                runs.plain.push(told(side, Kind::Plain, concurrent, payments, round).await?);
            }
        }
    }
    let release = match &ours {
        Some(side) if !arguments.no_release => {
            let releases = stopwatch::releases(side, folder, bitcoind, arguments.releases()).await?;
            Some(ReleaseFigures::new(&releases, arguments.fsync_cost))
        }
        _ => None,
    };
    for side in ours.into_iter().chain(stock) {
        side.finish().await?;
    }
    let level =
        |(concurrent, runs): (usize, Runs)| Level::new(concurrent, &runs.held, &runs.plain, &runs.stock);
    Ok(Report {
        channels_per_side: CHANNELS_PER_SIDE,
        amount_msat: payment::AMOUNT.0,
        levels: levels.into_iter().zip(all).map(level).collect(),
        release,
    })
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
        "payments: round {round}, {of}, {kind:?}, {concurrent} at once: {payments} payments in {:.2} s, {} fsyncs",
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
