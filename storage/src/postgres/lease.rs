//! Who may write: one session at a time, and no session of a process that has lost the database.

use std::fmt;
use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use crate::StorageError;

/// The first half of the advisory lock's key: "lrod". The second is the schema.
const LOCK_CLASS: i32 = 0x6c72_6f64;

/// How long an opener waits for the lease: the server takes a moment to notice that a process was killed.
const PATIENCE: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(50);

const SCHEMA_OID: &str = "(SELECT oid::integer FROM pg_namespace WHERE nspname = current_schema())";

/// What `database_writer` says of whoever wrote last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Which of the processes that ever opened the database.
    pub(crate) epoch: i64,
    /// Its name: hex digits and dashes, as Postgres writes a UUID.
    pub(crate) holder: String,
    /// How many batches it had committed, with those of its predecessors.
    pub(crate) batch: i64,
}

/// What a row means to the process that wrote it last, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Another process has opened the database since.
    Taken,
    /// What was committed is not there: this is not the server that it was committed to, nor one that has everything of it.
    WentBack,
    NotCommitted,
    /// So was the batch whose commit was not answered.
    Committed,
}

impl Held {
    pub(super) fn judge(&self, seen: &Self, is_committing: bool) -> Seen {
        if seen.epoch > self.epoch {
            return Seen::Taken;
        }
        let is_ours = seen.epoch == self.epoch && seen.holder == self.holder;
        match seen.batch.checked_sub(self.batch) {
            Some(0) if is_ours => Seen::NotCommitted,
            Some(1) if is_ours && is_committing => Seen::Committed,
            _ => Seen::WentBack,
        }
    }

    fn of(row: &PgRow) -> Result<Self, StorageError> {
        Ok(Self {
            epoch: row.try_get("epoch")?,
            holder: row.try_get("holder")?,
            batch: row.try_get("batch")?,
        })
    }
}

/// Which server, and which of its histories: a promoted standby, a restored copy and a dump are other places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) async fn try_lock(connection: &mut PgConnection) -> Result<bool, StorageError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT pg_try_advisory_lock($1, {SCHEMA_OID})"));
    Ok(sqlx::query_scalar(sql).bind(LOCK_CLASS).fetch_one(connection).await?)
}

pub(super) async fn take(connection: &mut PgConnection, database: &str) -> Result<(), StorageError> {
    let started = Instant::now();
    while !try_lock(connection).await? {
        if started.elapsed() >= PATIENCE {
            return Err(StorageError::InUse { database: database.to_owned() });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether any session has the lease.
pub(super) async fn is_taken(connection: &mut PgConnection) -> Result<bool, StorageError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND classid::bigint = $1 AND objid::bigint = {SCHEMA_OID})"
    ));
    Ok(sqlx::query_scalar(sql).bind(i64::from(LOCK_CLASS)).fetch_one(connection).await?)
}

async fn place(connection: &mut PgConnection) -> Result<Place, StorageError> {
    let sql = "SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) \
               FROM pg_control_system()";
    Ok(Place(sqlx::query_scalar(sql).fetch_one(connection).await?))
}

/// What the row says, and where.
pub(super) async fn see(connection: &mut PgConnection) -> Result<(Held, Place), StorageError> {
    let row = sqlx::query("SELECT epoch, holder, batch FROM database_writer WHERE id = 1")
        .fetch_one(&mut *connection)
        .await?;
    let held = Held::of(&row)?;
    Ok((held, place(connection).await?))
}

/// Commits where the database is now.
pub(super) async fn settle(connection: &mut PgConnection, place: &Place) -> Result<(), StorageError> {
    sqlx::query("UPDATE database_writer SET place = $1 WHERE id = 1")
        .bind(&place.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// The next epoch: from its commit on, nobody of an earlier one commits anything.
pub(super) async fn begin_epoch(connection: &mut PgConnection) -> Result<(Held, Place), StorageError> {
    let place = place(connection).await?;
    let sql = "UPDATE database_writer SET epoch = epoch + 1, holder = gen_random_uuid()::text, place = $1 \
               WHERE id = 1 AND (place IS NULL OR place = $1) RETURNING epoch, holder, batch";
    let row = sqlx::query(sql).bind(&place.0).fetch_optional(&mut *connection).await?;
    let Some(row) = row else {
        let sql = "SELECT place FROM database_writer WHERE id = 1";
        let known = sqlx::query_scalar(sql).fetch_one(connection).await?;
        return Err(StorageError::Moved { known, found: place.0 });
    };
    Ok((Held::of(&row)?, place))
}

/// Forgets where the database was: wherever it is opened next is its place.
pub(super) async fn forget_place(connection: &mut PgConnection) -> Result<(), StorageError> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('database_writer') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if known {
        sqlx::query("UPDATE database_writer SET place = NULL WHERE id = 1").execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_became_of_the_last_batch() {
        let row = |epoch, holder: &str, batch| Held { epoch, holder: holder.to_owned(), batch };
        let held = row(7, "us", 100);
        let judge = |epoch, batch, is_committing| held.judge(&row(epoch, "us", batch), is_committing);
        assert_eq!(judge(7, 100, false), Seen::NotCommitted);
        assert_eq!(judge(7, 100, true), Seen::NotCommitted);
        assert_eq!(judge(7, 101, true), Seen::Committed);
        assert_eq!(judge(7, 101, false), Seen::WentBack);
        assert_eq!(judge(7, 99, true), Seen::WentBack);
        assert_eq!(judge(8, 100, true), Seen::Taken);
        assert_eq!(judge(6, 100, false), Seen::WentBack);
        assert_eq!(held.judge(&row(7, "somebody", 100), false), Seen::WentBack);
    }
}
