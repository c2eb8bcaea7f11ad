//! For whom something waits.

use bitcoin::secp256k1::PublicKey;
use protocol::wake::WakeReason;
use storage::ReadTx;

use crate::store::{StoreError, damage};

/// Somebody for whom something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who it is.
    pub node_id: PublicKey,
    /// A wake for it is open.
    pub is_woken: bool,
}

/// Recipients for whom something waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// In the order of their ids, without those that cannot be read.
    pub found: Vec<Recipient>,
    /// Where to go on; nowhere at the end.
    pub next: Option<Vec<u8>>,
}

/// Recipients for whom something waits, beyond `after`, which is empty at first; and whether they are woken for the mailbox, whose
/// wakes are those of `group`. Costs by them, not by their messages.
///
/// # Errors
/// When the database fails.
pub async fn recipients(
    tx: &mut ReadTx,
    after: Vec<u8>,
    limit: u32,
    group: [u8; 32],
    now_unix: u64,
) -> Result<Recipients, StoreError> {
    let rows = tx
        .fetch_all(
            "WITH RECURSIVE box (recipient) AS (\
             SELECT (SELECT recipient FROM mailbox_message WHERE recipient > $1 ORDER BY recipient LIMIT 1) \
             UNION ALL \
             SELECT (SELECT recipient FROM mailbox_message WHERE recipient > box.recipient ORDER BY recipient LIMIT 1) \
             FROM box WHERE box.recipient IS NOT NULL) \
             SELECT recipient, CASE WHEN EXISTS (SELECT 1 FROM wake WHERE node_id = box.recipient AND reason = $3 \
             AND wake_group = $4 AND state = 'open' AND expires_at > $5) THEN 1 ELSE 0 END AS is_woken \
             FROM box WHERE recipient IS NOT NULL LIMIT $2",
            &[
                after.into(),
                limit.into(),
                WakeReason::OnionMessage.as_str().into(),
                group.into(),
                now_unix.try_into()?,
            ],
        )
        .await?;
    let next = rows.last().map(|row| row.get_blob("recipient")).transpose()?;
    // Which rows these are, a look through the table tells.
    let found = damage::readable("mailbox_message", "recipient", &rows, |row| {
        let node_id = PublicKey::from_slice(&row.get_blob("recipient")?)
            .map_err(|_| StoreError::Column { table: "mailbox_message", column: "recipient" })?;
        Ok(Recipient { node_id, is_woken: row.get_i64("is_woken")? == 1 })
    })?;
    Ok(Recipients { found, next })
}
