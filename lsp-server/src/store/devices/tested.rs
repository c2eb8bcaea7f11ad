//! When a device's owner last asked for a test push.

use storage::{ReadTx, StorageError, Tx, values};

use super::DeviceId;

/// When a test push was last asked for, in seconds since 1970; 0 if never.
///
/// # Errors
/// When the database fails.
pub async fn tested_at(tx: &mut ReadTx, device_id: DeviceId) -> Result<u64, StorageError> {
    let sql = "SELECT tested_at FROM device WHERE device_id = $1";
    tx.fetch_one(sql, &values![device_id.0]).await?.get_u64("tested_at")
}

/// A test push is sent now.
///
/// # Errors
/// When the database fails.
pub async fn set_tested_at(tx: &mut Tx, device_id: DeviceId, now_unix: u64) -> Result<(), StorageError> {
    let sql = "UPDATE device SET tested_at = $2 WHERE device_id = $1";
    tx.execute(sql, &[device_id.0.into(), now_unix.try_into()?]).await.map(drop)
}
