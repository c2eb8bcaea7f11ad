//! How a SQLite file is created and opened.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::StorageError;

/// Each reader is a thread of its own.
const READERS_MAX: u32 = 4;

/// For an operator's own look into the file; nobody else writes.
const BUSY_SECONDS_MAX: u64 = 30;

/// How long the writer waits for another's lock before it says that it is in trouble, in milliseconds.
const WRITER_PATIENCE: &str = "PRAGMA busy_timeout = 1000";

/// At 4,096 bytes each: fewer, larger checkpoints than SQLite's 1,000, since every one costs two more fsyncs.
const CHECKPOINT_PAGES: &str = "4000";

/// What the write-ahead log is cut back to after a burst, in bytes.
const LOG_BYTES_KEPT: &str = "67108864";

const STATEMENTS_CACHED: usize = 512;

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
pub(crate) fn create(path: &Path) -> Result<(), StorageError> {
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

pub(crate) async fn connect_writer(
    path: &Path,
    synchronous: SqliteSynchronous,
) -> Result<SqliteConnection, StorageError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .pragma("fullfsync", "on")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES_KEPT);
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|source| StorageError::Connect { path: path.to_owned(), source })
}

/// Nobody waits for a lock in silence: the writer notices soon, and says so.
pub(crate) async fn be_impatient(writer: &mut SqliteConnection) -> Result<(), StorageError> {
    Ok(sqlx::query(WRITER_PATIENCE).execute(writer).await.map(drop)?)
}

/// One that only reads, and is no part of the pool.
pub(crate) async fn connect_watcher(path: &Path) -> Result<SqliteConnection, StorageError> {
    SqliteConnection::connect_with(&options(path).read_only(true))
        .await
        .map_err(|source| StorageError::Connect { path: path.to_owned(), source })
}

pub(crate) async fn connect_readers(path: &Path) -> Result<SqlitePool, StorageError> {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(path).read_only(true))
        .await
        .map_err(|source| StorageError::Connect { path: path.to_owned(), source })
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
        .statement_cache_capacity(STATEMENTS_CACHED)
        .disable_statement_logging()
}
