//! Many seeds, over threads, with what came of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Trace, simulate};

/// A world that went wrong.
#[derive(Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// What is wrong with it.
    pub violations: Vec<String>,
    /// All that happened.
    pub lines: Vec<String>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Worlds that were run.
    pub seeds: u64,
    /// How often each kind of thing happened in them.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first that went wrong.
    pub failed: Vec<Failed>,
    /// How long it took.
    pub took: Duration,
}

/// The folder that databases of simulations lie in by default: memory where there is a place for it.
pub fn memory_folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

/// Runs the world of one seed, with its database in a folder of its own under `folder`. A panic counts as a violation.
///
/// # Errors
/// When no folder can be made.
pub fn one(seed: u64, folder: &Path) -> std::io::Result<Trace> {
    let place = tempfile::Builder::new().prefix("simulation-").tempdir_in(folder)?;
    let run = catch_unwind(AssertUnwindSafe(|| simulate(seed, place.path())));
    Ok(run.unwrap_or_else(|_| {
        let mut trace = Trace::default();
        trace.violation("it panicked".to_owned());
        trace
    }))
}

/// Runs `seeds` from `from` on, over so many threads, until one fails.
///
/// # Errors
/// When no folder can be made.
pub fn many(
    from: u64,
    seeds: u64,
    threads: usize,
    folder: &Path,
    progress: impl Fn(u64) + Sync,
) -> std::io::Result<Summary> {
    let started = Instant::now();
    let (next, done, stop) = (AtomicU64::new(from), AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(seeds) {
                break;
            }
            let trace = one(seed, folder)?;
            let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            summary.seeds += 1;
            for (what, count) in trace.counts() {
                *summary.counts.entry(what).or_default() += count;
            }
            if !trace.violations().is_empty() {
                stop.store(true, Ordering::Relaxed);
                let (violations, lines) = (trace.violations().to_vec(), trace.lines().to_vec());
                summary.failed.push(Failed { seed, violations, lines });
            }
            drop(summary);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Ok::<(), std::io::Error>(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), std::io::Error>(())
    })?;
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.took = started.elapsed();
    Ok(summary)
}

impl Failed {
    /// The world, and how to see it again.
    pub fn report(&self) -> String {
        format!(
            "{}\n\nseed {} went wrong: {}\nto see it alone: cargo xtask simulate --seed {}",
            self.lines.join("\n"),
            self.seed,
            self.violations.join("; "),
            self.seed
        )
    }
}
