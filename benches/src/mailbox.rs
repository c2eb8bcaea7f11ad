//! What it costs to keep a message, to fetch what waits for a phone, and to forget what it has, in a mailbox of a thousand messages
//! and, in turns, in one of a million.

mod filled;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tests::failure::Failure;

use crate::arguments::Arguments;
use crate::pushes::own_folder;
use crate::shim::Shim;
use crate::worker::{self, progress};
use filled::Filled;

/// The small mailbox.
const FEW_MESSAGES: usize = 1_000;
/// Each phone has so many, from one peer.
const MESSAGES_PER_PHONE: usize = 20;
/// An onion message with a packet of the usual size (BOLT 4).
const MESSAGE_BYTES: usize = 1_403;
/// Turns of each mailbox in one round.
const TURNS: usize = 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    folder: PathBuf,
    rounds: usize,
    messages: usize,
}

/// Both mailboxes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) small: Figures,
    pub(crate) large: Figures,
    /// The large mailbox's divided by the small one's.
    pub(crate) ratios: Ratios,
}

/// What a phone's messages cost, fsyncs included.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) messages: usize,
    /// Per message, each of which waits for its own commit.
    pub(crate) store_alone_us: f64,
    /// Per message, of many that come at once and share commits.
    pub(crate) store_us: f64,
    pub(crate) store_cpu_us: f64,
    pub(crate) store_kib: f64,
    /// Per phone, all that waits for it, after a commit of somebody else's.
    pub(crate) fetch_us: f64,
    pub(crate) fetch_cpu_us: f64,
    /// Per phone, what it was given a moment ago, with a commit.
    pub(crate) forget_us: f64,
    /// The look that the server takes every 30 seconds, and nobody has come.
    pub(crate) rescan_ms: f64,
    /// The look through the whole mailbox that a start takes, and everybody is woken already.
    pub(crate) walk_ms: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ratios {
    pub(crate) store_alone: f64,
    pub(crate) store: f64,
    pub(crate) store_cpu: f64,
    pub(crate) store_bytes: f64,
    pub(crate) fetch: f64,
    pub(crate) fetch_cpu: f64,
    pub(crate) forget: f64,
}

impl Ratios {
    fn of(large: &Figures, small: &Figures) -> Self {
        Self {
            store_alone: large.store_alone_us / small.store_alone_us,
            store: large.store_us / small.store_us,
            store_cpu: large.store_cpu_us / small.store_cpu_us,
            store_bytes: large.store_kib / small.store_kib,
            fetch: large.fetch_us / small.fetch_us,
            fetch_cpu: large.fetch_cpu_us / small.fetch_cpu_us,
            forget: large.forget_us / small.forget_us,
        }
    }
}

/// Starts the worker.
pub(crate) async fn measure(arguments: &Arguments, folder: &Path, shim: &Shim) -> Result<Report, Failure> {
    let folder = own_folder(folder, "mailbox")?;
    let job = Job { folder: folder.clone(), rounds: arguments.rounds(), messages: arguments.messages() };
    worker::employ("mailbox", &worker::Job::Mailbox(job), &folder, shim).await
}

/// In the worker's process.
pub(crate) async fn work(job: &Job) -> Result<Report, Failure> {
    let mut small = Filled::open(&job.folder, "small", FEW_MESSAGES).await?;
    let mut large = Filled::open(&job.folder, "large", job.messages).await?;
    for round in 1..=job.rounds {
        for _ in 0..TURNS {
            small.turn().await?;
            large.turn().await?;
        }
        let (few, many) = (small.figures(), large.figures());
        progress(format!(
            "round {round}: {:.0} us to store a message among {}, {:.0} us among {}",
            few.store_us, few.messages, many.store_us, many.messages
        ));
    }
    let (small, large) = (small.finish().await?, large.finish().await?);
    Ok(Report { ratios: Ratios::of(&large, &small), small, large })
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let line = |figures: &Figures| {
            format!(
                "{:>10}  {:>8.0}  {:>8.1}  {:>12.1}  {:>9.2}  {:>8.1}  {:>12.1}  {:>9.0}  {:>9.1}  {:>8.1}\n",
                figures.messages,
                figures.store_alone_us,
                figures.store_us,
                figures.store_cpu_us,
                figures.store_kib,
                figures.fetch_us,
                figures.fetch_cpu_us,
                figures.forget_us,
                figures.rescan_ms,
                figures.walk_ms,
            )
        };
        let ratios = &self.ratios;
        format!(
            "mailboxes, {MESSAGES_PER_PHONE} messages of {MESSAGE_BYTES} bytes for each phone\n\n\
             {:>10}  alone us  store us  store CPU us  store KiB  fetch us  fetch CPU us  forget us  rescan ms   walk ms\n{}{}\
             large / small: store alone {:.2}, many at once {:.2} (CPU {:.2}, bytes {:.2}), fetch {:.2} (CPU {:.2}), forget {:.2}\n",
            "messages",
            line(&self.small),
            line(&self.large),
            ratios.store_alone,
            ratios.store,
            ratios.store_cpu,
            ratios.store_bytes,
            ratios.fetch,
            ratios.fetch_cpu,
            ratios.forget,
        )
    }
}
