use std::path::PathBuf;
use std::sync::Arc;

use crate::{TroubleKind, postgres, sqlite};

/// What can go wrong with the database. No variant's text holds a value that was stored.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process (or another [`Database`](crate::Database) of this one) holds the lease.
    #[error(
        "the database {database} is in use by another process: stop it first; two may never share one database"
    )]
    InUse { database: String },

    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: std::io::Error },

    #[error("cannot open the database {database}")]
    Connect { database: String, source: QueryError },

    /// The system gives the process no further thread.
    #[error("the database's writer cannot be started")]
    Thread { source: std::io::Error },

    /// The Postgres server may lack, or may lose, what is committed.
    #[error("the server of {database} cannot be used: {reason}")]
    Unsuitable { database: String, reason: String },

    /// The Postgres server is not the one that the database was used on last, or has another history since: it was promoted, restored
    /// or copied, and may lack the newest state.
    #[error(
        "the database has moved from server and timeline {known} to {found}: a standby that was promoted or a copy may lack \
         the newest channel state. If it is certain that it has all of it, accept the database"
    )]
    Moved { known: String, found: String },

    /// [`backup`](crate::backup) is for SQLite.
    #[error(
        "a Postgres database is copied with Postgres' own tools: pg_dump for looking at it, pg_basebackup and WAL archiving, or a \
         synchronous standby, for the day on which the server is lost. Never start from any but the newest state: an old copy has \
         forgotten which commitments it revoked, and could lose whole channels"
    )]
    NoBackup,

    /// The database has a migration that this program does not know. Nothing was changed.
    #[error(
        "the database was written by a newer version of this program (migration {version} of `{set}`): use that version"
    )]
    NewerDatabase { set: &'static str, version: i64 },

    /// A migration that was applied is no longer the one that the program has. Nothing was changed.
    #[error("migration {version} of `{set}` differs from the one that was applied to this database")]
    ChangedMigration { set: &'static str, version: i64 },

    /// A migration failed. All sets are applied in one transaction, so nothing was changed.
    #[error("the migrations of `{set}` failed")]
    Migrate { set: &'static str, source: sqlx::migrate::MigrateError },

    #[error("a database query failed")]
    Query(#[source] QueryError),

    /// A reader came upon a part of the database that is not what SQLite, or the Postgres server, wrote there. The database has
    /// [failed](crate::Database::failed).
    #[error("the database is damaged")]
    Damaged(#[source] Failure),

    /// [`fetch_one`](crate::ReadTx::fetch_one) found nothing.
    #[error("no row was found where there must be one")]
    RowNotFound,

    /// The column is missing, is NULL where it must not be, or is of another type.
    #[error("column `{column}` cannot be read")]
    Column { column: String, source: ColumnError },

    /// The value is there, but not in the range (or of the length) that was asked for.
    #[error("column `{column}` holds a value out of its range")]
    ColumnRange { column: String },

    /// An unsigned value above `i64::MAX`, which no column can hold.
    #[error("a value is too large for the database")]
    ValueRange,

    /// A statement of this transaction failed before; nothing of it will be committed.
    #[error("the transaction was aborted by a statement that failed before")]
    Aborted,

    /// The transaction's own code panicked. It was rolled back.
    #[error("the transaction `{name}` panicked")]
    Panicked { name: &'static str },

    /// The database cannot be written for now, and takes no new work: nothing was queued. See
    /// [`Database::trouble`](crate::Database::trouble).
    #[error("the database cannot be written for now: {0}")]
    Trouble(TroubleKind),

    /// So much waits to be written that no new work is taken: nothing was queued.
    #[error("too much waits to be written")]
    Overloaded,

    /// The batch with this write was not committed, and the writer has ended.
    #[error("the write was not committed")]
    NotCommitted(#[source] Failure),

    /// The writer has ended before it came to this write: the database was closed, or an earlier batch failed.
    #[error("the database has stopped")]
    Stopped,
}

impl StorageError {
    /// Whether a row with the same primary key or unique columns is there already.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Query(error) if error.is_unique_violation())
    }

    /// Whether a row refers to another one that is not there.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        matches!(self, Self::Query(error) if error.is_foreign_key_violation())
    }
}

impl From<QueryError> for StorageError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Postgres(sqlx::Error::PoolClosed) => Self::Stopped,
            error => Self::Query(error),
        }
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        QueryError::from(error).into()
    }
}

/// What a database said in place of an answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),

    #[error(transparent)]
    Postgres(#[from] sqlx::Error),

    #[cfg(feature = "faults")]
    #[error(transparent)]
    Injected(#[from] crate::faults::Fault),
}

impl QueryError {
    /// What it says of the database or of the way to it, unless it is the statement's own or final.
    pub(crate) fn trouble(&self) -> Option<TroubleKind> {
        match self {
            Self::Postgres(error) => postgres::codes::trouble(error),
            _ => self.sqlite_code().and_then(sqlite::codes::trouble),
        }
    }

    /// Whether the database is damaged.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Postgres(error) => postgres::codes::is_damage(error),
            _ => self.sqlite_code().is_some_and(sqlite::codes::is_damage),
        }
    }

    fn is_unique_violation(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
            }
            _ => self.sqlite_code().is_some_and(sqlite::codes::is_unique_violation),
        }
    }

    fn is_foreign_key_violation(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
            }
            _ => self.sqlite_code().is_some_and(sqlite::codes::is_foreign_key_violation),
        }
    }

    fn sqlite_code(&self) -> Option<i32> {
        match self {
            Self::Sqlite(error) => sqlite::codes::of(error),
            Self::Postgres(_) => None,
            #[cfg(feature = "faults")]
            Self::Injected(fault) => Some(fault.code()),
        }
    }
}

/// Why a column's value is not what it was read as.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    #[error("the answer has no such column")]
    Missing,

    #[error("it is NULL")]
    Null,

    #[error("its value is of another type")]
    Type,

    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Why the writer has ended without being told to. The process must stop: see [`Database::failed`](crate::Database::failed).
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The file is damaged, or a constraint was checked only at the commit. What may pass is a
    /// [`Trouble`](crate::Trouble) instead.
    #[error("the database refused a batch of writes")]
    Database(#[source] Arc<QueryError>),

    /// A transaction given to [`Database::submit_required`](crate::Database::submit_required) was refused.
    #[error("the transaction `{name}`, which later writes rely on, failed: {reason}")]
    Required { name: &'static str, reason: String },

    /// The name of the database, or of its log, means another file than the one that is open.
    #[error("{} was replaced by another file while the database was open", path.display())]
    Replaced { path: PathBuf },

    /// The lease's file is another one: another process may have the database.
    #[error("the lease {} was replaced by another file: another process may use the database", path.display())]
    LeaseLost { path: PathBuf },

    /// Another connection has written to the database while a batch waited to be written again.
    #[error("somebody else wrote to the database while it was in trouble")]
    Changed,

    /// Another process has opened the database since this one lost its session with the server.
    #[error("another process has taken the database over")]
    TakenOver,

    /// The server that answers now lacks what was committed: a standby that was promoted before it had everything, or a copy.
    #[error(
        "the database server has forgotten what was committed: it is an old copy, or a standby that lacked the newest state"
    )]
    WentBack,

    /// The writer's task was dropped, with its runtime for instance.
    #[error("the writer was torn down")]
    TornDown,
}
