//! How many rows of each kind are not over, and how old the oldest is. Reads every table with such rows, writes none.

use notifier::GatewayKind;
use protocol::units::BlockHeight;
use storage::{ReadTx, StorageError, values};

use super::damage::{readable_amount, readable_time};

/// The rows of one kind that somebody has still to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Which table.
    pub table: &'static str,
    /// In which state; empty where there is only one.
    pub state: String,
    /// How many.
    pub rows: u64,
    /// Since when the oldest of them is so, in seconds since 1970.
    pub oldest_unix: u64,
    /// What they are worth, in millisatoshi: of parts only.
    pub amount_msat: u64,
}

/// One query a table; `since` is when a row came to be as it is.
const QUERIES: [(&str, &str); 7] = [
    (
        "hold",
        concat!(
            "SELECT state, COUNT(*) AS n, MIN(",
            readable_time!("updated_at"),
            ") AS since, 0 AS msat FROM hold \
         WHERE state IN ('waiting', 'unblocked', 'failing') GROUP BY state"
        ),
    ),
    (
        "part",
        concat!(
            "SELECT state, COUNT(*) AS n, MIN(",
            readable_time!("updated_at"),
            ") AS since, CAST(COALESCE(SUM(",
            readable_amount!("inbound_amount_msat"),
            "), 0) AS BIGINT) AS msat \
         FROM hold_part WHERE state IN ('held', 'releasing', 'claimed', 'failing', 'failed_back') GROUP BY state"
        ),
    ),
    (
        "pending_message",
        concat!(
            "SELECT '' AS state, COUNT(*) AS n, MIN(",
            readable_time!("kept_at"),
            ") AS since, 0 AS msat FROM pending_message"
        ),
    ),
    (
        "mailbox_message",
        "SELECT '' AS state, COALESCE((SELECT messages FROM mailbox_total WHERE id = 1), 0) AS n, \
         (SELECT MIN(received_at) FROM mailbox_message WHERE received_at BETWEEN 0 AND 253402300799) AS since, 0 AS msat",
    ),
    (
        "wake",
        concat!(
            "SELECT '' AS state, COUNT(*) AS n, MIN(",
            readable_time!("opened_at"),
            ") AS since, 0 AS msat FROM wake WHERE state = 'open'"
        ),
    ),
    (
        "notification",
        concat!(
            "SELECT '' AS state, COUNT(*) AS n, MIN(",
            readable_time!("opened_at"),
            ") AS since, 0 AS msat FROM notification WHERE state = 'open'"
        ),
    ),
    (
        "used_challenge",
        "SELECT '' AS state, CAST(COALESCE((SELECT SUM(n) FROM kept_count \
         WHERE of_what IN ('used_challenge', 'used_challenge_without_channel') AND n >= 0), 0) AS BIGINT) AS n, \
         (SELECT MIN(expires_at) FROM (SELECT MIN(expires_at) AS expires_at FROM used_challenge \
         WHERE has_channel = 0 AND expires_at BETWEEN 0 AND 253402300799 UNION ALL SELECT MIN(expires_at) FROM used_challenge \
         WHERE has_channel = 1 AND expires_at BETWEEN 0 AND 253402300799) AS oldest) AS since, 0 AS msat",
    ),
];

/// Every kind of row that has any.
///
/// # Errors
/// When the database fails.
pub async fn unfinished(tx: &mut ReadTx) -> Result<Vec<Unfinished>, StorageError> {
    let mut found = Vec::new();
    for (table, sql) in QUERIES {
        for row in tx.fetch_all(sql, &[]).await? {
            let rows = row.get_u64("n")?;
            if rows == 0 {
                continue;
            }
            found.push(Unfinished {
                table,
                state: row.get_text("state")?,
                rows,
                oldest_unix: row.opt_u64("since")?.unwrap_or(0),
                amount_msat: row.get_u64("msat")?,
            });
        }
    }
    Ok(found)
}

/// The deadline that comes first, of those after `height` that something is held under.
///
/// # Errors
/// When the database fails.
pub async fn nearest_deadline(
    tx: &mut ReadTx,
    height: BlockHeight,
) -> Result<Option<BlockHeight>, StorageError> {
    let row = tx
        .fetch_one(
            "SELECT CAST(MIN(deadline) AS BIGINT) AS deadline FROM hold \
             WHERE deadline BETWEEN $1 AND 4294967295 AND state IN ('waiting', 'unblocked', 'failing') \
             AND EXISTS (SELECT 1 FROM hold_part WHERE hold_part.hold_id = hold.id AND hold_part.state = 'held')",
            &values![height.0],
        )
        .await?;
    Ok(row.opt_u32("deadline")?.map(BlockHeight))
}

/// Since when the push has been due that is due longest, of wakes and notifications, in seconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn oldest_due_push(tx: &mut ReadTx, now_unix: u64) -> Result<Option<u64>, StorageError> {
    let mut oldest = tx
        .fetch_one(
            "SELECT MIN(due_at) AS due_at FROM notification \
             WHERE state = 'open' AND due_at BETWEEN 0 AND $1 AND expires_at > $1",
            &[now_unix.try_into()?],
        )
        .await?
        .opt_u64("due_at")?;
    // Lane by lane, as the index has them.
    for lane in std::iter::once("").chain(GatewayKind::ALL.map(GatewayKind::as_str)) {
        let row = tx
            .fetch_one(
                "SELECT MIN(due_at) AS due_at FROM wake \
                 WHERE state = 'open' AND lane = $2 AND due_at <= $1 AND expires_at > $1",
                &[now_unix.try_into()?, lane.into()],
            )
            .await?;
        oldest = [oldest, row.opt_u64("due_at")?].into_iter().flatten().min();
    }
    Ok(oldest)
}
