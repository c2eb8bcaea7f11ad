//! What is to be delivered.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use storage::{StorageError, Tx, values};

use crate::store::{StoreError, damage};

/// In place of the deliveries of a message that is damaged: nobody gets it, and nobody is woken for it.
const SET_ASIDE: i64 = -1;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMessage {
    /// The row; later ones are larger.
    pub id: i64,
    /// The encoded `onion_message`.
    pub message: Vec<u8>,
}

/// What waits for a recipient beyond row `after`, in order of arrival. A message that is not what it was when it came is set
/// aside: its recipient could not read it, and it must hold up no other.
///
/// # Errors
/// When the database fails.
pub async fn waiting(
    tx: &mut Tx,
    recipient: PublicKey,
    after: i64,
    limit: u32,
) -> Result<Vec<WaitingMessage>, StorageError> {
    loop {
        let rows = tx
            .fetch_all(
                "SELECT id, message_hash, message FROM mailbox_message \
                 WHERE recipient = $1 AND id > $2 AND deliveries >= 0 ORDER BY id LIMIT $3",
                &values![recipient.serialize(), after, limit],
            )
            .await?;
        let mut waiting = Vec::with_capacity(rows.len());
        let mut damaged = false;
        for row in &rows {
            let (id, message) = (row.get_i64("id")?, row.get_blob("message")?);
            if row.get_blob("message_hash")? == sha256::Hash::hash(&message).to_byte_array() {
                waiting.push(WaitingMessage { id, message });
                continue;
            }
            damaged = true;
            let error = StoreError::Column { table: "mailbox_message", column: "message" };
            damage::stumbled("mailbox_message", id.to_string(), &error);
            tx.execute("UPDATE mailbox_message SET deliveries = $2 WHERE id = $1", &values![id, SET_ASIDE])
                .await?;
        }
        // A page of nothing else must not look like the end.
        if !damaged || !waiting.is_empty() {
            return Ok(waiting);
        }
    }
}
