use std::collections::BTreeMap;
use std::time::Instant;

use rusqlite::{Connection, Error, Transaction, TransactionBehavior, params};
use sqlx::migrate::MigrateError;

use crate::migration::STORAGE;
use crate::{MigrationSet, QueryError, StorageError};

/// Brings the database up to all the sets, or, in one transaction, changes nothing. The version tables are as sqlx makes them, on
/// Postgres.
pub(super) fn run(connection: &mut Connection, sets: &[MigrationSet]) -> Result<(), StorageError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(QueryError::from)?;
    for set in std::iter::once(&STORAGE).chain(sets) {
        apply(&transaction, set).map_err(|error| set.explain(error))?;
    }
    Ok(transaction.commit().map_err(QueryError::from)?)
}

fn apply(transaction: &Transaction<'_>, set: &MigrationSet) -> Result<(), MigrateError> {
    let table = set.version_table();
    let mut applied = applied(transaction, &table).map_err(source)?;
    for migration in set.migrator(set.sqlite).iter() {
        match applied.remove(&migration.version) {
            Some(checksum) if checksum == *migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => {
                let started = Instant::now();
                transaction.execute_batch(migration.sql.as_str()).map_err(source)?;
                let nanos = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
                let sql = format!(
                    "INSERT INTO {table} (version, description, success, checksum, execution_time) \
                     VALUES ($1, $2, TRUE, $3, $4)"
                );
                let row = params![migration.version, migration.description, migration.checksum, nanos];
                transaction.execute(&sql, row).map_err(source)?;
            }
        }
    }
    match applied.first_key_value() {
        Some((version, _)) => Err(MigrateError::VersionMissing(*version)),
        None => Ok(()),
    }
}

/// The checksums of what was applied before, by version.
fn applied(transaction: &Transaction<'_>, table: &str) -> Result<BTreeMap<i64, Vec<u8>>, Error> {
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
         execution_time BIGINT NOT NULL)"
    ))?;
    let mut statement = transaction.prepare(&format!("SELECT version, checksum FROM {table}"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn source(error: Error) -> MigrateError {
    MigrateError::Source(error.into())
}
