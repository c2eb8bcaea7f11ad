//! Which keys the devices' tokens are sealed with, and the rows that are still to be sealed with the current one.

use bitcoin::secp256k1::PublicKey;
use notifier::GatewayKind;
use storage::{ReadTx, Row, StorageError, Tx, values};

use super::StoreError;
use super::damage::readable;
use super::devices::DeviceId;
use crate::tokens::{SealedToken, TokenKeyId};

/// The keys that rows may be sealed with.
///
/// # Errors
/// When the database fails or a row cannot be read.
pub async fn used(tx: &mut ReadTx) -> Result<Vec<TokenKeyId>, StorageError> {
    let rows = tx.fetch_all("SELECT key_id FROM token_key ORDER BY first_used, key_id", &[]).await?;
    rows.iter().map(|row| Ok(TokenKeyId(row.get_array("key_id")?))).collect()
}

/// From here on rows may be sealed with a key. Not new is no error.
///
/// # Errors
/// When the database fails.
pub async fn begin(tx: &mut Tx, key_id: TokenKeyId, now_unix: u64) -> Result<(), StorageError> {
    tx.execute(
        "INSERT INTO token_key (key_id, first_used) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING",
        &[key_id.0.into(), now_unix.try_into()?],
    )
    .await
    .map(drop)
}

/// No row is sealed with another key than this one any more.
///
/// # Errors
/// When the database fails.
pub async fn keep_only(tx: &mut Tx, key_id: TokenKeyId) -> Result<(), StorageError> {
    tx.execute("DELETE FROM token_key WHERE key_id <> $1", &values![key_id.0]).await.map(drop)
}

/// Forgets every device, and what they were sealed with. Answers how many there were.
///
/// # Errors
/// When the database fails.
pub async fn forget_devices(tx: &mut Tx) -> Result<u64, StorageError> {
    let devices = tx.execute("DELETE FROM device", &[]).await?;
    tx.execute("DELETE FROM token_key", &[]).await?;
    Ok(devices)
}

/// A device whose token is not sealed with the current key.
#[derive(Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// Its name.
    pub device_id: DeviceId,
    /// Whose it is.
    pub node_id: PublicKey,
    /// The gateway that serves it.
    pub kind: GatewayKind,
    /// What is to be sealed.
    pub token: UnsealedToken,
}

/// A token that is not sealed with the current key.
#[derive(Clone, PartialEq, Eq)]
pub enum UnsealedToken {
    /// Not sealed at all.
    Plain(String),
    /// Sealed with an earlier key.
    Old(SealedToken),
}

impl TryFrom<&Row> for Unsealed {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let column = |column| StoreError::Column { table: "device", column };
        Ok(Self {
            device_id: DeviceId(row.get_array("device_id")?),
            node_id: PublicKey::from_slice(&row.get_blob("node_id")?).map_err(|_| column("node_id"))?,
            kind: row.get_text("platform")?.parse().map_err(|_| column("platform"))?,
            token: match row.opt_text("plain_token")? {
                Some(token) => UnsealedToken::Plain(token),
                None => UnsealedToken::Old(SealedToken {
                    key_id: TokenKeyId(row.get_array("token_key")?),
                    index: row.get_array("token_index")?,
                    bytes: row.get_blob("sealed_token")?,
                }),
            },
        })
    }
}

/// Whether there are tokens in plain. What is written over them is then to be written over in the file, too.
///
/// # Errors
/// When the database fails.
pub async fn has_plain(tx: &mut ReadTx) -> Result<bool, StorageError> {
    let sql = "SELECT 1 AS found FROM device WHERE plain_token IS NOT NULL LIMIT 1";
    Ok(tx.fetch_optional(sql, &[]).await?.is_some())
}

/// Rows that are not sealed with the current key.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsealedPage<T, K> {
    /// Those that can be read. Damaged ones stay as they are.
    pub rows: Vec<T>,
    /// Where the next page begins; nowhere at the end.
    pub last: Option<K>,
}

/// The next devices, by their ids, that are to be sealed with the current key: at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn unsealed(
    tx: &mut ReadTx,
    current: TokenKeyId,
    after: Option<Vec<u8>>,
    limit: u32,
) -> Result<UnsealedPage<Unsealed, Vec<u8>>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT device_id, node_id, platform, plain_token, sealed_token, token_index, token_key FROM device \
             WHERE device_id > $1 AND (plain_token IS NOT NULL OR token_key <> $2) ORDER BY device_id LIMIT $3",
            &values![after.unwrap_or_default(), current.0, limit],
        )
        .await?;
    Ok(UnsealedPage {
        last: rows.last().map(|row| row.get_blob("device_id")).transpose()?,
        rows: readable("device", "device_id", &rows, |row| Unsealed::try_from(row))?,
    })
}

/// A device's token is sealed. Its registration is as old as it was.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &mut Tx, device_id: DeviceId, token: &SealedToken) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE device SET plain_token = NULL, sealed_token = $2, token_index = $3, token_key = $4 WHERE device_id = $1",
        &values![device_id.0, &token.bytes, token.index, token.key_id.0],
    )
    .await
    .map(drop)
}
