use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use tokio::sync::{Mutex as AsyncMutex, mpsc as async_mpsc, oneshot};

use super::{Connection, connect_reader};
use crate::StorageError;
use crate::database::Durability;

/// Each is a thread of its own.
const READERS_MAX: usize = 4;

/// The connections that only read, and the threads that work with them: a statement may wait for the disk, and whoever asked has
/// other things to do meanwhile.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Place>);

/// Where a job is done.
enum Place {
    Threads {
        jobs: Mutex<Option<mpsc::Sender<Job>>>,
        /// Every thread has a sender until it ends.
        ended: AsyncMutex<async_mpsc::Receiver<Infallible>>,
    },
    /// Wherever it is asked for: a simulation does one thing at a time.
    #[cfg(feature = "faults")]
    Here { path: std::path::PathBuf, idle: Mutex<Option<Vec<Lent>>> },
}

type Job = Box<dyn FnOnce(&Lent) + Send>;

/// A connection that goes from one reader to the next. Nobody ever waits for it.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mutex<Connection>>);

impl Lent {
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        Ok(Self(Arc::new(Mutex::new(connect_reader(path)?))))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, StorageError> {
        let place = match durability {
            Durability::Synced => threads(path)?,
            #[cfg(feature = "faults")]
            Durability::Unsynced => Place::Here { path: path.to_owned(), idle: Mutex::new(Some(Vec::new())) },
        };
        Ok(Self(Arc::new(place)))
    }

    /// Lends a connection to `work`.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Lent) -> T + Send + 'static,
    ) -> Result<T, StorageError> {
        match &*self.0 {
            Place::Threads { jobs, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    // Who asked may have gone.
                    let _ = answer.send(work(connection));
                });
                let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
                jobs.ok_or(StorageError::Stopped)?.send(job).map_err(|_| StorageError::Stopped)?;
                answered.await.map_err(|_| StorageError::Stopped)
            }
            #[cfg(feature = "faults")]
            Place::Here { path, idle } => {
                let with_idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
                let connection = with_idle().as_mut().ok_or(StorageError::Stopped)?.pop();
                let connection = connection.map_or_else(|| Lent::open(path), Ok)?;
                let found = work(&connection);
                if let Some(idle) = &mut *with_idle() {
                    idle.push(connection);
                }
                Ok(found)
            }
        }
    }

    /// Returns when no connection is left.
    pub(crate) async fn close(&self) {
        match &*self.0 {
            Place::Threads { jobs, ended } => {
                drop(jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
                ended.lock().await.recv().await;
            }
            #[cfg(feature = "faults")]
            Place::Here { idle, .. } => drop(idle.lock().unwrap_or_else(PoisonError::into_inner).take()),
        }
    }
}

fn threads(path: &Path) -> Result<Place, StorageError> {
    let (sender, jobs) = mpsc::channel();
    let jobs = Arc::new(Mutex::new(jobs));
    let (alive, ended) = async_mpsc::channel(1);
    for _ in 0..READERS_MAX {
        let connection = Lent::open(path)?;
        let (jobs, alive) = (jobs.clone(), alive.clone());
        let work = move || {
            serve(&connection, &jobs);
            drop(connection);
            drop(alive);
        };
        thread::Builder::new()
            .name("sqlite-reader".to_owned())
            .spawn(work)
            .map_err(|source| StorageError::Open { path: path.to_owned(), source })?;
    }
    Ok(Place::Threads { jobs: Mutex::new(Some(sender)), ended: AsyncMutex::new(ended) })
}

fn serve(connection: &Lent, jobs: &Mutex<mpsc::Receiver<Job>>) {
    // Whoever has the lock waits for the next job, and the others wait for the lock.
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        job(connection);
    }
}
