use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use crate::link::Link;
use crate::readers::Readers;
use crate::session::Session;
use crate::writer::{self, AppTransaction, Job, Lease, Place, Shared, State};
use crate::{
    Commit, DatabaseUrl, Failure, Kv, MigrationSet, ReadTx, Stats, StorageError, Trouble, Tx, postgres,
    sqlite,
};

/// Whether a commit is on disk before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    /// For simulations.
    #[cfg(feature = "faults")]
    Unsynced,
}

/// Writes that may wait before [`Database::submit`] refuses more: some ten batches.
const QUEUED_MAX: u64 = 10_000;

/// An open database: the handle to its writer and its readers. Clones are the same database.
///
/// Dropping the last handle lets the writer finish what is queued; [`Database::close`] also waits for that.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::UnboundedSender<Job>,
    readers: Readers,
    shared: Arc<Shared>,
    /// Kept after a failure until the database is closed: a process that is on its way out still acts on the network.
    lease: Mutex<Option<Arc<Lease>>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database, creates a file that is missing (readable by its owner only), takes the lease, and applies the
    /// migrations of this crate and of `sets`. A SQLite file has its writer and its readers in threads of their own; Postgres' writer runs on the
    /// calling tokio runtime, and has to end before it.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process has it; [`StorageError::Open`] or [`StorageError::Connect`] if it cannot be
    /// opened; [`StorageError::Unsuitable`] or [`StorageError::Moved`] if a Postgres server may lack or lose what is committed; [`StorageError::NewerDatabase`], [`StorageError::ChangedMigration`] or [`StorageError::Migrate`] if its
    /// schema cannot be brought up to this program's, and then it is left as it was.
    pub async fn open(url: &DatabaseUrl, sets: &[MigrationSet]) -> Result<Self, StorageError> {
        Self::open_with(url, sets, Durability::Synced).await
    }

    /// [`Database::open`] without a single fsync: what is committed survives the process, but not the machine. For
    /// simulations, preferably on a file in memory.
    ///
    /// # Errors
    /// As [`Database::open`].
    #[cfg(feature = "faults")]
    pub async fn open_unsynced(url: &DatabaseUrl, sets: &[MigrationSet]) -> Result<Self, StorageError> {
        Self::open_with(url, sets, Durability::Unsynced).await
    }

    async fn open_with(
        url: &DatabaseUrl,
        sets: &[MigrationSet],
        durability: Durability,
    ) -> Result<Self, StorageError> {
        let (link, readers, lease, place) = match url {
            DatabaseUrl::Sqlite(path) => {
                let (link, readers, lease) = sqlite::open(path, sets, durability)?;
                let place = match durability {
                    Durability::Synced => Place::Thread,
                    #[cfg(feature = "faults")]
                    Durability::Unsynced => Place::Task,
                };
                (Link::Sqlite(Box::new(link)), Readers::Sqlite(readers), Lease::Sqlite(lease), place)
            }
            DatabaseUrl::Postgres(url) => {
                let (link, readers) = postgres::open(url, sets, durability).await?;
                let lease = Lease::Postgres(postgres::Lease::default());
                (Link::Postgres(Box::new(link)), Readers::Postgres(readers), lease, Place::Task)
            }
        };
        let lease = Arc::new(lease);
        let (queue, jobs) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let session = Session::new(link, shared.clone());
        writer::spawn(place, Tx::new(session), jobs, shared.clone(), lease.clone())
            .map_err(|source| StorageError::Thread { source })?;
        Ok(Self { inner: Arc::new(Inner { queue, readers, shared, lease: Mutex::new(Some(lease)) }) })
    }

    /// Queues a transaction. The order of the calls is the order of the commits, together with the writes of [`Database::kv`].
    ///
    /// It is refused at once, and not queued, while the database is in [`trouble`](Database::trouble)
    /// ([`StorageError::Trouble`]) or while too much waits already ([`StorageError::Overloaded`]).
    ///
    /// Its `Err` rolls back itself only. Either answer comes after the commit of the batch, so that what was read from
    /// writes queued before is durable too. `name` is for logs.
    ///
    /// ```no_run
    /// # use storage::{Database, StorageError, values};
    /// # async fn example(db: &Database, hash: [u8; 32]) -> Result<(), StorageError> {
    /// let rows = db
    ///     .submit("forget_payment", move |tx| {
    ///         Box::pin(async move { tx.execute("DELETE FROM payment WHERE hash = $1", &values![hash]).await })
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn submit<T, E, F>(&self, name: &'static str, body: F) -> Commit<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        if let Some(kind) = self.inner.shared.trouble.kind() {
            return Commit::refused(StorageError::Trouble(kind).into());
        }
        if self.stats().queued >= QUEUED_MAX {
            return Commit::refused(StorageError::Overloaded.into());
        }
        self.enqueue_transaction(name, body, None)
    }

    /// Queues a transaction that later writes rely on: if it gives `Err` then nothing after it is committed, and
    /// the database has [`failed`](Database::failed). It is never refused: whoever calls this sees to it that no stranger can
    /// make it be called without end while the database is in [`trouble`](Database::trouble).
    ///
    /// For rows that an LDK event asks for: the handler may queue them and return at once, since LDK's own write that
    /// forgets the event is queued behind them. The reason is logged with the failure, by the `Display` of `E`.
    pub fn submit_required<T, E, F>(&self, name: &'static str, body: F) -> Commit<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Display + Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        self.enqueue_transaction(name, body, Some(|error: &E| error.to_string()))
    }

    fn enqueue_transaction<T, E, F>(
        &self,
        name: &'static str,
        body: F,
        required: Option<fn(&E) -> String>,
    ) -> Commit<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        let (answer, commit) = oneshot::channel();
        self.enqueue(Job::Transaction(Box::new(AppTransaction { name, body, required, answer })));
        Commit::new(commit)
    }

    /// Once the writer has ended the job is dropped, and with it its answer's sender: its [`Commit`] says `Stopped`.
    pub(crate) fn enqueue(&self, job: Job) {
        self.inner.shared.counters.queue();
        #[cfg(feature = "faults")]
        self.faults().queued();
        if self.inner.queue.send(job).is_err() {
            self.inner.shared.counters.unqueue();
            #[cfg(feature = "faults")]
            self.faults().answered(1);
        }
    }

    /// Reads one consistent view of what is committed, without waiting for the writer.
    ///
    /// # Errors
    /// What `body` gives; [`StorageError::Stopped`] once the database is closed.
    pub async fn read<T, E, F>(&self, name: &'static str, body: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        #[cfg(feature = "faults")]
        let _turn = self.faults().turn().await;
        writer::watched(name, self.inner.readers.read(self.shared(), body)).await
    }

    /// The key-value table.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new(self.clone())
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.inner.readers
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.inner.shared.clone()
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.shared.counters.read()
    }

    /// Why the database cannot be written for now, if it cannot. What was taken waits, and nothing of it is acknowledged.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.inner.shared.trouble.current()
    }

    /// Returns at once while there is no [`trouble`](Database::trouble), else when it is over.
    pub async fn out_of_trouble(&self) {
        let mut trouble = self.watch_trouble();
        // The sender lives in `shared`, so the wait cannot fail.
        let _ = trouble.wait_for(Option::is_none).await;
    }

    /// Changes with [`Database::trouble`].
    #[must_use]
    pub fn watch_trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.inner.shared.trouble.subscribe()
    }

    /// Resolves if a batch could not be committed, and never otherwise. The process must then stop: nothing is
    /// written any more, and what it holds in memory is ahead of the disk.
    pub async fn failed(&self) -> Failure {
        let mut state = self.inner.shared.state.subscribe();
        let failure =
            state.wait_for(|state| matches!(state, State::Failed(_))).await.ok().and_then(|state| {
                match &*state {
                    State::Failed(failure) => Some(failure.clone()),
                    State::Running | State::Closed => None,
                }
            });
        match failure {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// By which a test makes commits fail.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn faults(&self) -> &crate::faults::Faults {
        &self.inner.shared.faults
    }

    /// Ends the database as `kill -9` would: what is not committed yet never is, and answers [`StorageError::Stopped`] or
    /// [`StorageError::NotCommitted`]; so does every later call. The lease is free when this returns: the same process may
    /// open the database again and finds what the next one would.
    #[cfg(feature = "faults")]
    pub async fn cut(&self) {
        self.faults().cut();
        self.enqueue(Job::Close);
        self.inner.readers.close().await;
        self.writer_ended().await;
        self.inner.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the database: waits for the reads under way, writes all that is queued, merges the log into the file, and
    /// gives the lease back. Later calls answer [`StorageError::Stopped`].
    pub async fn close(&self) {
        // Readers first: SQLite merges its log when the last connection goes, and only a writing one can.
        self.inner.readers.close().await;
        self.enqueue(Job::Close);
        self.writer_ended().await;
        self.inner.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn writer_ended(&self) {
        let mut ended = self.inner.shared.ended.subscribe();
        // The sender lives in `shared`, so the wait cannot fail.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}
