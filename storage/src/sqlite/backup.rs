//! A copy of a database that may be in use.

use std::path::Path;

use super::{canonical, connect_reader, owner_only};
use crate::{StorageError, values};

/// Takes as long as the disk does, in the calling thread.
pub(crate) fn backup(from: &Path, to: &Path) -> Result<(), StorageError> {
    let open = |source| StorageError::Open { path: to.to_owned(), source };
    let file = owner_only().create_new(true).open(to).map_err(open)?;
    let copied = copy(from, to);
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

fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let mut connection = connect_reader(&canonical(from)?)?;
    let name = to.to_str().ok_or(StorageError::ValueRange)?;
    connection.execute("VACUUM INTO $1", &values![name])?;
    Ok(connection.close()?)
}
