//! Durable pushes per second, end to end: a wake is opened and committed, claimed and committed, sent over TLS and HTTP/2 to
//! strict fakes of Apple's and Google's services, and its verdict is committed. Through the server's dispatcher, and, in turns,
//! through a loop with one commit for each push.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::tests::failure::Failure;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::arguments::Arguments;
use crate::outbox::{Outbox, wrong};
use crate::providers::{Endpoints, Providers};
use crate::shim::Shim;
use crate::usage::Usage;
use crate::worker::{self, progress};

const KIB: f64 = 1024.0;
/// Whoever opens wakes waits for its commit; so many do so at once.
const OPENERS: usize = 256;
/// One push of the loop for so many of the dispatcher's.
const LOOP_SHARE: usize = 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    folder: PathBuf,
    endpoints: Endpoints,
    rounds: usize,
    pushes: usize,
}

/// Both ways, all rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) dispatcher: Figures,
    pub(crate) one_commit_per_push: Figures,
    /// The dispatcher's throughput divided by the loop's.
    pub(crate) throughput_ratio: f64,
    pub(crate) cpu_ratio: f64,
}

/// Per push at the worker, but for the throughput.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) pushes: usize,
    pub(crate) pushes_per_second: f64,
    /// Pushes that went out again, since the first rows were due again before the last ones were pushed.
    pub(crate) repeated: usize,
    pub(crate) commits: f64,
    pub(crate) fsyncs: f64,
    pub(crate) durable_kib: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) cpus: f64,
}

struct Run {
    pushes: usize,
    recorded: usize,
    elapsed: Duration,
    usage: Usage,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let sum = |pick: fn(&Run) -> usize| runs.iter().map(pick).sum::<usize>();
        let (pushes, recorded) = (sum(|run| run.pushes), sum(|run| run.recorded));
        let seconds = runs.iter().map(|run| run.elapsed).sum::<Duration>().as_secs_f64();
        let usage = runs.iter().map(|run| run.usage).reduce(Usage::and).unwrap_or_default();
        let each = |total: f64| total / pushes as f64;
        Self {
            pushes,
            pushes_per_second: pushes as f64 / seconds,
            repeated: recorded.saturating_sub(pushes),
            commits: each(usage.commits.unwrap_or_default() as f64),
            fsyncs: each(usage.durable.fsyncs as f64),
            durable_kib: each(usage.durable.bytes as f64 / KIB),
            cpu_ms: each(usage.cpu.as_secs_f64() * 1e3),
            cpus: usage.cpu.as_secs_f64() / seconds,
        }
    }
}

/// Starts the fakes and the worker.
pub(crate) async fn measure(arguments: &Arguments, folder: &Path, shim: &Shim) -> Result<Report, Failure> {
    let folder = own_folder(folder, "pushes")?;
    let (rounds, pushes) = (arguments.rounds(), arguments.pushes());
    let providers = Providers::start(&folder, devices(rounds, pushes)).await?;
    let job = Job { folder: folder.clone(), endpoints: providers.endpoints.clone(), rounds, pushes };
    let report: Report = worker::employ("pushes", &worker::Job::Pushes(job), &folder, shim).await?;
    let recorded = |figures: &Figures| figures.pushes + figures.repeated;
    let (recorded, taken) =
        (recorded(&report.dispatcher) + recorded(&report.one_commit_per_push), providers.taken());
    if recorded > taken {
        let text = format!("the database has {recorded} pushes that were accepted, the fakes took {taken}");
        return Err(Failure::wrong(text));
    }
    Ok(report)
}

/// A folder for one worker's files.
pub(crate) fn own_folder(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = parent.join(name);
    std::fs::create_dir_all(&path).map_err(|source| Failure::File { path: path.clone(), source })?;
    Ok(path)
}

fn in_loop(pushes: usize) -> usize {
    pushes.div_ceil(LOOP_SHARE)
}

/// Every push is to a phone of its own: no cooldown and no budget is in its way.
fn devices(rounds: usize, pushes: usize) -> usize {
    rounds * (pushes + in_loop(pushes)) + WARM_UP
}

/// Before the first round: connections are made, and the access token is fetched.
const WARM_UP: usize = 64;

/// In the worker's process.
pub(crate) async fn work(job: &Job) -> Result<Report, Failure> {
    let outbox = Outbox::open(&job.folder, &job.endpoints, devices(job.rounds, job.pushes)).await?;
    progress(format!("{} phones are registered", outbox.devices.len()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut next = 0;
    let mut take = |count| {
        let range = next..next + count;
        next += count;
        range
    };
    dispatched(&outbox, take(WARM_UP)).await?;
    for round in 1..=job.rounds {
        let run = dispatched(&outbox, take(job.pushes)).await?;
        tell(round, "the dispatcher", &run);
        ours.push(run);
        let run = looped(&outbox, take(in_loop(job.pushes))).await?;
        tell(round, "one commit for each", &run);
        theirs.push(run);
    }
    outbox.database.close().await;
    let (dispatcher, one_commit_per_push) = (Figures::of(&ours), Figures::of(&theirs));
    Ok(Report {
        throughput_ratio: dispatcher.pushes_per_second / one_commit_per_push.pushes_per_second,
        cpu_ratio: dispatcher.cpu_ms / one_commit_per_push.cpu_ms,
        dispatcher,
        one_commit_per_push,
    })
}

fn tell(round: usize, who: &str, run: &Run) {
    progress(format!(
        "round {round}, {who}: {} pushes in {:.2} s, {} fsyncs",
        run.pushes,
        run.elapsed.as_secs_f64(),
        run.usage.durable.fsyncs
    ));
}

async fn dispatched(outbox: &Outbox, numbers: std::ops::Range<usize>) -> Result<Run, Failure> {
    let dispatcher = tokio::spawn(outbox.waker.clone().run());
    let before = Usage::of_this_process(&outbox.database)?;
    let started = Instant::now();
    futures::stream::iter(numbers.clone())
        .map(|number| outbox.wake(number))
        .buffer_unordered(OPENERS)
        .try_for_each(async |_| Ok(()))
        .await
        .map_err(|error| wrong(&error))?;
    outbox.pushed(numbers.end).await?;
    let (elapsed, usage) = (started.elapsed(), Usage::of_this_process(&outbox.database)?.since(before));
    dispatcher.abort();
    let recorded = outbox.phones_come(numbers.clone()).await?;
    Ok(Run { pushes: numbers.len(), recorded, elapsed, usage })
}

async fn looped(outbox: &Outbox, numbers: std::ops::Range<usize>) -> Result<Run, Failure> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for number in numbers.clone() {
        // The receiver is still here.
        let _ = sender.send(number);
    }
    drop(sender);
    let before = Usage::of_this_process(&outbox.database)?;
    let started = Instant::now();
    outbox.one_commit_per_push(receiver).await?;
    let (elapsed, usage) = (started.elapsed(), Usage::of_this_process(&outbox.database)?.since(before));
    let recorded = outbox.phones_come(numbers.clone()).await?;
    Ok(Run { pushes: numbers.len(), recorded, elapsed, usage })
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let line = |name: &str, figures: &Figures| {
            format!(
                "{name:<22}  {:>8.0}  {:>7.3}  {:>6.3}  {:>11.2}  {:>6.3}  {:>4.2}  {:>5}\n",
                figures.pushes_per_second,
                figures.commits,
                figures.fsyncs,
                figures.durable_kib,
                figures.cpu_ms,
                figures.cpus,
                figures.repeated,
            )
        };
        format!(
            "durable pushes, {} and {}\n\n\
             {:<22}  pushes/s  commits  fsyncs  KiB durable  CPU ms  CPUs  again\n{}{}\
             dispatcher / loop: throughput {:.2}, CPU {:.2}\n",
            self.dispatcher.pushes,
            self.one_commit_per_push.pushes,
            "",
            line("dispatcher", &self.dispatcher),
            line("one commit per push", &self.one_commit_per_push),
            self.throughput_ratio,
            self.cpu_ratio,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_phones_of_its_own() {
        assert_eq!(devices(2, 100), 2 * 110 + WARM_UP);
        assert_eq!(in_loop(1), 1);
    }
}
