//! What waits in all, and from each sender: kept with every change, so that a bound costs no look at all of it.

#[cfg(test)]
mod tests;

use protocol::mailbox::{Sender, Usage};
use storage::{Row, StorageError, Tx, Value};

use super::{NewMessage, place};

/// The most bytes that a row's `message_bytes` counts for. No `onion_message` is longer.
const COUNTED_BYTES_MAX: i64 = 65_535;

/// All peers without a channel count together, under this. A peer's node id is longer.
const STRANGERS: [u8; 1] = [0];

/// The bytes of messages as a sum takes them, of those that a condition is true for: what no version wrote counts nothing.
macro_rules! summed_bytes {
    ($($condition:expr),+) => {
        concat!(
            "CAST(COALESCE(SUM(CASE WHEN ",
            $($condition,)+
            "message_bytes BETWEEN 0 AND 65535 THEN message_bytes ELSE 0 END), 0) AS BIGINT)"
        )
    };
}

/// For whom a message counts, in `mailbox_sender`: [`add`] adds it, and the database itself takes it off with its row.
pub(super) fn counts_for(new: &NewMessage) -> Option<Vec<u8>> {
    match new.sender {
        Sender::Own => None,
        Sender::Stranger => Some(STRANGERS.to_vec()),
        Sender::Client | Sender::PeerLsp => new.previous_hop.map(|peer| peer.serialize().to_vec()),
    }
}

/// What a sender's sum says in `row`, and what waits in all. A sum that is lost is nothing, and the whole is bounded all the same; one that
/// cannot be true is counted anew.
pub(super) async fn of_sender(
    tx: &mut Tx,
    row: &Row,
    counts_for: Option<Vec<u8>>,
    total: Usage,
) -> Result<(Usage, Usage), StorageError> {
    let Some(counts_for) = counts_for else { return Ok((Usage::default(), total)) };
    let found = (row.opt_u64("sender_total_messages"), row.opt_u64("sender_total_bytes"));
    if let (Ok(messages), Ok(bytes)) = found {
        let sum = Usage { messages: messages.unwrap_or(0), bytes: bytes.unwrap_or(0) };
        if within(sum, total) {
            return Ok((sum, total));
        }
    }
    tracing::error!("what waits from a sender of the mailbox could not be read: it is counted anew");
    let row = tx
        .fetch_one(
            concat!(
                "INSERT INTO mailbox_sender (counts_for, messages, bytes) SELECT $1, COUNT(*), ",
                summed_bytes!(""),
                " FROM mailbox_message WHERE counts_for = $1 \
                 ON CONFLICT (counts_for) DO UPDATE SET messages = excluded.messages, bytes = excluded.bytes \
                 RETURNING messages, bytes"
            ),
            &[Value::from(counts_for)],
        )
        .await?;
    let sum = usage(&row)?;
    // If it is more than the whole, that one is wrong.
    let total = if within(sum, total) { total } else { recount(tx).await? };
    Ok((sum, total))
}

fn within(part: Usage, whole: Usage) -> bool {
    part.messages <= whole.messages && part.bytes <= whole.bytes
}

fn usage(row: &Row) -> Result<Usage, StorageError> {
    Ok(Usage { messages: row.get_u64("messages")?, bytes: row.get_u64("bytes")? })
}

/// One message more: answers the number of its arrival. No trigger does it: a statement with one keeps a journal of its own in SQLite,
/// which many messages in one transaction make long.
pub(super) async fn add(
    tx: &mut Tx,
    counts_for: Option<Vec<u8>>,
    message_bytes: u64,
) -> Result<i64, StorageError> {
    let bytes = Value::try_from(message_bytes)?;
    if let Some(counts_for) = counts_for {
        tx.execute(
            "INSERT INTO mailbox_sender (counts_for, messages, bytes) VALUES ($1, 1, $2) \
             ON CONFLICT (counts_for) DO UPDATE SET messages = mailbox_sender.messages + 1, \
             bytes = mailbox_sender.bytes + excluded.bytes",
            &[counts_for.into(), bytes.clone()],
        )
        .await?;
    }
    let row = tx
        .fetch_one(
            concat!(
                "UPDATE mailbox_total SET messages = messages + 1, bytes = bytes + $1, last_arrival = ",
                next_arrival!(),
                " WHERE id = 1 RETURNING last_arrival"
            ),
            &[bytes],
        )
        .await?;
    match row.get_i64("last_arrival")? {
        ..=0 => place::renumber(tx).await,
        arrival => Ok(arrival),
    }
}

pub(super) async fn recount(tx: &mut Tx) -> Result<Usage, StorageError> {
    tracing::error!("the mailbox's total could not be read: it is counted anew");
    let row = tx
        .fetch_one(
            concat!(
                "INSERT INTO mailbox_total (id, messages, bytes, last_arrival) SELECT 1, COUNT(*), ",
                summed_bytes!(""),
                ", -1 FROM mailbox_message WHERE true \
                 ON CONFLICT (id) DO UPDATE SET messages = excluded.messages, bytes = excluded.bytes \
                 RETURNING messages, bytes"
            ),
            &[],
        )
        .await?;
    usage(&row)
}

/// What the row counts for in the sums.
pub(super) fn counted(row: &Row) -> Result<i64, StorageError> {
    let bytes = row.get_i64("message_bytes")?;
    Ok(if (0..=COUNTED_BYTES_MAX).contains(&bytes) { bytes } else { 0 })
}

pub(super) async fn subtract(tx: &mut Tx, messages: u64, bytes: i64) -> Result<(), StorageError> {
    if messages == 0 {
        return Ok(());
    }
    tx.execute(
        "UPDATE mailbox_total SET messages = CASE WHEN messages < $1 THEN 0 ELSE messages - $1 END, \
         bytes = CASE WHEN bytes < $2 THEN 0 ELSE bytes - $2 END WHERE id = 1",
        &[messages.try_into()?, bytes.into()],
    )
    .await
    .map(drop)
}
