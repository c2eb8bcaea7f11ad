//! From the first row of a wake to the provider's yes, at 500 wakes a second, whatever is still under way: through the server's
//! dispatcher, and, in turns, through a loop with one commit for each push.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tests::failure::Failure;
use tokio::sync::mpsc;

use crate::arguments::Arguments;
use crate::figures::{Quantiles, ms, quantiles};
use crate::outbox::{Outbox, wrong};
use crate::providers::{Endpoints, Providers};
use crate::pushes::own_folder;
use crate::shim::Shim;
use crate::usage::Usage;
use crate::worker::{self, progress};

const PUSHES_PER_SECOND: u64 = 500;
const INTERVAL: Duration = Duration::from_micros(1_000_000 / PUSHES_PER_SECOND);
/// Turns of each way in one round.
const TURNS: usize = 3;
/// Before the first round: connections are made, and the access token is fetched.
const WARM_UP: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    folder: PathBuf,
    endpoints: Endpoints,
    turns: usize,
    pushes: usize,
    fsync_cost: Duration,
}

/// Both ways, all rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) pushes_per_second: u64,
    pub(crate) dispatcher: Figures,
    pub(crate) one_commit_per_push: Figures,
    /// The dispatcher's divided by the loop's.
    pub(crate) latency_ratio: Quantiles,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) pushes: usize,
    pub(crate) latency_ms: Quantiles,
    /// The same in units of one fsync's cost, if it has one.
    pub(crate) latency_fsyncs: Option<Quantiles>,
    pub(crate) fsyncs_per_push: f64,
}

#[derive(Default)]
struct Runs {
    latencies_ms: Vec<f64>,
    fsyncs: u64,
}

impl Figures {
    fn of(runs: Runs, fsync_cost: Duration) -> Self {
        let pushes = runs.latencies_ms.len();
        let latency_ms = quantiles(runs.latencies_ms);
        let in_fsyncs = |value: f64| value / ms(fsync_cost);
        Self {
            pushes,
            latency_ms,
            latency_fsyncs: (!fsync_cost.is_zero())
                .then(|| Quantiles { median: in_fsyncs(latency_ms.median), p99: in_fsyncs(latency_ms.p99) }),
            fsyncs_per_push: runs.fsyncs as f64 / pushes as f64,
        }
    }
}

/// Starts the fakes and the worker.
pub(crate) async fn measure(arguments: &Arguments, folder: &Path, shim: &Shim) -> Result<Report, Failure> {
    let folder = own_folder(folder, "push-latency")?;
    let turns = arguments.rounds() * TURNS;
    let pushes = usize::try_from(arguments.push_seconds * PUSHES_PER_SECOND)
        .map_err(|_| Failure::wrong("so many pushes cannot be counted"))?;
    let providers = Providers::start(&folder, devices(turns, pushes)).await?;
    let job = Job {
        folder: folder.clone(),
        endpoints: providers.endpoints.clone(),
        turns,
        pushes,
        fsync_cost: arguments.fsync_cost,
    };
    worker::employ("push-latency", &worker::Job::PushLatency(job), &folder, shim).await
}

fn devices(turns: usize, pushes: usize) -> usize {
    2 * turns * pushes + WARM_UP
}

/// In the worker's process.
pub(crate) async fn work(job: &Job) -> Result<Report, Failure> {
    let outbox = Outbox::open(&job.folder, &job.endpoints, devices(job.turns, job.pushes)).await?;
    progress(format!("{} phones are registered", outbox.devices.len()));
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    let mut next = 0;
    let mut take = |count| {
        let range = next..next + count;
        next += count;
        range
    };
    dispatched(&outbox, take(WARM_UP), &mut Runs::default()).await?;
    for turn in 1..=job.turns {
        for (who, runs) in [("the dispatcher", &mut ours), ("one commit for each", &mut theirs)] {
            let (numbers, seen) = (take(job.pushes), runs.latencies_ms.len());
            if who == "the dispatcher" {
                dispatched(&outbox, numbers, runs).await?;
            } else {
                looped(&outbox, numbers, runs).await?;
            }
            let now = quantiles(runs.latencies_ms[seen..].to_vec());
            progress(format!(
                "turn {turn}, {who}: {} pushes, median {:.1} ms, p99 {:.1} ms",
                job.pushes, now.median, now.p99
            ));
        }
    }
    outbox.database.close().await;
    let (dispatcher, one_commit_per_push) =
        (Figures::of(ours, job.fsync_cost), Figures::of(theirs, job.fsync_cost));
    let ratio =
        |pick: fn(Quantiles) -> f64| pick(dispatcher.latency_ms) / pick(one_commit_per_push.latency_ms);
    Ok(Report {
        pushes_per_second: PUSHES_PER_SECOND,
        latency_ratio: Quantiles { median: ratio(|at| at.median), p99: ratio(|at| at.p99) },
        dispatcher,
        one_commit_per_push,
    })
}

/// Calls `begin` for each number at its time, whether or not those before are done; answers the times, which count from when it
/// was due, so that a delay here is part of the latency.
async fn paced(numbers: std::ops::Range<usize>, mut begin: impl FnMut(usize)) -> Vec<Instant> {
    let started = tokio::time::Instant::now();
    let mut times = Vec::with_capacity(numbers.len());
    for (nth, number) in (0..).zip(numbers) {
        let due = started + INTERVAL * nth;
        tokio::time::sleep_until(due).await;
        begin(number);
        times.push(due.into_std());
    }
    times
}

async fn dispatched(
    outbox: &Outbox,
    numbers: std::ops::Range<usize>,
    runs: &mut Runs,
) -> Result<(), Failure> {
    let dispatcher = tokio::spawn(outbox.waker.clone().run());
    let before = Usage::of_this_process(&outbox.database)?;
    let mut opened = Vec::with_capacity(numbers.len());
    let times = paced(numbers.clone(), |number| opened.push(outbox.wake(number))).await;
    for opened in opened {
        opened.await.map_err(|error| wrong(&error))?;
    }
    outbox.pushed(numbers.end).await?;
    dispatcher.abort();
    note(outbox, numbers, &times, before, runs).await
}

async fn looped(outbox: &Outbox, numbers: std::ops::Range<usize>, runs: &mut Runs) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let before = Usage::of_this_process(&outbox.database)?;
    let pace = async {
        let times = paced(numbers.clone(), |number| {
            // The receiver is gone only after an error, which the other side tells.
            let _ = sender.send(number);
        });
        let times = times.await;
        drop(sender);
        times
    };
    let (times, done) = tokio::join!(pace, outbox.one_commit_per_push(receiver));
    done?;
    note(outbox, numbers, &times, before, runs).await
}

async fn note(
    outbox: &Outbox,
    numbers: std::ops::Range<usize>,
    times: &[Instant],
    before: Usage,
    runs: &mut Runs,
) -> Result<(), Failure> {
    runs.fsyncs += Usage::of_this_process(&outbox.database)?.since(before).durable.fsyncs;
    for (number, due) in numbers.clone().zip(times) {
        let accepted = outbox.accepted.at(&outbox.devices[number].target.token);
        let accepted = accepted.ok_or_else(|| Failure::wrong("a phone was not pushed"))?;
        runs.latencies_ms.push(ms(accepted.saturating_duration_since(*due)));
    }
    outbox.phones_come(numbers).await.map(drop)
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let line = |name: &str, figures: &Figures| {
            let in_fsyncs = figures.latency_fsyncs.map_or_else(String::new, |fsyncs| {
                format!(" ({:.1} and {:.1} fsyncs' time)", fsyncs.median, fsyncs.p99)
            });
            format!(
                "{name:<22}  median {:.2} ms, p99 {:.2} ms{in_fsyncs}, {:.2} fsyncs each\n",
                figures.latency_ms.median, figures.latency_ms.p99, figures.fsyncs_per_push
            )
        };
        format!(
            "from the wake to the provider's yes, {} a second, {} pushes each way\n\n{}{}\
             dispatcher / loop: median {:.2}, p99 {:.2}\n",
            self.pushes_per_second,
            self.dispatcher.pushes,
            line("dispatcher", &self.dispatcher),
            line("one commit per push", &self.one_commit_per_push),
            self.latency_ratio.median,
            self.latency_ratio.p99,
        )
    }
}
