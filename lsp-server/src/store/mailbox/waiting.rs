//! What is to be delivered.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use storage::{ReadTx, StorageError, Tx, values};

use crate::store::{StoreError, damage};

/// In place of the deliveries of a message that is damaged: nobody gets it, and nobody is woken for it.
const SET_ASIDE: i64 = -1;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMessage {
    /// The row; a recipient's later ones are larger.
    pub id: i64,
    /// The encoded `onion_message`.
    pub message: Vec<u8>,
}

/// Some of what waits for a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingMessages {
    /// In order of arrival.
    pub messages: Vec<WaitingMessage>,
    /// Rows between them whose message is not what it was when it came: see [`set_aside`].
    pub damaged: Vec<i64>,
}

/// What waits for a recipient beyond row `after`. Nothing does if neither a message nor a damaged row is found.
///
/// # Errors
/// When the database fails.
pub async fn waiting(
    tx: &mut ReadTx,
    recipient: PublicKey,
    after: i64,
    limit: u32,
) -> Result<WaitingMessages, StorageError> {
    let rows = tx
        .fetch_all(
            "SELECT id, message_hash, message FROM mailbox_message \
             WHERE recipient = $1 AND id > $2 AND deliveries >= 0 ORDER BY id LIMIT $3",
            &values![recipient.serialize(), after, limit],
        )
        .await?;
    let mut found = WaitingMessages::default();
    for row in &rows {
        let (id, message) = (row.get_i64("id")?, row.get_blob("message")?);
        if row.get_blob("message_hash")? == sha256::Hash::hash(&message).to_byte_array() {
            found.messages.push(WaitingMessage { id, message });
        } else {
            let error = StoreError::Column { table: "mailbox_message", column: "message" };
            damage::stumbled("mailbox_message", id.to_string(), &error);
            found.damaged.push(id);
        }
    }
    Ok(found)
}

/// These messages are damaged: their recipient could not read them, and they must hold up no other.
///
/// # Errors
/// When the database fails.
pub async fn set_aside(tx: &mut Tx, ids: &[i64]) -> Result<(), StorageError> {
    for id in ids {
        tx.execute("UPDATE mailbox_message SET deliveries = $2 WHERE id = $1", &values![*id, SET_ASIDE])
            .await?;
    }
    Ok(())
}
