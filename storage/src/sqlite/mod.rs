//! SQLite: one file, and how it is created and opened.

pub(crate) mod backup;
pub(crate) mod codes;
mod connection;
mod files;
mod lease;
mod link;
mod migrate;
mod readers;
mod row;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connection::Access;
pub(crate) use connection::Connection;
pub(crate) use files::Files;
pub(crate) use lease::Lease;
pub(crate) use link::Link;
pub(crate) use readers::{Lent, Readers};
pub(crate) use row::{OfCell, SqliteRow};

use crate::database::Durability;
use crate::{MigrationSet, StorageError};

/// Whether there is a table of the name `$1`.
pub(crate) const HAS_TABLE: &str = "SELECT 1 AS one FROM sqlite_schema WHERE type = 'table' AND name = $1";

/// How long the writer waits for another's lock before it says that it is in trouble.
const WRITER_PATIENCE: Duration = Duration::from_secs(1);

/// At 4,096 bytes each: fewer, larger checkpoints than SQLite's 1,000, since every one costs two more fsyncs.
const CHECKPOINT_PAGES: u32 = 4_000;

/// What the write-ahead log is cut back to after a burst.
const LOG_BYTES_KEPT: u32 = 64 << 20;

/// Pages that the writer need not read again.
const WRITER_CACHE_KIB: i64 = 64 << 10;

/// Takes the lease, creates what is missing, and applies the migrations.
pub(crate) fn open(
    path: &Path,
    sets: &[MigrationSet],
    durability: Durability,
) -> Result<(Link, Readers, Lease), StorageError> {
    let path = canonical(path)?;
    let lease = Lease::take(&path)?;
    create(&path)?;
    let mut connection = connecting(&path, connect_writer(&path, durability))?;
    migrate::run(connection.raw(), sets)?;
    // Nobody waits for a lock in silence: the writer notices soon, and says so.
    connecting(&path, connection.set_busy_timeout(WRITER_PATIENCE))?;
    let readers = Readers::open(&path, durability)?;
    let watcher = connect_reader(&path)?;
    let files = Files::of(&path).map_err(|source| StorageError::Open { path, source })?;
    Ok((Link::new(connection, watcher, files), readers, lease))
}

/// The file's one name: the lease must meet every other way to write it.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, StorageError> {
    let resolve = || {
        if path.exists() {
            return path.canonicalize();
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Ok(folder.canonicalize()?.join(name))
    };
    resolve().map_err(|source| StorageError::Open { path: path.to_owned(), source })
}

/// Creates the file if it is missing. SQLite gives its companions (`-wal`, `-shm`) the permissions of the file itself.
fn create(path: &Path) -> Result<(), StorageError> {
    let open = |source| StorageError::Open { path: path.to_owned(), source };
    let file = owner_only().open(path).map_err(open)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(open)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format_args!("{mode:o}"), "others may read the database");
        }
    }
    drop(file);
    Ok(())
}

/// Opens for writing without cutting anything off; a file that is new is its owner's alone.
pub(crate) fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn connect_writer(path: &Path, durability: Durability) -> Result<Connection, rusqlite::Error> {
    let synchronous = match durability {
        Durability::Synced => "full",
        #[cfg(feature = "faults")]
        Durability::Unsynced => "off",
    };
    let connection = Connection::open(path, Access::Write)?;
    connection.set_pragma("journal_mode", "wal")?;
    connection.set_pragma("synchronous", synchronous)?;
    connection.set_pragma("fullfsync", true)?;
    connection.set_pragma("wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_pragma("journal_size_limit", LOG_BYTES_KEPT)?;
    connection.set_pragma("cache_size", -WRITER_CACHE_KIB)?;
    // What a savepoint may have to undo is thrown away with it: no file for it.
    connection.set_pragma("temp_store", "memory")?;
    Ok(connection)
}

/// One that only reads.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection, StorageError> {
    connecting(path, Connection::open(path, Access::Read))
}

fn connecting<T>(path: &Path, connected: Result<T, rusqlite::Error>) -> Result<T, StorageError> {
    connected.map_err(|source| StorageError::Connect {
        database: path.display().to_string(),
        source: source.into(),
    })
}
