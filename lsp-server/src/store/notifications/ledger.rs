//! What came of notifications.

use hex::DisplayHex;
use protocol::api::admin::NotificationView;
use storage::{ReadTx, Row, values};

use super::ClaimedNotification;
use crate::store::StoreError;
use crate::store::damage::readable;

/// One page of the whole table.
pub(in crate::store) const PAGE: &str = "SELECT id, notification_id, template, platform, sealed, token_key, token_index, content_index, \
     state, opened_at, expires_at, due_at, leased, attempts, verdict, why, answered_ms FROM notification \
     WHERE id > $1 ORDER BY id LIMIT $2";

/// What a notification can be: waiting, taken by its provider, not pushed, or pushed too late.
const STATES: [&str; 4] = ["open", "accepted", "refused", "expired"];

/// The newest ones, but for those that cannot be read. Neither tokens nor what they say.
///
/// # Errors
/// When the database fails.
pub async fn newest(tx: &mut ReadTx, limit: u32) -> Result<Vec<NotificationView>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT id, notification_id, template, platform, state, opened_at, expires_at, due_at, attempts, verdict, why, \
             answered_ms FROM notification ORDER BY id DESC LIMIT $1",
            &values![limit],
        )
        .await?;
    readable("notification", "id", &rows, view)
}

/// Whether every column can be read.
pub(in crate::store) fn whole(row: &Row) -> Result<(), StoreError> {
    let column = |column| StoreError::Column { table: "notification", column };
    ClaimedNotification::try_from(row)?;
    if !STATES.contains(&view(row)?.state.as_str()) {
        return Err(column("state"));
    }
    row.get_u64("due_at")?;
    if !(0..=1).contains(&row.get_i64("leased")?) {
        return Err(column("leased"));
    }
    Ok(())
}

fn view(row: &Row) -> Result<NotificationView, StoreError> {
    let state = row.get_text("state")?;
    Ok(NotificationView {
        notification_id: row.get_array::<16>("notification_id")?.to_lower_hex_string(),
        template: row.get_text("template")?,
        platform: row.get_text("platform")?,
        opened_at: row.get_u64("opened_at")?,
        expires_at: row.get_u64("expires_at")?,
        due_at: if state == "open" { Some(row.get_u64("due_at")?) } else { None },
        state,
        attempts: row.get_u32("attempts")?,
        verdict: row.opt_text("verdict")?,
        why: row.opt_text("why")?,
        answered_ms: row.opt_u64("answered_ms")?,
    })
}
