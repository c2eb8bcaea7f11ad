//! A copy of a database that may be in use.

use std::path::Path;

use sqlx::Connection as _;

use super::{canonical, connect_watcher, owner_only};
use crate::StorageError;

pub(crate) async fn backup(from: &Path, to: &Path) -> Result<(), StorageError> {
    let open = |source| StorageError::Open { path: to.to_owned(), source };
    let file = owner_only().create_new(true).open(to).map_err(open)?;
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
    let mut connection = connect_watcher(&canonical(from)?).await?;
    let name = to.to_str().ok_or(StorageError::ValueRange)?.to_owned();
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await?;
    Ok(connection.close().await?)
}
