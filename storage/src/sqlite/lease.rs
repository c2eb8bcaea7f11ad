use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::owner_only;
use crate::StorageError;

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
        match file.try_lock() {
            Ok(()) => Ok(Self { _locked: file }),
            Err(TryLockError::WouldBlock) => {
                Err(StorageError::InUse { database: database.display().to_string() })
            }
            Err(TryLockError::Error(source)) => Err(open(source)),
        }
    }
}
