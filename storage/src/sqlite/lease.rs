use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::owner_only;
use crate::StorageError;

/// How long somebody else may have it: a process that is just ending, or one that was forked off and is not yet the program that it is
/// to become, which holds what its parent held.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The right to use a database, alone. The operating system takes it back when the process ends, however it ends.
///
/// It is a lock on a file of its own beside the database: one on the database itself would get in the way of SQLite's.
/// The file stays when the lease ends, since deleting it would let two processes lock two files of one name.
pub(crate) struct Lease {
    _locked: File,
}

/// Where the lease on a database lies.
pub(super) fn path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

impl Lease {
    pub(crate) fn take(database: &Path) -> Result<Self, StorageError> {
        let path = path(database);
        let open = |source| StorageError::Open { path: path.clone(), source };
        let file = owner_only().open(&path).map_err(open)?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _locked: file }),
                Err(TryLockError::WouldBlock) if asked.elapsed() < PATIENCE => thread::sleep(LOOK_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(StorageError::InUse { database: database.display().to_string() });
                }
                Err(TryLockError::Error(source)) => return Err(open(source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn whoever_is_about_to_give_it_back_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("test.db");
        let first = Lease::take(&database).unwrap();
        assert!(matches!(Lease::take(&database), Err(StorageError::InUse { .. })));
        let (asks, asked) = mpsc::channel();
        let second = thread::spawn(move || {
            asks.send(()).unwrap();
            Lease::take(&database).map(drop)
        });
        asked.recv().unwrap();
        drop(first);
        second.join().unwrap().unwrap();
    }
}
