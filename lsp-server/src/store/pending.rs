//! The payers' payment_pending packets in our care.

use bitcoin::secp256k1::PublicKey;
use storage::{ReadTx, StorageError, Tx, values};

use super::StoreError;

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

/// Packets that are due, oldest first.
///
/// # Errors
/// When the database fails or a row cannot be read.
pub async fn due(tx: &mut ReadTx, now_unix: u64, limit: u32) -> Result<Vec<PendingMessage>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT m.hold_id, h.payer, m.next_hop, m.message, m.attempts \
             FROM pending_message m JOIN hold h ON h.id = m.hold_id \
             WHERE m.due_at <= $1 ORDER BY m.due_at LIMIT $2",
            &[now_unix.try_into()?, limit.into()],
        )
        .await?;
    let column = |column| StoreError::Column { table: "pending_message", column };
    rows.iter()
        .map(|row| {
            Ok(PendingMessage {
                hold_id: row.get_i64("hold_id")?,
                payer: PublicKey::from_slice(&row.get_blob("payer")?).map_err(|_| column("payer"))?,
                next_hop: PublicKey::from_slice(&row.get_blob("next_hop")?)
                    .map_err(|_| column("next_hop"))?,
                message: row.get_blob("message")?,
                attempts: row.get_u32("attempts")?,
            })
        })
        .collect()
}

/// Records one more sending.
///
/// # Errors
/// When the database fails.
pub async fn sent(tx: &mut Tx, hold_id: i64, due_at: u64) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE pending_message SET attempts = attempts + 1, due_at = $2 WHERE hold_id = $1",
        &[hold_id.into(), due_at.try_into()?],
    )
    .await
    .map(drop)
}
