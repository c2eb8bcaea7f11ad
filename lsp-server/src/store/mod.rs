//! Every table of the server; one file per table. Functions take the transaction they run in.

pub mod ages;
pub mod challenges;
pub mod damage;
pub mod devices;
pub mod holds;
pub mod mailbox;
pub mod notifications;
pub mod parts;
pub mod pending;
pub mod retention;
pub mod token_keys;
pub mod wakes;

use storage::MigrationSet;

/// The server's tables, applied in order.
pub const MIGRATIONS: MigrationSet = storage::migration_set!("server":
    "0001_holds",
    "0002_mailbox",
    "0003_devices",
    "0004_wakes",
    "0005_time",
    "0006_wake_ledger",
    "0007_device_test",
    "0008_limits",
    "0009_device_push",
    "0010_sealed_tokens",
    "0011_notifications",
    "0012_indexes",
    "0013_hold_digest",
    "0014_wake_lanes",
);

/// A row that does not make sense. Fail closed: act on none of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Storage(#[from] storage::StorageError),
    /// A hold's rows contradict each other.
    #[error("hold {hold_id} cannot be read")]
    Hold {
        /// The row's id.
        hold_id: i64,
        /// What is wrong.
        source: protocol::hold::RowError,
    },
    /// A column holds what no version of this program wrote.
    #[error("column {column} of {table} cannot be read")]
    Column {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

impl StoreError {
    /// Whether one row is to blame, and the database works.
    #[must_use]
    pub const fn is_of_a_row(&self) -> bool {
        match self {
            Self::Hold { .. } | Self::Column { .. } => true,
            Self::Storage(error) => {
                matches!(
                    error,
                    storage::StorageError::Column { .. } | storage::StorageError::ColumnRange { .. }
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::testing::{Scratch, assert_migrations_listed, schema};

    use super::*;

    #[test]
    fn every_migration_is_listed() {
        assert_migrations_listed(&MIGRATIONS);
    }

    #[tokio::test]
    async fn both_kinds_of_database_have_the_same_tables() {
        let Some(postgres) = Scratch::postgres() else { return };
        let sqlite = Scratch::sqlite();
        let (ours, theirs) = (sqlite.open(&[MIGRATIONS]).await, postgres.open(&[MIGRATIONS]).await);
        let (ours, theirs) = (schema(&ours, false).await, schema(&theirs, true).await);
        assert!(ours.contains(&"hold.pid_hash bytea NOT NULL".to_owned()), "{ours:#?}");
        assert!(ours.contains(&"hold_live ON hold (payer) WHERE".to_owned()), "{ours:#?}");
        assert_eq!(ours, theirs);
    }
}
