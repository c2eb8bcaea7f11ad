//! How long what is over is remembered.

use protocol::units::BlockHeight;
use storage::{StorageError, Tx, values};

/// Forgets holds that ended before `before_unix`, at most `limit` of them, with their hashes and parts. A hold whose request
/// could still be granted at `height`, or whose HTLCs are not off their channels, stays. Answers how many are gone.
///
/// # Errors
/// When the database fails.
pub async fn forget_ended_holds(
    tx: &mut Tx,
    before_unix: u64,
    height: BlockHeight,
    limit: u32,
) -> Result<u64, StorageError> {
    let rows = tx
        .fetch_all(
            "SELECT id FROM hold WHERE updated_at < $1 AND state IN ('settled', 'failed', 'unused') \
             AND requested_deadline <= $2 \
             AND NOT EXISTS (SELECT 1 FROM hold_part p WHERE p.hold_id = hold.id AND p.state NOT IN ('settled', 'failed')) \
             ORDER BY updated_at LIMIT $3",
            &[before_unix.try_into()?, height.0.into(), limit.into()],
        )
        .await?;
    for row in &rows {
        let hold_id = row.get_i64("id")?;
        for sql in [
            "DELETE FROM pending_message WHERE hold_id = $1",
            "DELETE FROM hold_part WHERE hold_id = $1",
            "DELETE FROM hold_hash WHERE hold_id = $1",
            "DELETE FROM hold WHERE id = $1",
        ] {
            tx.execute(sql, &values![hold_id]).await?;
        }
    }
    Ok(rows.len() as u64)
}
