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

use storage::{Migration, MigrationSet};

/// The server's tables, applied in order.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    name: "server",
    sqlite: &[
        Migration {
            version: 1,
            name: "holds",
            sql: include_str!("../../../migrations/sqlite/server/0001_holds.sql"),
        },
        Migration {
            version: 2,
            name: "mailbox",
            sql: include_str!("../../../migrations/sqlite/server/0002_mailbox.sql"),
        },
        Migration {
            version: 3,
            name: "devices",
            sql: include_str!("../../../migrations/sqlite/server/0003_devices.sql"),
        },
        Migration {
            version: 4,
            name: "wakes",
            sql: include_str!("../../../migrations/sqlite/server/0004_wakes.sql"),
        },
        Migration {
            version: 5,
            name: "time",
            sql: include_str!("../../../migrations/sqlite/server/0005_time.sql"),
        },
        Migration {
            version: 6,
            name: "wake_ledger",
            sql: include_str!("../../../migrations/sqlite/server/0006_wake_ledger.sql"),
        },
        Migration {
            version: 7,
            name: "device_test",
            sql: include_str!("../../../migrations/sqlite/server/0007_device_test.sql"),
        },
        Migration {
            version: 8,
            name: "limits",
            sql: include_str!("../../../migrations/sqlite/server/0008_limits.sql"),
        },
        Migration {
            version: 9,
            name: "device_push",
            sql: include_str!("../../../migrations/sqlite/server/0009_device_push.sql"),
        },
        Migration {
            version: 10,
            name: "sealed_tokens",
            sql: include_str!("../../../migrations/sqlite/server/0010_sealed_tokens.sql"),
        },
        Migration {
            version: 11,
            name: "notifications",
            sql: include_str!("../../../migrations/sqlite/server/0011_notifications.sql"),
        },
    ],
};

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
