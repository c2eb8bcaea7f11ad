//! The wallet's tables. Rows become domain types through `TryFrom`; all SQL of the wallet is in this folder.

pub(crate) mod invoices;
pub(crate) mod payments;
pub(crate) mod pending;
#[cfg(test)]
mod tests;

use storage::{Migration, MigrationSet, StorageError};

/// The schema of this crate.
pub(crate) const MIGRATIONS: MigrationSet = MigrationSet {
    name: "wallet",
    sqlite: &[
        Migration {
            version: 1,
            name: "invoices",
            sql: include_str!("../../../migrations/sqlite/wallet/0001_invoices.sql"),
        },
        Migration {
            version: 2,
            name: "payments",
            sql: include_str!("../../../migrations/sqlite/wallet/0002_payments.sql"),
        },
        Migration {
            version: 3,
            name: "pending",
            sql: include_str!("../../../migrations/sqlite/wallet/0003_pending.sql"),
        },
        Migration {
            version: 4,
            name: "withdrawals",
            sql: include_str!("../../../migrations/sqlite/wallet/0004_withdrawals.sql"),
        },
        Migration {
            version: 5,
            name: "refused_payment",
            sql: include_str!("../../../migrations/sqlite/wallet/0005_refused_payment.sql"),
        },
    ],
};

/// Rows that one listing gives at most.
pub(crate) const LIST_MAX: u32 = 200;

/// A text column that holds none of its codes.
pub(crate) fn out_of_range(column: &str) -> StorageError {
    StorageError::ColumnRange { column: column.to_owned() }
}
