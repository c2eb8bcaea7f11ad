use std::sync::LazyLock;

use storage::{Database, DatabaseUrl, Row, StorageError, Tx};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::values::Columns;
use crate::store::invoices::Invoice;
use crate::store::payments::Payment;
use crate::store::pending::Pending;

#[path = "../../../fuzz/values.rs"]
mod values;

/// Every text code that a column may hold.
const CODES: &[&str] = &[
    "asynchronous",
    "ordinary",
    "blocking",
    "blocked",
    "paying",
    "held",
    "in_care",
    "cancelling",
    "settled",
    "failed",
    "unblocking",
    "arrived",
    "expired",
    "refused",
];

struct Store {
    runtime: Runtime,
    database: Database,
    _folder: TempDir,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(folder.path().join("wallet.db"));
    let database = runtime.block_on(Database::open(&url, &[])).unwrap();
    Store { runtime, database, _folder: folder }
});

/// Rows with columns of any type and value: they are read or refused.
pub fn wallet_rows(data: &[u8]) {
    let data = data.to_vec();
    let store = &*STORE;
    let outcome = store.runtime.block_on(
        store.database.submit("fuzz", move |tx| Box::pin(async move { read(tx, Columns::new(&data)).await })),
    );
    assert!(outcome.is_ok());
}

async fn read(tx: &mut Tx, mut columns: Columns<'_>) -> Result<(), StorageError> {
    match columns.byte() % 3 {
        0 => {
            let row = select(
                tx,
                "SELECT $1 AS payment_hash, $2 AS attempt, $3 AS kind, $4 AS bolt11, $5 AS amount_msat, $6 AS state, \
                 $7 AS requested_deadline, $8 AS deadline, $9 AS preimage, $10 AS fee_msat, $11 AS reason, \
                 $12 AS created_at",
                &mut columns,
                12,
            );
            let _ = Payment::try_from(row.await?);
        }
        1 => {
            let row = select(
                tx,
                "SELECT $1 AS payment_hash, $2 AS bolt11, $3 AS amount_msat, $4 AS description, $5 AS created_at, \
                 $6 AS expires_at, $7 AS paid_msat, $8 AS paid_at",
                &mut columns,
                8,
            );
            let _ = Invoice::try_from(row.await?);
        }
        _ => {
            let row = select(
                tx,
                "SELECT $1 AS payment_hash, $2 AS pid_hash, $3 AS deadline, $4 AS state, $5 AS reply_to, \
                 $6 AS received_at",
                &mut columns,
                6,
            );
            let _ = Pending::try_from(row.await?);
        }
    }
    Ok(())
}

async fn select(
    tx: &mut Tx,
    sql: &'static str,
    columns: &mut Columns<'_>,
    count: usize,
) -> Result<Row, StorageError> {
    let values: Vec<_> = (0..count).map(|_| columns.any(CODES)).collect();
    tx.fetch_one(sql, &values).await
}
