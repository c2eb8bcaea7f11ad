//! Devices that can be woken. Their tokens are sealed: [`crate::tokens`] has the key.

mod census;
mod known;
mod register;
mod tested;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bitcoin::secp256k1::PublicKey;
use hex::{DisplayHex, FromHex};
use notifier::{ApnsEnvironment, GatewayKind};
use protocol::push::SealKey;
use storage::{ReadTx, Row, StorageError, Tx, values};

pub use census::{count_by_platform, has_any};
pub use known::known_id;
pub use register::{NewDevice, RegisterError, Registered, register, register_sealing};

use super::StoreError;
use super::damage::readable;
use crate::tokens::{SealedToken, TokenKeyId};

pub use tested::{set_tested_at, tested_at};

/// A query for whole devices.
macro_rules! select_devices {
    ($which:literal) => {
        concat!(
            "SELECT device_id, node_id, platform, sealed_token, token_index, token_key, registered_at, paused_until, \
             registrations, topic, environment, seal_key FROM device ",
            $which
        )
    };
}

/// One page of the whole table.
pub(super) const PAGE: &str = select_devices!("WHERE device_id > $1 ORDER BY device_id LIMIT $2");

/// How many devices may be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLimits {
    /// By one node.
    pub per_node_max: u32,
    /// By all nodes that had no channel here when they registered.
    pub without_channel_max: u32,
    /// Challenges that nodes with a channel here answered and that have not expired: their signed requests in five minutes.
    pub used_challenges_max: u32,
    /// Those of all other nodes.
    pub used_challenges_without_channel_max: u32,
    /// Those of one node, with or without a channel.
    pub used_challenges_per_node_max: u32,
}

impl Default for DeviceLimits {
    fn default() -> Self {
        Self {
            per_node_max: 10,
            without_channel_max: 10_000,
            used_challenges_max: 10_000,
            used_challenges_without_channel_max: 10_000,
            used_challenges_per_node_max: 100,
        }
    }
}

/// The server's name for a device: random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub [u8; 16]);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

impl FromStr for DeviceId {
    type Err = hex::HexToArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <[u8; 16]>::from_hex(text).map(Self)
    }
}

/// Where a device is reached, its token sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTarget {
    /// The gateway that serves it.
    pub kind: GatewayKind,
    /// What the provider knows the device by.
    pub token: SealedToken,
    /// As in [`notifier::PushTarget`].
    pub topic: Option<String>,
    /// As in [`notifier::PushTarget`].
    pub environment: Option<ApnsEnvironment>,
    /// As in [`notifier::PushTarget`].
    pub seal_key: Option<SealKey>,
}

/// A device that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub device_id: DeviceId,
    /// Whose it is.
    pub node_id: PublicKey,
    /// Where it is reached.
    pub target: SealedTarget,
    /// When it was registered, or last registered again, in seconds since 1970.
    pub registered_at: u64,
    /// Its provider asked for no push before this time, in seconds since 1970.
    pub paused_until: u64,
    /// How often it was registered.
    pub registrations: i64,
}

impl TryFrom<&Row> for Device {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let node_id = PublicKey::from_slice(&row.get_blob("node_id")?)
            .map_err(|_| StoreError::Column { table: "device", column: "node_id" })?;
        Self::owned_by(row, node_id)
    }
}

impl Device {
    /// The device of a row that was looked for by its owner.
    pub(super) fn owned_by(row: &Row, node_id: PublicKey) -> Result<Self, StoreError> {
        let column = |column| StoreError::Column { table: "device", column };
        let environment = row.opt_text("environment")?;
        Ok(Self {
            device_id: DeviceId(row.get_array("device_id")?),
            node_id,
            target: SealedTarget {
                kind: row.get_text("platform")?.parse().map_err(|_| column("platform"))?,
                token: SealedToken {
                    key_id: TokenKeyId(row.get_array("token_key")?),
                    index: row.get_array("token_index")?,
                    bytes: row.get_blob("sealed_token")?,
                },
                topic: row.opt_text("topic")?,
                environment: environment
                    .map(|text| text.parse())
                    .transpose()
                    .map_err(|_| column("environment"))?,
                seal_key: row.opt_array("seal_key")?.map(SealKey),
            },
            registered_at: row.get_u64("registered_at")?,
            paused_until: row.get_u64("paused_until")?,
            registrations: row.get_i64("registrations")?,
        })
    }
}

/// A node's devices, without those that cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn of_node(tx: &mut ReadTx, node_id: PublicKey) -> Result<Vec<Device>, StoreError> {
    let rows = tx
        .fetch_all(
            select_devices!("WHERE node_id = $1 ORDER BY registered_at, device_id"),
            &values![node_id.serialize()],
        )
        .await?;
    readable("device", "device_id", &rows, |row| Device::try_from(row))
}

/// A node's device by its name. Another node's is none of its.
///
/// # Errors
/// When the database fails or the row cannot be read.
pub async fn of_owner(
    tx: &mut ReadTx,
    node_id: PublicKey,
    device_id: DeviceId,
) -> Result<Option<Device>, StoreError> {
    let row = tx
        .fetch_optional(
            select_devices!("WHERE device_id = $1 AND node_id = $2"),
            &values![device_id.0, node_id.serialize()],
        )
        .await?;
    row.as_ref().map(Device::try_from).transpose()
}

/// Gives a device another target. What its provider said of the old one counts no more.
///
/// # Errors
/// When the database fails; [`StorageError::is_unique_violation`] if another device of the node has the target.
pub async fn refresh(
    tx: &mut Tx,
    device_id: DeviceId,
    target: &SealedTarget,
    now_unix: u64,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE device SET platform = $2, token_index = $3, sealed_token = $4, token_key = $5, registered_at = $6, \
         registrations = CASE WHEN registrations < 9223372036854775807 THEN registrations + 1 ELSE 0 END, \
         paused_until = 0, tested_at = 0, topic = $7, environment = $8, seal_key = $9 \
         WHERE device_id = $1",
        &[
            device_id.0.into(),
            target.kind.as_str().into(),
            target.token.index.into(),
            (&target.token.bytes).into(),
            target.token.key_id.0.into(),
            now_unix.try_into()?,
            target.topic.as_deref().into(),
            target.environment.map(|environment| environment.as_str()).into(),
            target.seal_key.map(|key| key.0.to_vec()).into(),
        ],
    )
    .await
    .map(drop)
}

/// Devices, the latest registration first, without those that cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut ReadTx, limit: u32) -> Result<Vec<Device>, StoreError> {
    let rows = tx
        .fetch_all(select_devices!("ORDER BY registered_at DESC, device_id LIMIT $1"), &values![limit])
        .await?;
    readable("device", "device_id", &rows, |row| Device::try_from(row))
}

/// Forgets a device, by its owner's or an operator's wish. Answers whether there was one.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut Tx, device_id: DeviceId) -> Result<bool, StorageError> {
    Ok(tx.execute("DELETE FROM device WHERE device_id = $1", &values![device_id.0]).await? > 0)
}

/// Forgets a device whose provider says that it is gone, unless it was registered again since the push.
///
/// # Errors
/// When the database fails.
pub async fn forget_dead(tx: &mut Tx, device: &Device) -> Result<(), StorageError> {
    tx.execute(
        "DELETE FROM device WHERE device_id = $1 AND registrations = $2",
        &values![device.device_id.0, device.registrations],
    )
    .await
    .map(drop)
}

/// Sends no push to a device before a time.
///
/// # Errors
/// When the database fails.
pub async fn pause(tx: &mut Tx, device_id: DeviceId, until_unix: u64) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE device SET paused_until = $2 WHERE device_id = $1",
        &[device_id.0.into(), until_unix.try_into()?],
    )
    .await
    .map(drop)
}
