//! A look into a database that may be in use, or that no server dares to open.

use std::path::Path;

use futures::future::BoxFuture;

use crate::{DatabaseUrl, ReadTx, StorageError, readers};

/// Reads one consistent view of a database that another process may be writing to. Takes no lease, applies no migration and
/// changes nothing.
///
/// # Errors
/// When it cannot be opened; what `body` gives.
pub async fn inspect<T, E, F>(url: &DatabaseUrl, body: F) -> Result<T, E>
where
    E: From<StorageError>,
    F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>>,
{
    readers::look(url, body).await
}

/// Whether every page of a SQLite file is what SQLite wrote there; else the first things that are not, in SQLite's words, which
/// hold no stored value. Reads all of the file. A Postgres server has tools of its own for this (`pg_amcheck`, data checksums).
///
/// # Errors
/// When it cannot be opened, or is damaged beyond reading.
pub async fn damaged_pages(path: &Path) -> Result<Vec<String>, StorageError> {
    let found = inspect(&DatabaseUrl::Sqlite(path.to_owned()), |tx| {
        Box::pin(async move {
            let rows = tx.fetch_all("PRAGMA quick_check(5)", &[]).await?;
            rows.iter().map(|row| row.get_text("quick_check")).collect::<Result<Vec<_>, StorageError>>()
        })
    })
    .await?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}
