//! Registering a device.

use bitcoin::secp256k1::PublicKey;
use storage::{StorageError, Tx, values};

use super::{DeviceId, DeviceLimits, SealedTarget};
use crate::store::challenges::{Answerer, ChallengeRefused, Proof, use_challenge};
use crate::store::damage::stumbled;
use crate::tokens::SealedToken;

/// A device to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its name, if it is not registered already.
    pub device_id: DeviceId,
    /// Whose it is.
    pub node_id: PublicKey,
    /// Where it is reached.
    pub target: SealedTarget,
    /// Whether the node has a channel here.
    pub has_channel: bool,
    /// How it is known that the node wants it.
    pub proof: Proof,
}

/// A registration that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The device's name.
    pub device_id: DeviceId,
    /// False if it was registered before.
    pub is_new: bool,
}

/// Why a device is not registered. Nothing was changed, and the challenge may be answered again.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The challenge cannot be used.
    #[error(transparent)]
    Challenge(#[from] ChallengeRefused),
    /// [`DeviceLimits::per_node_max`]
    #[error("this node has all the devices it may have: {0}")]
    TooManyForNode(u32),
    /// [`DeviceLimits::without_channel_max`]
    #[error("no more devices are taken from nodes without a channel here: open a channel first")]
    TooManyWithoutChannel,
    /// The database failed.
    #[error("the database failed")]
    Storage(#[from] StorageError),
}

/// Registers a device; one that the node registered before keeps its name, and if its token was sealed for that name, its row has
/// the token as it was sealed now: whatever had become of it. Uses the challenge up, if there is one.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(
    tx: &mut Tx,
    device: &NewDevice,
    limits: &DeviceLimits,
) -> Result<Registered, RegisterError> {
    let sealed = |device_id| (device_id == device.device_id).then(|| device.target.token.clone());
    register_sealing(tx, device, limits, sealed).await
}

/// As [`register`], for who can seal the token for another name than the device's: that of the one that the node registered before.
/// `seal` answers `None` if the row's token is to stay.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register_sealing(
    tx: &mut Tx,
    device: &NewDevice,
    limits: &DeviceLimits,
    seal: impl FnOnce(DeviceId) -> Option<SealedToken> + Send,
) -> Result<Registered, RegisterError> {
    if let Proof::Signed(answered) = &device.proof {
        let answerer = Answerer { node_id: device.node_id, has_channel: device.has_channel };
        use_challenge(tx, answered, answerer, limits).await??;
    }
    let now = storage::Value::try_from(device.proof.now_unix())?;
    let token = &device.target.token;
    let key = values![device.node_id.serialize(), device.target.kind.as_str(), token.index];
    let topic: storage::Value = device.target.topic.as_deref().into();
    let environment: storage::Value =
        device.target.environment.map(|environment| environment.as_str()).into();
    let seal_key: storage::Value = device.target.seal_key.map(|key| key.0.to_vec()).into();
    let found = tx.fetch_one(FACTS, &key).await?;
    let known = match found.opt_array("device_id").map(|known| known.map(DeviceId)) {
        Ok(known) => known,
        // Its name is lost, its owner is here with the same target: a new row takes its place.
        Err(error) => {
            stumbled("device", device.device_id.to_string(), &error.into());
            let sql = "DELETE FROM device WHERE node_id = $1 AND platform = $2 AND token_index = $3";
            tx.execute(sql, &key).await?;
            return insert(tx, device, key, [now, topic, environment, seal_key]).await;
        }
    };
    if let Some(device_id) = known {
        tx.execute(
            "UPDATE device SET registered_at = $2, has_channel = $3, paused_until = 0, \
             registrations = CASE WHEN registrations < 9223372036854775807 THEN registrations + 1 ELSE 0 END, \
             topic = $4, environment = $5, seal_key = $6 WHERE device_id = $1",
            &[device_id.0.into(), now, flag(device), topic, environment, seal_key],
        )
        .await?;
        if let Some(token) = seal(device_id) {
            tx.execute(
                "UPDATE device SET plain_token = NULL, sealed_token = $2, token_key = $3 WHERE device_id = $1",
                &values![device_id.0, &token.bytes, token.key_id.0],
            )
            .await?;
        }
        return Ok(Registered { device_id, is_new: false });
    }
    if found.get_u64("of_node")? >= u64::from(limits.per_node_max) {
        return Err(RegisterError::TooManyForNode(limits.per_node_max));
    }
    if !device.has_channel && found.get_u64("without_channel")? >= u64::from(limits.without_channel_max) {
        return Err(RegisterError::TooManyWithoutChannel);
    }
    insert(tx, device, key, [now, topic, environment, seal_key]).await
}

/// The node's device with that target, and what the bounds ask.
const FACTS: &str = "SELECT (SELECT device_id FROM device WHERE node_id = $1 AND platform = $2 AND token_index = $3) AS device_id, \
     (SELECT COUNT(*) FROM device WHERE node_id = $1) AS of_node, \
     COALESCE((SELECT n FROM kept_count WHERE of_what = 'device_without_channel' AND n >= 0), \
     (SELECT COUNT(*) FROM device WHERE has_channel = 0)) AS without_channel";

async fn insert(
    tx: &mut Tx,
    device: &NewDevice,
    [node_id, platform, token_index]: [storage::Value; 3],
    [now, topic, environment, seal_key]: [storage::Value; 4],
) -> Result<Registered, RegisterError> {
    let token = &device.target.token;
    tx.execute(
        "INSERT INTO device (device_id, node_id, platform, token_index, sealed_token, token_key, registered_at, \
         registrations, has_channel, paused_until, tested_at, topic, environment, seal_key) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, 0, 0, $9, $10, $11)",
        &[
            device.device_id.0.into(),
            node_id,
            platform,
            token_index,
            (&token.bytes).into(),
            token.key_id.0.into(),
            now,
            flag(device),
            topic,
            environment,
            seal_key,
        ],
    )
    .await?;
    Ok(Registered { device_id: device.device_id, is_new: true })
}

/// SQLite has no truth values of its own, and its strict tables no such column.
fn flag(device: &NewDevice) -> storage::Value {
    i64::from(device.has_channel).into()
}
