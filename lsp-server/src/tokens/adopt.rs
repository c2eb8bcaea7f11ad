//! Taking the keys into use: what is in plain, or sealed with an earlier key, is sealed with the current one.

use notifier::PushTarget;
use storage::{Database, StorageError};

use super::{TokenKeys, open};
use crate::error::ServerError;
use crate::store::StoreError;
use crate::store::devices;
use crate::store::notifications::{self, UnsealedNotification};
use crate::store::token_keys::{self, Unsealed, UnsealedToken};

/// Rows that one transaction seals.
const SEALED_AT_ONCE_MAX: u32 = 200;

/// What was done before the keys could be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Tokens that were sealed with the current key.
    pub sealed: u64,
    /// Devices whose token could not be opened, and that were forgotten: their phones register again.
    pub forgotten: u64,
    /// Notifications that wait, and were sealed with the current key.
    pub notifications: u64,
}

/// Reads or makes the keys for `database`, and seals what is not sealed with the current one. Before anybody is served.
///
/// A crash in the midst of it costs nothing: the next start goes on.
///
/// # Errors
/// When a key is missing, the file cannot be used, or the database fails.
pub async fn adopt(
    database: &Database,
    path: &std::path::Path,
    now_unix: u64,
) -> Result<(TokenKeys, Adopted), ServerError> {
    let used = database.read("token_keys", |tx| Box::pin(token_keys::used(tx))).await?;
    let keys = open(path, &used)?;
    let current = keys.current_id();
    let has_plain = database.read("plain_tokens", |tx| Box::pin(token_keys::has_plain(tx))).await?;
    if used != [current] {
        let begun =
            database.submit("begin_token_key", move |tx| Box::pin(token_keys::begin(tx, current, now_unix)));
        begun.await?;
    }
    let mut adopted = Adopted::default();
    if has_plain || used.iter().any(|key_id| *key_id != current) {
        if has_plain {
            erase_deleted(database, true).await?;
        }
        seal_all(database, &keys, &mut adopted).await?;
        seal_notifications(database, &keys, &mut adopted).await?;
        if has_plain {
            erase_deleted(database, false).await?;
        }
        database.submit("end_token_keys", move |tx| Box::pin(token_keys::keep_only(tx, current))).await?;
        tracing::info!(key = %current, sealed = adopted.sealed, forgotten = adopted.forgotten, notifications = adopted.notifications,
            "push tokens were sealed");
    }
    Ok((keys, adopted))
}

async fn erase_deleted(database: &Database, erase: bool) -> Result<(), StorageError> {
    database.submit("erase_deleted", move |tx| Box::pin(tx.erase_deleted(erase))).await
}

async fn seal_all(database: &Database, keys: &TokenKeys, adopted: &mut Adopted) -> Result<(), StoreError> {
    let (current, mut after) = (keys.current_id(), None);
    loop {
        let page = database
            .read("unsealed_tokens", move |tx| {
                Box::pin(token_keys::unsealed(tx, current, after, SEALED_AT_ONCE_MAX))
            })
            .await?;
        // A page without a row that can be read is not the last one.
        if page.last.is_none() {
            return Ok(());
        }
        after = page.last;
        let sealed: Vec<_> =
            page.rows.iter().map(|device| (device.device_id, reseal(keys, device))).collect();
        let forgotten = sealed.iter().filter(|(_, sealed)| sealed.is_none()).count() as u64;
        adopted.sealed += sealed.len() as u64 - forgotten;
        adopted.forgotten += forgotten;
        database
            .submit("seal_tokens", move |tx| {
                Box::pin(async move {
                    for (device_id, sealed) in sealed {
                        match sealed {
                            Some(token) => token_keys::reseal(tx, device_id, &token).await?,
                            None => {
                                tracing::error!(device = %device_id, "a device's token cannot be opened: it is forgotten");
                                devices::remove(tx, device_id).await?;
                            }
                        }
                    }
                    Ok::<_, StorageError>(())
                })
            })
            .await?;
    }
}

/// What other services asked for, and still waits.
async fn seal_notifications(
    database: &Database,
    keys: &TokenKeys,
    adopted: &mut Adopted,
) -> Result<(), StoreError> {
    let (current, mut after) = (keys.current_id(), None);
    loop {
        let page = database
            .read("unsealed_notifications", move |tx| {
                Box::pin(notifications::unsealed(tx, current, after, SEALED_AT_ONCE_MAX))
            })
            .await?;
        if page.last.is_none() {
            return Ok(());
        }
        after = page.last;
        let sealed: Vec<_> = page.rows.iter().map(|row| (row.id, reseal_content(keys, row))).collect();
        adopted.notifications += sealed.iter().filter(|(_, sealed)| sealed.is_some()).count() as u64;
        database
            .submit("seal_notifications", move |tx| {
                Box::pin(async move {
                    for (id, sealed) in sealed {
                        match sealed {
                            Some(sealed) => notifications::reseal(tx, id, &sealed).await?,
                            None => notifications::refuse(tx, id, "its row cannot be opened").await?,
                        }
                    }
                    Ok::<_, StorageError>(())
                })
            })
            .await?;
    }
}

fn reseal_content(keys: &TokenKeys, row: &UnsealedNotification) -> Option<super::SealedContent> {
    let (token, content) = keys.open_content(row.notification_id, &row.sealed).ok()?;
    Some(keys.seal_content(row.notification_id, &PushTarget::new(row.kind, token), &content))
}

fn reseal(keys: &TokenKeys, device: &Unsealed) -> Option<super::SealedToken> {
    let Unsealed { device_id, node_id, kind, token } = device;
    let token = match token {
        UnsealedToken::Plain(token) => token.clone(),
        UnsealedToken::Old(sealed) => keys.open(*device_id, sealed).ok()?,
    };
    Some(keys.seal(*device_id, node_id, *kind, &token))
}
