//! The ordered writer: one thread, or one task, that owns the one connection that writes.

mod batch;
mod job;

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::{mpsc, watch};

use batch::{Room, drop_replaced};
use job::{Answer, Verdict};
pub(crate) use job::{AppTransaction, Job, KvKey};

use crate::link::Link;
use crate::stats::Counters;
use crate::trouble::TroubleState;
use crate::{Failure, QueryError, Stats, StorageError, Tx, postgres, sqlite};

/// Writes for which nobody waits are alone on their way no longer than this: others will come, and one commit serves all.
const BEHIND_MAX: Duration = Duration::from_millis(10);

/// How long a batch that is being applied takes in what is queued meanwhile: about what the commit is going to take.
const JOIN_MAX: Duration = Duration::from_millis(2);

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
    /// The writer has let go of the database, however it ended.
    pub(crate) ended: watch::Sender<bool>,
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
    pub(crate) fn read_failed(&self, error: QueryError) -> StorageError {
        if !error.is_damage() {
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

/// Where the writer runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a thread of its own: its statements wait for the disk.
    Thread,
    /// On the calling runtime.
    Task,
}

/// Starts the writer. It runs until the queue is closed and empty, or a batch fails.
pub(crate) fn spawn(
    place: Place,
    tx: Tx,
    queue: mpsc::UnboundedReceiver<Job>,
    shared: Arc<Shared>,
    lease: Arc<Lease>,
) -> io::Result<()> {
    // Before it runs: one that is dropped before its first poll has ended too.
    let ended = EndedGuard(shared.clone());
    let work = async move {
        let mut writer = Writer {
            place,
            tx,
            room: Room::default(),
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
        let is_cut = writer.shared.faults.is_cut();
        #[cfg(not(feature = "faults"))]
        let is_cut = false;
        if is_cut {
            // Rolls back. The file has to be free before anybody hears of the end.
            let _ = writer.tx.close().await;
        } else if outcome.is_ok() {
            if let Err(error) = writer.tx.close().await {
                tracing::warn!(%error, "the database did not close cleanly; nothing committed is lost");
            }
            ended.0.state.send_replace(State::Closed);
        } else {
            lease.keep(writer.tx.into_link());
        }
        drop(lease);
        drop(ended);
    };
    match place {
        Place::Task => drop(tokio::spawn(work)),
        Place::Thread => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            thread::Builder::new().name("writer".to_owned()).spawn(move || runtime.block_on(work))?;
        }
    }
    Ok(())
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
        self.0.ended.send_replace(true);
    }
}

struct Writer {
    place: Place,
    tx: Tx,
    room: Room,
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

    /// Takes into a batch that is being applied what was queued meanwhile. `false` if that is nothing.
    fn join(&mut self, batch: &mut Vec<Job>) -> bool {
        while self.place == Place::Thread
            && !self.room.is_full()
            && let Ok(job) = self.queue.try_recv()
        {
            self.take(job, batch);
        }
        drop_replaced(batch);
        !batch.is_empty()
    }

    /// Waits for a job and takes what else is queued by then. `false` once the queue is closed and empty.
    async fn collect(&mut self, batch: &mut Vec<Job>) -> bool {
        let Some(first) = self.queue.recv().await else { return false };
        // Those that the last commit has answered come back with more in the same turn: one commit for all of them.
        tokio::task::yield_now().await;
        let due = tokio::time::Instant::now() + BEHIND_MAX;
        self.room = Room::default();
        let mut next = Some(first);
        while let Some(job) = next {
            self.take(job, batch);
            next = if self.room.is_full() { None } else { self.queue.try_recv().ok() };
            if next.is_none()
                && !self.room.is_full()
                && !self.queue.is_closed()
                && batch.iter().all(Job::is_behind)
            {
                next = tokio::time::timeout_at(due, self.queue.recv()).await.ok().flatten();
            }
        }
        drop_replaced(batch);
        true
    }

    fn take(&mut self, job: Job, batch: &mut Vec<Job>) {
        self.shared.counters.unqueue();
        #[cfg(feature = "faults")]
        {
            self.taken += 1;
        }
        match job {
            Job::Close => self.queue.close(),
            job => {
                self.room.add(&job);
                batch.push(job);
            }
        }
    }

    /// Dropping a job answers it with [`StorageError::Stopped`](crate::StorageError::Stopped).
    fn refuse_queued(&mut self) {
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            self.shared.counters.unqueue();
            drop(job);
        }
    }

    /// An answer goes into `answers` before its job can fail the batch.
    async fn run(&mut self, job: Job, done: &mut Stats, answers: &mut Vec<Answer>) -> Result<(), Failure> {
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
        Ok(())
    }

    /// One batch, one commit.
    async fn apply(&mut self, batch: &mut Vec<Job>, answers: &mut Vec<Answer>) -> Result<Stats, Failure> {
        #[cfg(feature = "faults")]
        let _turn = self.shared.faults.turn().await;
        let mut done = Stats { commits: 1, ..Stats::default() };
        self.tx.begin().await?;
        let mut until = None;
        loop {
            for job in batch.drain(..) {
                self.run(job, &mut done, answers).await?;
            }
            let now = Instant::now();
            if now > *until.get_or_insert(now + JOIN_MAX) || !self.join(batch) {
                break;
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

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// Names a transaction that holds up the others while it still does, with growing pauses between the lines; one whose statements keep
/// the thread itself waiting, once it is over.
pub(crate) async fn watched<F: Future>(name: &'static str, transaction: F) -> F::Output {
    let started = Instant::now();
    let mut patience = SLOW;
    let mut transaction = std::pin::pin!(transaction);
    loop {
        match tokio::time::timeout(patience, &mut transaction).await {
            Ok(output) => {
                if patience == SLOW && started.elapsed() >= SLOW {
                    tracing::warn!(
                        transaction = name,
                        seconds = started.elapsed().as_secs(),
                        "a transaction was slow"
                    );
                }
                return output;
            }
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
