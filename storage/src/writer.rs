//! The ordered writer: one task that owns the one connection that writes.

mod job;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use job::{Answer, Verdict};
pub(crate) use job::{AppTransaction, Job, KvKey};

use crate::link::Link;
use crate::stats::Counters;
use crate::trouble::TroubleState;
use crate::{Failure, Stats, StorageError, Tx, postgres, sqlite};

/// A batch ends at either bound; what is queued beyond goes into the next one.
const BATCH_JOBS_MAX: usize = 1024;
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Writes for which nobody waits are alone on their way no longer than this: others will come, and one commit serves all.
const BEHIND_MAX: Duration = Duration::from_millis(10);

/// After this long in one transaction a log line names it.
const SLOW: Duration = Duration::from_secs(5);

/// The right to use a database, alone.
pub(crate) enum Lease {
    Sqlite(#[expect(dead_code, reason = "held, never looked at")] sqlite::Lease),
    Postgres(postgres::Lease),
}

impl Lease {
    /// A writer that has failed writes no more, but its process still acts on the network.
    fn keep(&self, link: Option<Link>) {
        if let (Self::Postgres(lease), Some(Link::Postgres(link))) = (self, link) {
            lease.keep(link.into_connection());
        }
    }
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) counters: Counters,
    pub(crate) state: watch::Sender<State>,
    pub(crate) trouble: TroubleState,
    #[cfg(feature = "faults")]
    pub(crate) faults: crate::faults::Faults,
}

#[derive(Default)]
pub(crate) enum State {
    #[default]
    Running,
    Closed,
    Failed(Failure),
}

impl Shared {
    /// What a reader's error means. A damaged database is damaged for everybody: the process has to stop, whoever came upon it.
    pub(crate) fn read_failed(&self, is_damage: bool, error: sqlx::Error) -> StorageError {
        if !is_damage {
            return error.into();
        }
        let failure = Failure::from(error);
        self.state.send_if_modified(|state| {
            let is_news = matches!(state, State::Running);
            if is_news {
                *state = State::Failed(failure.clone());
            }
            is_news
        });
        StorageError::Damaged(failure)
    }
}

/// Starts the task. It runs until the queue is closed and empty, or a batch fails.
pub(crate) fn spawn(tx: Tx, queue: mpsc::UnboundedReceiver<Job>, shared: Arc<Shared>, lease: Arc<Lease>) {
    // Before the task: one that is dropped before its first poll has ended too.
    let ended = EndedGuard(shared.clone());
    tokio::spawn(async move {
        let mut writer = Writer {
            tx,
            queue,
            shared,
            #[cfg(feature = "faults")]
            taken: 0,
        };
        // After a failure the connection is dropped without another word to the disk, which rolls back what it had begun.
        let outcome = writer.work().await;
        #[cfg(feature = "faults")]
        writer.shared.faults.answered(usize::MAX);
        #[cfg(feature = "faults")]
        if writer.shared.faults.is_cut() {
            // Rolls back. The file has to be free before anybody hears of the end.
            let _ = writer.tx.close().await;
            drop(lease);
            return;
        }
        if outcome.is_ok() {
            if let Err(error) = writer.tx.close().await {
                tracing::warn!(%error, "the database did not close cleanly; nothing committed is lost");
            }
            drop(lease);
            ended.0.state.send_replace(State::Closed);
        } else {
            lease.keep(writer.tx.into_link());
        }
    });
}

/// Whoever waits for the writer must not wait for one that was dropped with its runtime, or that panicked.
struct EndedGuard(Arc<Shared>);

impl Drop for EndedGuard {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let torn_down = matches!(state, State::Running);
            if torn_down {
                *state = State::Failed(Failure::TornDown);
            }
            torn_down
        });
    }
}

struct Writer {
    tx: Tx,
    queue: mpsc::UnboundedReceiver<Job>,
    shared: Arc<Shared>,
    /// Jobs of the batch, those that a later one replaces included.
    #[cfg(feature = "faults")]
    taken: usize,
}

impl Writer {
    async fn work(&mut self) -> Result<(), Failure> {
        let mut batch = Vec::new();
        let mut answers = Vec::new();
        while self.collect(&mut batch).await {
            #[cfg(feature = "faults")]
            if self.shared.faults.is_cut() {
                batch.clear();
                self.refuse_queued();
                return Err(Failure::TornDown);
            }
            if batch.is_empty() {
                continue;
            }
            match self.apply(&mut batch, &mut answers).await {
                Ok(done) => {
                    self.shared.counters.add(done);
                    answers.drain(..).for_each(|answer| answer.committed());
                    #[cfg(feature = "faults")]
                    self.shared.faults.answered(std::mem::take(&mut self.taken));
                }
                Err(failure) => {
                    tracing::error!(
                        error = &failure as &dyn std::error::Error,
                        "the database has failed: the process must stop"
                    );
                    #[cfg(feature = "faults")]
                    let told = !self.shared.faults.is_cut();
                    #[cfg(not(feature = "faults"))]
                    let told = true;
                    if told {
                        self.shared.state.send_replace(State::Failed(failure.clone()));
                    }
                    answers.drain(..).for_each(|answer| answer.failed(&failure));
                    self.refuse_queued();
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// Waits for a job and takes what else is queued by then. `false` once the queue is closed and empty.
    async fn collect(&mut self, batch: &mut Vec<Job>) -> bool {
        let Some(first) = self.queue.recv().await else { return false };
        // Those that the last commit has answered come back with more in the same turn: one commit for all of them.
        tokio::task::yield_now().await;
        let due = tokio::time::Instant::now() + BEHIND_MAX;
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            self.shared.counters.unqueue();
            #[cfg(feature = "faults")]
            {
                self.taken += 1;
            }
            match job {
                Job::Close => self.queue.close(),
                job => {
                    bytes += job.bytes();
                    batch.push(job);
                }
            }
            let full = batch.len() >= BATCH_JOBS_MAX || bytes >= BATCH_BYTES_MAX;
            next = if full { None } else { self.queue.try_recv().ok() };
            if next.is_none() && !full && !self.queue.is_closed() && batch.iter().all(Job::is_behind) {
                next = tokio::time::timeout_at(due, self.queue.recv()).await.ok().flatten();
            }
        }
        drop_replaced(batch);
        true
    }

    /// Dropping a job answers it with [`StorageError::Stopped`](crate::StorageError::Stopped).
    fn refuse_queued(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {
            self.shared.counters.unqueue();
        }
    }

    /// One batch, one commit. An answer goes into `answers` before its job can fail the batch.
    async fn apply(&mut self, batch: &mut Vec<Job>, answers: &mut Vec<Answer>) -> Result<Stats, Failure> {
        #[cfg(feature = "faults")]
        let _turn = self.shared.faults.turn().await;
        let mut done = Stats { commits: 1, ..Stats::default() };
        self.tx.begin().await?;
        for job in batch.drain(..) {
            match job {
                Job::Write { key, value, answer } => {
                    answers.extend(answer.map(Answer::Kv));
                    done.kv_writes += 1;
                    done.kv_bytes += value.len() as u64;
                    let (sql, params) = key.write(value);
                    self.tx.write(sql, &params).await?;
                }
                Job::Remove { key, answer } => {
                    answers.extend(answer.map(Answer::Kv));
                    done.kv_removes += 1;
                    let (sql, params) = key.remove();
                    self.tx.write(sql, &params).await?;
                }
                Job::Transaction(transaction) => {
                    let name = transaction.name();
                    self.tx.enter_savepoint().await?;
                    let (verdict, answer) = watched(name, transaction.run(&mut self.tx)).await;
                    answers.push(answer);
                    if let Some(failure) = self.tx.failure() {
                        return Err(failure);
                    }
                    match verdict {
                        Verdict::Keep => {
                            self.tx.keep_savepoint();
                            done.transactions += 1;
                        }
                        Verdict::Undo => self.tx.undo_savepoint().await?,
                        Verdict::Fail(reason) => return Err(Failure::Required { name, reason }),
                    }
                }
                Job::Close => {}
            }
        }
        crate::crash_point!("before_commit");
        #[cfg(feature = "faults")]
        {
            self.shared.faults.before_commit();
            if self.shared.faults.is_cut() {
                return Err(Failure::TornDown);
            }
        }
        self.tx.commit().await?;
        crate::crash_point!("after_commit");
        #[cfg(feature = "faults")]
        {
            self.shared.faults.after_commit();
            if self.shared.faults.is_cut() {
                return Err(Failure::TornDown);
            }
        }
        Ok(done)
    }
}

/// Leaves out the writes that nobody waits for and that a later one of the same batch replaces: no commit will show them.
fn drop_replaced(batch: &mut Vec<Job>) {
    let mut later: HashSet<KvKey> = HashSet::new();
    let mut keep: Vec<bool> = batch
        .iter()
        .rev()
        .map(|job| match job {
            Job::Write { key, answer, .. } => {
                let is_last = later.insert(key.clone());
                is_last || answer.is_some()
            }
            Job::Remove { .. } | Job::Transaction(_) | Job::Close => true,
        })
        .collect();
    batch.retain(|_| keep.pop().unwrap_or(true));
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Names a transaction that holds up the others while it still does, with growing pauses between the lines.
pub(crate) async fn watched<F: Future>(name: &'static str, transaction: F) -> F::Output {
    let started = Instant::now();
    let mut patience = SLOW;
    let mut transaction = std::pin::pin!(transaction);
    loop {
        match tokio::time::timeout(patience, &mut transaction).await {
            Ok(output) => return output,
            Err(_) => {
                tracing::warn!(
                    transaction = name,
                    seconds = started.elapsed().as_secs(),
                    "a transaction is slow"
                );
                patience = patience.saturating_mul(2);
            }
        }
    }
}
