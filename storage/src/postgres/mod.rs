//! Postgres: the server's sessions instead of a file.

pub(crate) mod codes;
mod connect;
mod lease;
mod link;
pub(crate) mod query;
mod url;

use std::sync::{Mutex, PoisonError};

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Row as _};

pub(crate) use link::Link;
pub use url::PostgresUrl;

use crate::database::Durability;
use crate::{MigrationSet, StorageError, migration};

/// Whether there is a table of the name `$1`.
pub(crate) const HAS_TABLE: &str = "SELECT 1 AS one WHERE to_regclass($1) IS NOT NULL";

/// A read is one view, from its first statement on.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The session of a writer that has failed: it has the lease until this is dropped, or the process ends.
#[derive(Default)]
pub(crate) struct Lease(Mutex<Option<PgConnection>>);

impl Lease {
    pub(crate) fn keep(&self, connection: Option<PgConnection>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

/// Takes the lease, applies the migrations, and begins an epoch.
pub(crate) async fn open(
    url: &PostgresUrl,
    sets: &[MigrationSet],
    durability: Durability,
) -> Result<(Link, PgPool), StorageError> {
    let mut connection = connect::writer(url, durability).await?;
    lease::take(&mut connection, &url.to_string()).await?;
    migration::run_postgres(&mut connection, sets).await?;
    let (held, place) = lease::begin_epoch(&mut connection).await?;
    let readers = connect::readers(url).await?;
    Ok((Link::new(url.clone(), durability, connection, held, place), readers))
}

pub(crate) async fn connect_readers(url: &PostgresUrl) -> Result<PgPool, StorageError> {
    connect::readers(url).await
}

/// Takes the server that the URL names for the one with the newest state, whichever it is: see [`StorageError::Moved`].
pub(crate) async fn accept_place(url: &PostgresUrl) -> Result<(), StorageError> {
    let mut connection = connect::writer(url, Durability::Synced).await?;
    lease::take(&mut connection, &url.to_string()).await?;
    lease::forget_place(&mut connection).await?;
    sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// What a look at a server found. It changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLook {
    /// As it calls itself: `15.14`.
    pub version: String,
    /// Why a database on it is not opened, if it is not.
    pub refusal: Option<String>,
    /// Whether a process has the lease.
    pub is_in_use: bool,
    /// Whether no process has ever opened it.
    pub is_new: bool,
    /// How large the database is.
    pub bytes: u64,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Whether a commit waits for a standby. Without one, a failover loses what the standby lacked.
    pub has_synchronous_standby: bool,
}

impl PostgresUrl {
    /// Connects and looks.
    ///
    /// # Errors
    /// [`StorageError::Connect`] or [`StorageError::Query`] if it cannot.
    pub async fn look(&self) -> Result<ServerLook, StorageError> {
        let mut connection = connect::onlooker(self).await?;
        let refusal = connect::refusal(&mut connection).await?;
        let is_in_use = lease::is_taken(&mut connection).await?;
        let sql = "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes, \
                   current_setting('synchronous_standby_names') AS standbys, \
                   to_regclass('database_writer') IS NULL AS is_new, \
                   COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted";
        let row = sqlx::query(sql).fetch_one(&mut connection).await?;
        let look = ServerLook {
            version: row.try_get("version")?,
            refusal,
            is_in_use,
            is_new: row.try_get("is_new")?,
            bytes: row.try_get::<i64, _>("bytes")?.unsigned_abs(),
            is_encrypted: row.try_get("is_encrypted")?,
            has_synchronous_standby: !row.try_get::<String, _>("standbys")?.is_empty(),
        };
        connection.close().await?;
        Ok(look)
    }

    /// Whether the server is on another machine, as far as the URL says.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        let options = self.options();
        options.get_socket().is_none() && !["localhost", "127.0.0.1", "::1"].contains(&options.get_host())
    }
}
