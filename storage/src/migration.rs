use sqlx::migrate::{MigrateError, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, SqlSafeStr as _};

use crate::StorageError;

/// The schema of one part of the program, with a version table of its own: `storage`, `server` and `wallet` grow
/// independently in one database.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSet {
    /// Lower-case letters and `_`; part of the version table's name, so never changed.
    pub name: &'static str,
    /// For SQLite, oldest first.
    pub sqlite: &'static [Migration],
}

/// One step of a schema. What was released is never edited: the text's checksum is verified at every start.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// From 1, without gaps.
    pub version: i64,
    pub name: &'static str,
    /// One or more statements, from the file with `include_str!`. They run in a transaction.
    ///
    /// No constraint may be `DEFERRABLE`: a violation would show only at the commit of a whole batch, and stop the process.
    pub sql: &'static str,
}

/// The tables of this crate itself.
pub(crate) const STORAGE: MigrationSet = MigrationSet {
    name: "storage",
    sqlite: &[
        Migration {
            version: 1,
            name: "kv",
            sql: include_str!("../../migrations/sqlite/storage/0001_kv.sql"),
        },
        Migration {
            version: 2,
            name: "generation",
            sql: include_str!("../../migrations/sqlite/storage/0002_generation.sql"),
        },
    ],
};

/// Brings the database up to all the sets, or, in one transaction, changes nothing.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    sets: &[MigrationSet],
) -> Result<(), StorageError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for set in std::iter::once(&STORAGE).chain(sets) {
        debug_assert!(set.sqlite.iter().zip(1..).all(|(migration, version)| migration.version == version));
        let mut migrator =
            Migrator::with_migrations(set.sqlite.iter().map(|migration| migration.to_sqlx()).collect());
        migrator.dangerous_set_table_name(format!("_migrations_{}", set.name));
        migrator.run_direct(None, &mut *transaction, false).await.map_err(|error| set.explain(error))?;
    }
    Ok(transaction.commit().await?)
}

impl Migration {
    fn to_sqlx(self) -> sqlx::migrate::Migration {
        let sql = self.sql.into_sql_str();
        sqlx::migrate::Migration::new(self.version, self.name.into(), MigrationType::Simple, sql, false)
    }
}

impl MigrationSet {
    fn explain(&self, error: MigrateError) -> StorageError {
        let set = self.name;
        match error {
            MigrateError::VersionMissing(version) => StorageError::NewerDatabase { set, version },
            MigrateError::VersionMismatch(version) => StorageError::ChangedMigration { set, version },
            source => StorageError::Migrate { set, source },
        }
    }
}
