//! A copy of a database that may be in use.

use std::path::Path;

use sqlx::Connection as _;

use crate::{DatabaseUrl, StorageError, sqlite};

/// Copies the database into a new file for its owner only: one consistent state, the newest that is committed when this begins. The
/// database may be in use, by another process too; its writer is not held up.
///
/// # Errors
/// [`StorageError::Open`] if `to` is there already or cannot be made; [`StorageError::Connect`] or [`StorageError::Query`]
/// if the copy fails, and then `to` is gone again.
pub async fn backup(url: &DatabaseUrl, to: &Path) -> Result<(), StorageError> {
    let DatabaseUrl::Sqlite(from) = url;
    let open = |source| StorageError::Open { path: to.to_owned(), source };
    let file = sqlite::owner_only().create_new(true).open(to).map_err(open)?;
    let copied = copy(from, to).await;
    match copied {
        Ok(()) => file.sync_all().map_err(open),
        Err(error) => {
            drop(file);
            // The first error is the one to tell.
            let _ = std::fs::remove_file(to);
            Err(error)
        }
    }
}

async fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let mut connection = sqlite::connect_watcher(&sqlite::canonical(from)?).await?;
    let name = to.to_str().ok_or(StorageError::ValueRange)?.to_owned();
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await?;
    Ok(connection.close().await?)
}
