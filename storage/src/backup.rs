use std::path::Path;

use crate::{DatabaseUrl, StorageError, sqlite};

/// Copies the database into a new file for its owner only: one consistent state, the newest that is committed when this begins. The
/// database may be in use, by another process too; its writer is not held up.
///
/// # Errors
/// [`StorageError::Open`] if `to` is there already or cannot be made; [`StorageError::Connect`] or [`StorageError::Query`]
/// if the copy fails, and then `to` is gone again; [`StorageError::NoBackup`] for Postgres, which has tools of its own.
pub async fn backup(url: &DatabaseUrl, to: &Path) -> Result<(), StorageError> {
    match url {
        DatabaseUrl::Sqlite(from) => sqlite::backup::backup(from, to),
        DatabaseUrl::Postgres(_) => Err(StorageError::NoBackup),
    }
}
