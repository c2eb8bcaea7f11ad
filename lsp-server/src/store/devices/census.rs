//! How many devices there are.

use std::collections::BTreeMap;

use storage::{ReadTx, StorageError};

/// The number of devices of each platform that has any.
///
/// # Errors
/// When the database fails.
pub async fn count_by_platform(tx: &mut ReadTx) -> Result<BTreeMap<String, u64>, StorageError> {
    let rows = tx.fetch_all("SELECT platform, COUNT(*) AS n FROM device GROUP BY platform", &[]).await?;
    rows.iter().map(|row| Ok((row.get_text("platform")?, row.get_u64("n")?))).collect()
}
