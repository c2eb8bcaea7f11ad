//! How many devices there are, and of whom.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use storage::{ReadTx, StorageError, values};

/// The number of devices of each platform that has any.
///
/// # Errors
/// When the database fails.
pub async fn count_by_platform(tx: &mut ReadTx) -> Result<BTreeMap<String, u64>, StorageError> {
    let rows = tx.fetch_all("SELECT platform, COUNT(*) AS n FROM device GROUP BY platform", &[]).await?;
    rows.iter().map(|row| Ok((row.get_text("platform")?, row.get_u64("n")?))).collect()
}

/// Whether the node has a device.
///
/// # Errors
/// When the database fails.
pub async fn has_any(tx: &mut ReadTx, node_id: PublicKey) -> Result<bool, StorageError> {
    let row = tx
        .fetch_optional(
            "SELECT 1 AS found FROM device WHERE node_id = $1 LIMIT 1",
            &values![node_id.serialize()],
        )
        .await?;
    Ok(row.is_some())
}
