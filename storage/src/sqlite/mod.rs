//! SQLite: one file, and how it is created and opened.

pub(crate) mod backup;
pub(crate) mod codes;
mod files;
mod lease;
mod link;
pub(crate) mod query;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

pub(crate) use files::Files;
pub(crate) use lease::Lease;
pub(crate) use link::Link;

use crate::{MigrationSet, StorageError, migration};

/// Whether there is a table of the name `$1`.
pub(crate) const HAS_TABLE: &str = "SELECT 1 AS one FROM sqlite_schema WHERE type = 'table' AND name = $1";

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

/// Takes the lease, creates what is missing, and applies the migrations.
pub(crate) async fn open(
    path: &Path,
    sets: &[MigrationSet],
    synchronous: SqliteSynchronous,
) -> Result<(Link, SqlitePool, Lease), StorageError> {
    let path = canonical(path)?;
    let lease = Lease::take(&path)?;
    create(&path)?;
    let mut connection = connect_writer(&path, synchronous).await?;
    migration::run_sqlite(&mut connection, sets).await?;
    be_impatient(&mut connection).await?;
    let readers = connect_readers(&path).await?;
    let watcher = connect_watcher(&path).await?;
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

async fn connect_writer(
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
        .map_err(|source| StorageError::Connect { database: path.display().to_string(), source })
}

/// Nobody waits for a lock in silence: the writer notices soon, and says so.
async fn be_impatient(writer: &mut SqliteConnection) -> Result<(), StorageError> {
    Ok(sqlx::query(WRITER_PATIENCE).execute(writer).await.map(drop)?)
}

/// One that only reads, and is no part of the pool.
pub(crate) async fn connect_watcher(path: &Path) -> Result<SqliteConnection, StorageError> {
    SqliteConnection::connect_with(&options(path).read_only(true))
        .await
        .map_err(|source| StorageError::Connect { database: path.display().to_string(), source })
}

pub(crate) async fn connect_readers(path: &Path) -> Result<SqlitePool, StorageError> {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(path).read_only(true))
        .await
        .map_err(|source| StorageError::Connect { database: path.display().to_string(), source })
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))
        .statement_cache_capacity(STATEMENTS_CACHED)
        .disable_statement_logging()
}
