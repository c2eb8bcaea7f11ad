use std::sync::LazyLock;

use futures::FutureExt;
use storage::{Database, DatabaseUrl, ReadTx, StorageError, Tx, Value};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::values::Columns;
use crate::store::devices::Device;
use crate::store::mailbox::MessageRow;
use crate::store::wakes::WakeRow;
use crate::store::{MIGRATIONS, holds};

#[path = "../../../fuzz/values.rs"]
mod values;

/// Every text code that a column may hold.
const CODES: &[&str] = &[
    "waiting",
    "unblocked",
    "failing",
    "settled",
    "failed",
    "unused",
    "held",
    "releasing",
    "claimed",
    "failed_back",
    "cancelled",
    "refused",
    "expired",
    "too_late",
    "too_small",
    "over_limit",
    "payer_channel_closing",
    "hold_ended",
    "downstream",
    "vanished",
    "webhook",
    "onion_message",
    "payment_incoming",
    "payment_settled",
    "payment_failed",
    "expiry_soon",
];

/// Hashes and parts of one hold.
const ROWS_MAX: u8 = 4;

struct Store {
    runtime: Runtime,
    database: Database,
    _folder: TempDir,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(folder.path().join("lsp.db"));
    let database = runtime.block_on(Database::open(&url, &[MIGRATIONS])).unwrap();
    Store { runtime, database, _folder: folder }
});

/// Rows with columns of any type and value: they are read or refused, and a hold that is read is consistent.
pub fn server_rows(data: &[u8]) {
    let data = data.to_vec();
    let store = &*STORE;
    let outcome = store.runtime.block_on(store.database.submit("fuzz", move |tx| {
        Box::pin(async move {
            read(tx, Columns::new(&data)).await?;
            // Nothing stays.
            Err::<(), _>(StorageError::Aborted)
        })
    }));
    assert!(outcome.is_err() && store.database.failed().now_or_never().is_none());
}

async fn read(tx: &mut Tx, mut columns: Columns<'_>) -> Result<(), StorageError> {
    match columns.byte() % 4 {
        0 => {
            let row = select(
                tx,
                "SELECT $1 AS device_id, $2 AS node_id, $3 AS platform, $4 AS sealed_token, $5 AS registered_at, \
                 $6 AS paused_until, $7 AS registrations, $8 AS token_index, $9 AS token_key, $10 AS topic, \
                 $11 AS environment, $12 AS seal_key",
                &mut columns,
                12,
            );
            let _ = Device::try_from(&row.await?);
        }
        1 => {
            let row = select(
                tx,
                "SELECT $1 AS id, $2 AS recipient, $3 AS previous_hop, $4 AS message_bytes, $5 AS received_at",
                &mut columns,
                5,
            );
            let _ = MessageRow::try_from(&row.await?);
        }
        2 => {
            let row = select(
                tx,
                "SELECT $1 AS wake_id, $2 AS node_id, $3 AS reason, $4 AS opened_at, $5 AS expires_at, $6 AS due_at, \
                 $7 AS attempts",
                &mut columns,
                7,
            );
            let _ = WakeRow::try_from(&row.await?);
        }
        _ => hold(tx, &mut columns).await?,
    }
    Ok(())
}

async fn select(
    tx: &mut ReadTx,
    sql: &'static str,
    columns: &mut Columns<'_>,
    count: usize,
) -> Result<storage::Row, StorageError> {
    tx.fetch_one(sql, &take(columns, count)).await
}

fn take(columns: &mut Columns<'_>, count: usize) -> Vec<Value> {
    (0..count).map(|_| columns.any(CODES)).collect()
}

/// The tables of a hold are not strict: what an operator's hand or a damaged file left there is read all the same.
async fn hold(tx: &mut Tx, columns: &mut Columns<'_>) -> Result<(), StorageError> {
    let hashes = columns.byte() % ROWS_MAX;
    let parts = columns.byte() % ROWS_MAX;
    tx.execute(
        "INSERT INTO hold (id, payer, pid_hash, requested_deadline, deadline, state, cause, created_at, updated_at) \
         VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)",
        &take(columns, 8),
    )
    .await?;
    for position in 0..hashes {
        let mut row = vec![Value::from(position)];
        row.extend(take(columns, 1));
        tx.execute("INSERT INTO hold_hash (hold_id, position, payment_hash) VALUES (1, $1, $2)", &row)
            .await?;
    }
    for position in 0..parts {
        let mut row = vec![Value::from(position)];
        row.extend(take(columns, 11));
        tx.execute(
            "INSERT INTO hold_part (hold_id, position, intercept_id, payment_hash, inbound_channel_id, \
             inbound_htlc_id, inbound_amount_msat, outbound_amount_msat, inbound_expiry, outgoing_expiry, \
             next_hop_scid, state, cause) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &row,
        )
        .await?;
    }
    if let Ok(Some(row)) = holds::load(tx, 1).await {
        let group = row.hold.group();
        assert_eq!((group.terms.payment_hashes.len(), group.parts.len()), (hashes.into(), parts.into()));
    }
    Ok(())
}
