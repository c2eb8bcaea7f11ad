//! Devices by what they were registered with.

use bitcoin::secp256k1::PublicKey;
use storage::{ReadTx, StorageError, values};

use super::{DeviceId, SealedTarget};

/// The name of the device that the node registered with a target, if it did: what its token is to be sealed for.
///
/// # Errors
/// When the database fails.
pub async fn known_id(
    tx: &mut ReadTx,
    node_id: PublicKey,
    target: &SealedTarget,
) -> Result<Option<DeviceId>, StorageError> {
    let row = tx
        .fetch_optional(
            "SELECT device_id FROM device WHERE node_id = $1 AND platform = $2 AND token_index = $3",
            &values![node_id.serialize(), target.kind.as_str(), target.token.index],
        )
        .await?;
    // A name that is lost is none: the registration sees to it.
    Ok(row.and_then(|row| row.get_array("device_id").ok()).map(DeviceId))
}
