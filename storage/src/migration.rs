use sqlx::migrate::{MigrateError, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
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
    /// For Postgres: the same steps.
    pub postgres: &'static [Migration],
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

/// A [`MigrationSet`] from the files `migrations/KIND/SET/FILE.sql` in the workspace, for both kinds of database:
/// `migration_set!("server": "0001_holds", "0002_mailbox")`.
#[macro_export]
macro_rules! migration_set {
    ($set:literal: $($file:literal),+ $(,)?) => {
        $crate::MigrationSet {
            name: $set,
            sqlite: $crate::migration_set!(@kind "sqlite" $set $($file)+),
            postgres: $crate::migration_set!(@kind "postgres" $set $($file)+),
        }
    };
    (@kind $kind:literal $set:literal $($file:literal)+) => {
        &[$($crate::Migration::of_file(
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/", $kind, "/", $set, "/", $file, ".sql")),
        )),+]
    };
}

/// The tables of this crate itself.
pub(crate) const STORAGE: MigrationSet = MigrationSet {
    sqlite: crate::migration_set!(@kind "sqlite" "storage" "0001_kv" "0002_generation"),
    postgres: crate::migration_set!(@kind "postgres" "storage" "0001_kv" "0002_generation" "0003_writer"),
    name: "storage",
};

/// Brings the database up to all the sets, or, in one transaction, changes nothing.
pub(crate) async fn run_postgres(
    connection: &mut PgConnection,
    sets: &[MigrationSet],
) -> Result<(), StorageError> {
    let mut transaction = connection.begin().await?;
    for set in std::iter::once(&STORAGE).chain(sets) {
        let migrator = set.migrator(set.postgres);
        migrator.run_direct(None, &mut *transaction, false).await.map_err(|error| set.explain(error))?;
    }
    Ok(transaction.commit().await?)
}

impl Migration {
    /// A step whose file is called `NNNN_name`.
    ///
    /// # Panics
    /// If it is not, which the compiler notices.
    #[must_use]
    pub const fn of_file(file: &'static str, sql: &'static str) -> Self {
        let (digits, name) = file.split_at(4);
        let (separator, name) = name.split_at(1);
        assert!(separator.as_bytes()[0] == b'_');
        let (mut version, mut position) = (0, 0);
        while position < digits.len() {
            let digit = digits.as_bytes()[position];
            assert!(digit.is_ascii_digit());
            version = version * 10 + (digit - b'0') as i64;
            position += 1;
        }
        Self { version, name, sql }
    }

    fn to_sqlx(self) -> sqlx::migrate::Migration {
        let sql = self.sql.into_sql_str();
        sqlx::migrate::Migration::new(self.version, self.name.into(), MigrationType::Simple, sql, false)
    }
}

impl MigrationSet {
    pub(crate) fn version_table(&self) -> String {
        format!("_migrations_{}", self.name)
    }

    pub(crate) fn migrator(&self, steps: &[Migration]) -> Migrator {
        debug_assert!(steps.iter().zip(1..).all(|(migration, version)| migration.version == version));
        let mut migrator =
            Migrator::with_migrations(steps.iter().map(|migration| migration.to_sqlx()).collect());
        migrator.dangerous_set_table_name(self.version_table());
        // Whoever migrates has the lease.
        migrator.set_locking(false);
        migrator
    }

    pub(crate) fn explain(&self, error: MigrateError) -> StorageError {
        let set = self.name;
        match error {
            MigrateError::VersionMissing(version) => StorageError::NewerDatabase { set, version },
            MigrateError::VersionMismatch(version) => StorageError::ChangedMigration { set, version },
            source => StorageError::Migrate { set, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_is_listed() {
        crate::testing::assert_migrations_listed(&STORAGE);
    }

    #[test]
    fn a_file_says_which_step_it_is() {
        let step = Migration::of_file("0012_sealed_tokens", "SELECT 1");
        assert_eq!((step.version, step.name, step.sql), (12, "sealed_tokens", "SELECT 1"));
    }
}
