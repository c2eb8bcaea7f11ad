//! The payers' payment_pending packets in our care.

use bitcoin::secp256k1::PublicKey;
use storage::{ReadTx, Row, StorageError, Tx, values};

use super::{StoreError, damage};

/// One page of the whole table.
pub(super) const PAGE: &str = "SELECT hold_id, next_hop, message, attempts, due_at, kept_at FROM pending_message \
     WHERE hold_id > $1 ORDER BY hold_id LIMIT $2";

/// One packet, as it leaves for its next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMessage {
    /// The hold it belongs to.
    pub hold_id: i64,
    /// The payer of that hold.
    pub payer: PublicKey,
    /// Who gets it from us.
    pub next_hop: PublicKey,
    /// The encoded `onion_message`.
    pub message: Vec<u8>,
    /// How often it was sent.
    pub attempts: u32,
}

/// Keeps a packet; a newer one for the same hold replaces it.
///
/// # Errors
/// When the database fails.
pub async fn keep(
    tx: &mut Tx,
    hold_id: i64,
    next_hop: PublicKey,
    message: &[u8],
    due_at: u64,
    now_unix: u64,
) -> Result<(), StorageError> {
    tx.execute(
        "INSERT INTO pending_message (hold_id, next_hop, message, attempts, due_at, kept_at) \
         VALUES ($1, $2, $3, 1, $4, $5) \
         ON CONFLICT (hold_id) DO UPDATE SET next_hop = excluded.next_hop, message = excluded.message, \
         attempts = 1, due_at = excluded.due_at",
        &[
            hold_id.into(),
            next_hop.serialize().into(),
            message.into(),
            due_at.try_into()?,
            now_unix.try_into()?,
        ],
    )
    .await
    .map(drop)
}

/// Forgets a hold's packet.
///
/// # Errors
/// When the database fails.
pub async fn drop_for(tx: &mut Tx, hold_id: i64) -> Result<(), StorageError> {
    tx.execute("DELETE FROM pending_message WHERE hold_id = $1", &values![hold_id]).await.map(drop)
}

/// Whether a hold's packet is in our care.
///
/// # Errors
/// When the database fails.
pub async fn is_kept(tx: &mut ReadTx, hold_id: i64) -> Result<bool, StorageError> {
    let row = tx
        .fetch_optional("SELECT 1 AS found FROM pending_message WHERE hold_id = $1", &values![hold_id])
        .await?;
    Ok(row.is_some())
}

/// What is due.
#[derive(Debug, Default)]
pub struct Due {
    /// Packets, oldest first.
    pub messages: Vec<PendingMessage>,
    /// Holds whose packet cannot be read.
    pub damaged: Vec<i64>,
}

/// Packets that are due, at most `limit`, and the damaged ones among them, which are to be put off with [`put_off`]. One whose time
/// is damaged is never due: it is told, and left as it is.
///
/// # Errors
/// When the database fails.
pub async fn due(tx: &mut ReadTx, now_unix: u64, limit: u32) -> Result<Due, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT m.hold_id, h.payer, m.next_hop, m.message, m.attempts \
             FROM pending_message m JOIN hold h ON h.id = m.hold_id \
             WHERE m.due_at BETWEEN 0 AND $1 ORDER BY m.due_at LIMIT $2",
            &[now_unix.try_into()?, limit.into()],
        )
        .await?;
    let timeless = tx
        .fetch_all("SELECT hold_id, due_at FROM pending_message WHERE due_at < 0 LIMIT $1", &values![limit])
        .await?;
    for row in &timeless {
        if let Err(error) = row.get_u64("due_at") {
            damage::stumbled("pending_message", damage::id_of(row, "hold_id"), &error.into());
        }
    }
    let mut due = Due::default();
    for row in &rows {
        match message(row) {
            Ok(message) => due.messages.push(message),
            Err(error) => {
                let hold_id = row.get_i64("hold_id")?;
                damage::stumbled("pending_message", hold_id.to_string(), &error);
                due.damaged.push(hold_id);
            }
        }
    }
    Ok(due)
}

fn message(row: &Row) -> Result<PendingMessage, StoreError> {
    Ok(PendingMessage {
        hold_id: row.get_i64("hold_id")?,
        payer: key(row, "payer")?,
        next_hop: key(row, "next_hop")?,
        message: row.get_blob("message")?,
        attempts: row.get_u32("attempts")?,
    })
}

fn key(row: &Row, column: &'static str) -> Result<PublicKey, StoreError> {
    PublicKey::from_slice(&row.get_blob(column)?)
        .map_err(|_| StoreError::Column { table: "pending_message", column })
}

/// Whether every column can be read.
pub(super) fn whole(row: &Row) -> Result<(), StoreError> {
    key(row, "next_hop")?;
    row.get_blob("message")?;
    row.get_u32("attempts")?;
    row.get_u64("due_at")?;
    row.get_u64("kept_at")?;
    Ok(())
}

/// Looks at a packet again later, without a sending.
///
/// # Errors
/// When the database fails.
pub async fn put_off(tx: &mut Tx, hold_id: i64, due_at: u64) -> Result<(), StorageError> {
    let sql = "UPDATE pending_message SET due_at = $2 WHERE hold_id = $1";
    tx.execute(sql, &[hold_id.into(), due_at.try_into()?]).await.map(drop)
}

/// Records one more sending.
///
/// # Errors
/// When the database fails.
pub async fn sent(tx: &mut Tx, hold_id: i64, due_at: u64) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE pending_message SET attempts = CASE WHEN attempts < $3 THEN attempts + 1 ELSE $3 END, due_at = $2 \
         WHERE hold_id = $1",
        &[hold_id.into(), due_at.try_into()?, u32::MAX.into()],
    )
    .await
    .map(drop)
}
