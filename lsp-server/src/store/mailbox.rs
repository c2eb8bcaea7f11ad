//! Onion messages that wait for an offline peer.

#[macro_use]
mod place;
#[macro_use]
mod sums;
mod recipients;
#[cfg(test)]
mod tests;
mod waiting;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use protocol::mailbox::{Admission, MailboxLimits, MailboxUsage, RefuseReason, Sender, Usage, admit};
use storage::{ReadTx, Row, StorageError, Tx, Value, values};

use super::{StoreError, damage};

#[cfg(test)]
pub(super) use place::id;
pub use recipients::{Recipient, Recipients, recipients};
pub use waiting::{WaitingMessage, WaitingMessages, set_aside, waiting};

/// One page of the whole table. The messages themselves are only measured.
pub(super) const PAGE: &str = "SELECT id, recipient, previous_hop, length(message) AS kept_bytes, message_bytes, received_at, \
     expires_at, deliveries FROM mailbox_message WHERE id > $1 ORDER BY id LIMIT $2";

/// From the peer `$2`, or from this node itself.
macro_rules! of_sender {
    () => {
        "(previous_hop = $2 OR (previous_hop IS NULL AND $2 IS NULL))"
    };
}

/// A message that was handed over so often, each time to a connection that did not last, counts as delivered.
const DELIVERIES_MAX: u32 = 3;

/// The most rows that one transaction tidies away.
pub const TIDIED_ROWS_MAX: u32 = 500;

/// A message to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Whom it waits for.
    pub recipient: PublicKey,
    /// The peer that delivered it; `None` for this node itself.
    pub previous_hop: Option<PublicKey>,
    /// What that peer is to us.
    pub sender: Sender,
    /// The encoded `onion_message`.
    pub message: Vec<u8>,
    /// Now, in seconds since 1970.
    pub received_at: u64,
    /// When it is dropped, in seconds since 1970.
    pub expires_at: u64,
}

/// What became of a [`NewMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits.
    New,
    /// The same packet waits already, and now does so for longer.
    Again,
    /// A bound refused it.
    Refused(RefuseReason),
}

/// A message that waits, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// The number of its arrival, among all that came.
    pub arrival: i64,
    /// Whom it waits for.
    pub recipient: PublicKey,
    /// The peer that delivered it; `None` for this node itself.
    pub previous_hop: Option<PublicKey>,
    /// Its length.
    pub bytes: u64,
    /// When it came, in seconds since 1970.
    pub received_at: u64,
}

impl TryFrom<&Row> for MessageRow {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let key = |bytes: &[u8], column| {
            PublicKey::from_slice(bytes).map_err(|_| StoreError::Column { table: "mailbox_message", column })
        };
        Ok(Self {
            arrival: place::arrival(row.get_i64("id")?),
            recipient: key(&row.get_blob("recipient")?, "recipient")?,
            previous_hop: row
                .opt_blob("previous_hop")?
                .map(|bytes| key(&bytes, "previous_hop"))
                .transpose()?,
            bytes: row.get_u64("message_bytes")?,
            received_at: row.get_u64("received_at")?,
        })
    }
}

/// Whether every column can be read, and the message is as long as it was.
pub(super) fn whole(row: &Row) -> Result<(), StoreError> {
    let kept = MessageRow::try_from(row)?;
    row.get_u64("expires_at")?;
    row.get_u32("deliveries")?;
    if row.get_u64("kept_bytes")? == kept.bytes {
        Ok(())
    } else {
        Err(StoreError::Column { table: "mailbox_message", column: "message" })
    }
}

/// Keeps a message, within the bounds.
///
/// # Errors
/// When the database fails.
pub async fn keep(tx: &mut Tx, new: &NewMessage, limits: &MailboxLimits) -> Result<Kept, StorageError> {
    let recipient = new.recipient.serialize();
    let message_hash = sha256::Hash::hash(&new.message).to_byte_array();
    let previous_hop = new.previous_hop.map(|peer| peer.serialize());
    let expires_at = Value::try_from(new.expires_at)?;
    let counts_for = sums::counts_for(new);
    let Found { waits_already, last_id, usage } =
        look(tx, recipient, previous_hop, message_hash, counts_for.clone()).await?;
    if waits_already {
        tx.execute(
            "UPDATE mailbox_message SET expires_at = $3 WHERE recipient = $1 AND message_hash = $2",
            &[recipient.into(), message_hash.into(), expires_at],
        )
        .await?;
        return Ok(Kept::Again);
    }
    let message_bytes = u64::try_from(new.message.len()).map_err(|_| StorageError::ValueRange)?;
    if let Admission::Refuse(reason) = admit(limits, &usage, new.sender, message_bytes) {
        return Ok(Kept::Refused(reason));
    }
    let arrival = sums::add(tx, counts_for.clone(), message_bytes).await?;
    let mut row = [
        Value::from(0),
        recipient.into(),
        previous_hop.into(),
        message_hash.into(),
        (&new.message).into(),
        message_bytes.try_into()?,
        new.received_at.try_into()?,
        expires_at,
        counts_for.into(),
    ];
    if place::is_behind(new.recipient, arrival, last_id)
        || !insert(tx, place::id(new.recipient, arrival), &mut row).await?
    {
        let arrival = place::renumber(tx).await?;
        if !insert(tx, place::id(new.recipient, arrival), &mut row).await? {
            return Err(StorageError::ValueRange);
        }
    }
    Ok(Kept::New)
}

/// Whether no other row had this id.
async fn insert(tx: &mut Tx, id: i64, row: &mut [Value; 9]) -> Result<bool, StorageError> {
    row[0] = id.into();
    let inserted = tx
        .execute(
            "INSERT INTO mailbox_message \
             (id, recipient, previous_hop, message_hash, message, message_bytes, received_at, expires_at, deliveries, counts_for) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9) ON CONFLICT (id) DO NOTHING",
            row,
        )
        .await?;
    Ok(inserted > 0)
}

/// What a new message finds.
struct Found {
    /// The same packet.
    waits_already: bool,
    /// The recipient's latest message.
    last_id: Option<i64>,
    usage: MailboxUsage,
}

/// Answered by the index `mailbox_message_box`, where a recipient's entries are next to each other, and by two sums.
async fn look(
    tx: &mut Tx,
    recipient: [u8; 33],
    previous_hop: Option<[u8; 33]>,
    message_hash: [u8; 32],
    counts_for: Option<Vec<u8>>,
) -> Result<Found, StorageError> {
    let row = tx
        .fetch_one(
            concat!(
                "SELECT COUNT(*) AS messages, MAX(id) AS last_id, ",
                summed_bytes!(""),
                " AS bytes, COUNT(CASE WHEN ",
                of_sender!(),
                " THEN 1 END) AS sender_messages, ",
                summed_bytes!(of_sender!(), " AND "),
                " AS sender_bytes, COUNT(CASE WHEN message_hash = $3 THEN 1 END) AS same, \
                 (SELECT messages FROM mailbox_total WHERE id = 1) AS total_messages, \
                 (SELECT bytes FROM mailbox_total WHERE id = 1) AS total_bytes, \
                 (SELECT messages FROM mailbox_sender WHERE counts_for = $4) AS sender_total_messages, \
                 (SELECT bytes FROM mailbox_sender WHERE counts_for = $4) AS sender_total_bytes \
                 FROM mailbox_message WHERE recipient = $1"
            ),
            &[recipient.into(), previous_hop.into(), message_hash.into(), counts_for.clone().into()],
        )
        .await?;
    let of = |messages, bytes| {
        Ok::<_, StorageError>(Usage { messages: row.get_u64(messages)?, bytes: row.get_u64(bytes)? })
    };
    let total = match of("total_messages", "total_bytes") {
        Ok(total) => total,
        // The sum is lost, not what it is of.
        Err(_) => sums::recount(tx).await?,
    };
    let (sender_total, total) = sums::of_sender(tx, &row, counts_for, total).await?;
    Ok(Found {
        waits_already: row.get_u64("same")? > 0,
        last_id: row.opt_i64("last_id")?,
        usage: MailboxUsage {
            recipient: of("messages", "bytes")?,
            sender: of("sender_messages", "sender_bytes")?,
            sender_total,
            total,
        },
    })
}

/// When the last of a recipient's messages expires, in seconds since 1970; `None` if none waits.
///
/// # Errors
/// When the database fails.
pub async fn last_expiry(tx: &mut ReadTx, recipient: PublicKey) -> Result<Option<u64>, StorageError> {
    let row = tx
        .fetch_one(
            "SELECT MAX(expires_at) AS expires_at FROM mailbox_message \
             WHERE recipient = $1 AND deliveries >= 0 AND expires_at >= 0",
            &values![recipient.serialize()],
        )
        .await?;
    row.opt_u64("expires_at")
}

/// The recipient has these messages.
///
/// # Errors
/// When the database fails.
pub async fn delivered(tx: &mut Tx, ids: &[i64]) -> Result<(), StorageError> {
    let (mut messages, mut bytes) = (0, 0);
    for id in ids {
        let row = tx
            .fetch_optional(
                "DELETE FROM mailbox_message WHERE id = $1 RETURNING message_bytes",
                &values![*id],
            )
            .await?;
        if let Some(row) = row {
            messages += 1;
            bytes += sums::counted(&row)?;
        }
    }
    sums::subtract(tx, messages, bytes).await
}

/// These messages were handed over, and the recipient was gone a moment later: nobody knows whether it has them. They are
/// tried a few times more.
///
/// # Errors
/// When the database fails.
pub async fn in_doubt(tx: &mut Tx, ids: &[i64]) -> Result<(), StorageError> {
    let mut given_up = Vec::new();
    for id in ids {
        let row = tx
            .fetch_optional(
                "UPDATE mailbox_message SET deliveries = CASE WHEN deliveries < $2 THEN deliveries + 1 ELSE $2 END \
                 WHERE id = $1 RETURNING deliveries",
                &values![*id, DELIVERIES_MAX],
            )
            .await?;
        if let Some(row) = row
            && row.get_u32("deliveries")? >= DELIVERIES_MAX
        {
            given_up.push(*id);
        }
    }
    delivered(tx, &given_up).await
}

/// Drops messages that waited too long, at most [`TIDIED_ROWS_MAX`]. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn tidy(tx: &mut Tx, now_unix: u64) -> Result<u64, StorageError> {
    let rows = tx
        .fetch_all(
            "DELETE FROM mailbox_message WHERE id IN \
             (SELECT id FROM mailbox_message WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) \
             RETURNING message_bytes",
            &[now_unix.try_into()?, TIDIED_ROWS_MAX.into()],
        )
        .await?;
    let mut bytes = 0;
    for row in &rows {
        bytes += sums::counted(row)?;
    }
    let messages = rows.len() as u64;
    sums::subtract(tx, messages, bytes).await?;
    Ok(messages)
}

/// Messages that wait, in order of arrival, without those that cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut ReadTx, limit: u32) -> Result<Vec<MessageRow>, StoreError> {
    let rows = tx
        .fetch_all(
            concat!(
                "SELECT id, recipient, previous_hop, message_bytes, received_at FROM mailbox_message ORDER BY ",
                by_arrival!(),
                " LIMIT $1"
            ),
            &values![limit],
        )
        .await?;
    damage::readable("mailbox_message", "id", &rows, |row| MessageRow::try_from(row))
}
