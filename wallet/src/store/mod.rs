//! The wallet's tables. Rows become domain types through `TryFrom`; all SQL of the wallet is in this folder.

pub(crate) mod invoices;
pub(crate) mod payments;
pub(crate) mod pending;
#[cfg(test)]
mod tests;

use storage::{MigrationSet, StorageError};

/// The schema of this crate.
pub(crate) const MIGRATIONS: MigrationSet = storage::migration_set!("wallet":
    "0001_invoices",
    "0002_payments",
    "0003_pending",
    "0004_withdrawals",
    "0005_refused_payment",
    "0006_withdrawal_repeats",
);

/// Rows that one listing gives at most.
pub(crate) const LIST_MAX: u32 = 200;

/// A text column that holds none of its codes.
pub(crate) fn out_of_range(column: &str) -> StorageError {
    StorageError::ColumnRange { column: column.to_owned() }
}
