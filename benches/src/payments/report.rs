//! What was measured of payments, as a table and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::figures::{Quantiles, ms, quantiles};

use super::side::Run;
use super::stopwatch::Release;

const KIB: f64 = 1024.0;

/// All levels.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) channels_per_side: usize,
    pub(crate) amount_msat: u64,
    pub(crate) levels: Vec<Level>,
    pub(crate) release: Option<ReleaseFigures>,
}

/// All runs at one number of payments at once.
#[derive(Debug, Serialize)]
pub(crate) struct Level {
    pub(crate) concurrent: usize,
    pub(crate) held: Option<Figures>,
    pub(crate) plain: Option<Figures>,
    pub(crate) stock: Option<Figures>,
    /// Held payments of ours beside plain ones of the stock LSP.
    pub(crate) held_to_stock: Option<Ratios>,
    /// Plain payments of both.
    pub(crate) plain_to_stock: Option<Ratios>,
}

/// Ours divided by the stock LSP's: more than 1 is better for the throughput, less for the rest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratios {
    pub(crate) throughput: f64,
    pub(crate) fsyncs: f64,
    pub(crate) bytes: f64,
    pub(crate) cpu: f64,
}

/// Per payment at the LSP, but for the throughput and the phones' waits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) payments: usize,
    pub(crate) failed_attempts: usize,
    pub(crate) payments_per_second: f64,
    pub(crate) fsyncs: f64,
    pub(crate) commits: Option<f64>,
    pub(crate) durable_kib: f64,
    pub(crate) written_kib: f64,
    pub(crate) cpu_ms: f64,
    /// CPUs that the LSP kept busy.
    pub(crate) cpus: f64,
    /// How much of the time an fsync was under way.
    pub(crate) fsync_share: f64,
    pub(crate) hold_ms: Option<Quantiles>,
    pub(crate) release_ms: Quantiles,
    pub(crate) settle_ms: Quantiles,
}

/// From the unblock at the LSP to the commitment on its way, one at a time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReleaseFigures {
    pub(crate) releases: usize,
    pub(crate) latency_ms: Quantiles,
    /// The same in units of one fsync's cost, if it has one.
    pub(crate) latency_fsyncs: Option<Quantiles>,
    /// Fsyncs that ended meanwhile.
    pub(crate) fsyncs: Quantiles,
}

impl Figures {
    /// Several runs as one; `None` of none.
    pub(crate) fn of(runs: &[Run], held: bool) -> Option<Self> {
        let payments: usize = runs.iter().map(|run| run.payments).sum();
        let usage = runs.iter().map(|run| run.usage).reduce(|one, two| one.and(two))?;
        let elapsed: Duration = runs.iter().map(|run| run.elapsed).sum();
        let each = |total: f64| total / payments as f64;
        let times = |pick: fn(&super::payment::Times) -> Duration| {
            quantiles(runs.iter().flat_map(|run| &run.times).map(|times| ms(pick(times))).collect())
        };
        Some(Self {
            payments,
            failed_attempts: runs.iter().map(|run| run.failed).sum(),
            payments_per_second: payments as f64 / elapsed.as_secs_f64(),
            fsyncs: each(usage.durable.fsyncs as f64),
            commits: usage.commits.map(|commits| each(commits as f64)),
            durable_kib: each(usage.durable.bytes as f64 / KIB),
            written_kib: each(usage.written_bytes as f64 / KIB),
            cpu_ms: each(ms(usage.cpu)),
            cpus: usage.cpu.as_secs_f64() / elapsed.as_secs_f64(),
            fsync_share: usage.durable.nanos as f64 / 1e9 / elapsed.as_secs_f64(),
            hold_ms: held.then(|| times(|times| times.hold)),
            release_ms: times(|times| times.release),
            settle_ms: times(|times| times.settle),
        })
    }
}

impl Level {
    pub(crate) fn new(concurrent: usize, held: &[Run], plain: &[Run], stock: &[Run]) -> Self {
        let (held, plain, stock) =
            (Figures::of(held, true), Figures::of(plain, false), Figures::of(stock, false));
        let ratios = |ours: &Option<Figures>| {
            let (ours, stock) = (ours.as_ref()?, stock.as_ref()?);
            Some(Ratios {
                throughput: ours.payments_per_second / stock.payments_per_second,
                fsyncs: ours.fsyncs / stock.fsyncs,
                bytes: ours.durable_kib / stock.durable_kib,
                cpu: ours.cpu_ms / stock.cpu_ms,
            })
        };
        let (held_to_stock, plain_to_stock) = (ratios(&held), ratios(&plain));
        Self { concurrent, held, plain, stock, held_to_stock, plain_to_stock }
    }
}

impl ReleaseFigures {
    pub(crate) fn new(releases: &[Release], fsync_cost: Duration) -> Self {
        let latencies: Vec<f64> = releases.iter().map(|release| ms(release.latency)).collect();
        let in_fsyncs = |latency: &f64| latency / ms(fsync_cost);
        Self {
            releases: releases.len(),
            latency_fsyncs: (!fsync_cost.is_zero())
                .then(|| quantiles(latencies.iter().map(in_fsyncs).collect())),
            latency_ms: quantiles(latencies),
            fsyncs: quantiles(releases.iter().map(|release| release.fsyncs as f64).collect()),
        }
    }
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "payments of {} msat, {} channels per side\n\n",
            self.amount_msat, self.channels_per_side
        );
        text.push_str(
            "at once  LSP           payments/s  fsyncs  commits  KiB durable  CPU ms  CPUs  hold ms  release ms  settle ms  again\n",
        );
        for level in &self.levels {
            for (name, figures) in
                [("ours, held", &level.held), ("ours, plain", &level.plain), ("stock, plain", &level.stock)]
            {
                let Some(figures) = figures else { continue };
                let hold =
                    figures.hold_ms.map_or_else(|| "-".to_owned(), |hold| format!("{:.0}", hold.median));
                let commits =
                    figures.commits.map_or_else(|| "-".to_owned(), |commits| format!("{commits:.2}"));
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{:>7}  {name:<12}  {:>10.1}  {:>6.2}  {commits:>7}  {:>11.1}  {:>6.2}  {:>4.2}  {hold:>7}  {:>10.0}  {:>9.0}  {:>5}",
                    level.concurrent,
                    figures.payments_per_second,
                    figures.fsyncs,
                    figures.durable_kib,
                    figures.cpu_ms,
                    figures.cpus,
                    figures.release_ms.median,
                    figures.settle_ms.median,
                    figures.failed_attempts,
                );
            }
            for (name, ratios) in [("held", level.held_to_stock), ("plain", level.plain_to_stock)] {
                let Some(ratios) = ratios else { continue };
                let _ = writeln!(
                    text,
                    "         {name} / stock: throughput {:.2}, fsyncs {:.3}, bytes {:.3}, CPU {:.2}",
                    ratios.throughput, ratios.fsyncs, ratios.bytes, ratios.cpu
                );
            }
        }
        if let Some(release) = &self.release {
            let in_fsyncs = release.latency_fsyncs.map_or_else(String::new, |quantiles| {
                format!(" ({:.2} and {:.2} fsyncs' time)", quantiles.median, quantiles.p99)
            });
            let _ = writeln!(
                text,
                "\nunblock in to commitment_signed out, {} times: median {:.2} ms, p99 {:.2} ms{in_fsyncs}; fsyncs meanwhile: median {:.0}, p99 {:.0}",
                release.releases,
                release.latency_ms.median,
                release.latency_ms.p99,
                release.fsyncs.median,
                release.fsyncs.p99,
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let run =
            |payments, seconds| Run { payments, elapsed: Duration::from_secs(seconds), ..Run::default() };
        assert!(Figures::of(&[], false).is_none());
        let figures = Figures::of(&[run(10, 1), run(20, 2)], false).unwrap();
        assert_eq!((figures.payments, figures.payments_per_second), (30, 10.0));
    }
}
