//! Reasons to wake a node, as they come and go.

use bitcoin::secp256k1::PublicKey;
use protocol::wake::WakeReason;
use storage::{StorageError, Tx, Value, values};

use super::{NewWake, REPEAT_SECONDS};

/// A wake that is open may end before the reason that came again does, by this share of the time that is left. Whoever has a reason
/// looks from time to time whether its wake is open: see [`ensure_open`].
const EXPIRY_SHARE: u64 = 64;

/// A new row after `$1` to `$6` of [`parameters`], from what follows; or the one that is open and not over comes sooner.
macro_rules! open_or_repeat {
    ($row:literal) => {
        concat!(
            "INSERT INTO wake (node_id, reason, wake_group, under_way, state, opened_at, expires_at, due_at, step, attempts) ",
            $row,
            " ON CONFLICT (node_id, reason, wake_group) WHERE state = 'open' DO UPDATE SET \
             under_way = CASE WHEN wake.under_way = 1 THEN 2 ELSE wake.under_way END, \
             expires_at = CASE WHEN wake.expires_at < $5 THEN $5 ELSE wake.expires_at END, \
             due_at = CASE WHEN wake.due_at > $6 THEN $6 ELSE wake.due_at END \
             WHERE wake.expires_at > $4"
        )
    };
}

/// The open wake that comes soon.
macro_rules! coming_soon {
    () => {
        " WHERE node_id = $1 AND reason = $2 AND wake_group = $3 AND state = 'open' \
         AND expires_at > $4 AND expires_at >= $5 AND due_at <= $6"
    };
}

fn parameters(wake: &NewWake) -> Result<Vec<Value>, StorageError> {
    Ok(vec![
        wake.node_id.serialize().into(),
        wake.reason.as_str().into(),
        wake.group.into(),
        wake.now_unix.try_into()?,
        wake.expires_at_unix.try_into()?,
        (wake.now_unix + REPEAT_SECONDS).try_into()?,
    ])
}

/// Wakes a node. If such a wake is open already, it keeps the later expiry, and its next attempt comes soon.
///
/// # Errors
/// When the database fails.
pub async fn open(tx: &mut Tx, wake: &NewWake) -> Result<(), StorageError> {
    if comes_soon(tx, wake).await? {
        return Ok(());
    }
    let sql = open_or_repeat!("VALUES ($1, $2, $3, 0, 'open', $4, $5, $4, 0, 0)");
    insert(tx, wake, sql, &parameters(wake)?).await.map(drop)
}

/// The usual repeat: such a wake is open, comes soon, and lasts nearly as long. Then nothing changes, which for each node would be a page
/// of its own; but while pushes are under way it is written down that the phone may have come too early.
async fn comes_soon(tx: &mut Tx, wake: &NewWake) -> Result<bool, StorageError> {
    let left_seconds = wake.expires_at_unix.saturating_sub(wake.now_unix);
    let comes_soon = [
        wake.node_id.serialize().into(),
        wake.reason.as_str().into(),
        wake.group.into(),
        wake.now_unix.try_into()?,
        (wake.expires_at_unix - left_seconds / EXPIRY_SHARE).try_into()?,
        (wake.now_unix + REPEAT_SECONDS).try_into()?,
    ];
    let found = tx.fetch_optional(concat!("SELECT under_way FROM wake", coming_soon!()), &comes_soon).await?;
    let Some(found) = found else { return Ok(false) };
    // What cannot be read is written anew.
    if found.get_i64("under_way").is_ok_and(|under_way| under_way != 1) {
        return Ok(true);
    }
    let noted = tx.execute(concat!("UPDATE wake SET under_way = 2", coming_soon!()), &comes_soon).await?;
    Ok(noted > 0)
}

/// As [`open`], for a reason that strangers can give: only while the node has fewer than `max` open wakes for it, unless this
/// one is open already. Answers whether it is open.
///
/// # Errors
/// When the database fails.
pub async fn open_within(tx: &mut Tx, wake: &NewWake, max: u32) -> Result<bool, StorageError> {
    if comes_soon(tx, wake).await? {
        return Ok(true);
    }
    let mut parameters = parameters(wake)?;
    parameters.push(max.into());
    let sql = open_or_repeat!(
        "SELECT $1, $2, $3, 0, 'open', $4, $5, $4, 0, 0 WHERE (SELECT COUNT(*) FROM wake AS other \
         WHERE other.node_id = $1 AND other.reason = $2 AND other.state = 'open' AND other.wake_group <> $3 \
         AND other.expires_at > $4) < $7"
    );
    insert(tx, wake, sql, &parameters).await
}

/// As [`open`], but leaves a wake that is open as it is. For who looks again and again whether a reason still holds.
/// Answers whether there was none.
///
/// # Errors
/// When the database fails.
pub async fn ensure_open(tx: &mut Tx, wake: &NewWake) -> Result<bool, StorageError> {
    let sql = "INSERT INTO wake (node_id, reason, wake_group, under_way, state, opened_at, expires_at, due_at, step, attempts) \
         VALUES ($1, $2, $3, 0, 'open', $4, $5, $4, 0, 0) \
         ON CONFLICT (node_id, reason, wake_group) WHERE state = 'open' DO NOTHING";
    insert(tx, wake, sql, &parameters(wake)?[..5]).await
}

/// Answers whether there is such a row now. One whose time is over is in nobody's way.
async fn insert(
    tx: &mut Tx,
    wake: &NewWake,
    sql: &'static str,
    parameters: &[Value],
) -> Result<bool, StorageError> {
    if tx.execute(sql, parameters).await? > 0 {
        return Ok(true);
    }
    Ok(expire_same(tx, wake).await? > 0 && tx.execute(sql, parameters).await? > 0)
}

/// A wake whose time is over must not pass its place in the schedule on to a new one. Answers how many there were.
async fn expire_same(tx: &mut Tx, wake: &NewWake) -> Result<u64, StorageError> {
    tx.execute(
        "UPDATE wake SET state = 'expired' \
         WHERE node_id = $1 AND reason = $2 AND wake_group = $3 AND state = 'open' AND expires_at <= $4",
        &[
            wake.node_id.serialize().into(),
            wake.reason.as_str().into(),
            wake.group.into(),
            wake.now_unix.try_into()?,
        ],
    )
    .await
}

/// The reason is gone: no more pushes for it. No such wake is no error.
///
/// # Errors
/// When the database fails.
pub async fn end(
    tx: &mut Tx,
    node_id: PublicKey,
    group: [u8; 32],
    reason: WakeReason,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE wake SET state = 'ended' \
         WHERE node_id = $1 AND reason = $2 AND wake_group = $3 AND state = 'open'",
        &values![node_id.serialize(), reason.as_str(), group],
    )
    .await
    .map(drop)
}

/// How long a phone that came has for what it was woken for, before it is woken for it again.
const REST_SECONDS: u64 = 60;

/// The phone is here. Wakes for messages and incoming payments end. Those for an HTLC that it must take off its channel
/// pause for a minute, and begin anew then, unless somebody [`end`]s them meanwhile: a phone that comes and goes again
/// at once has settled nothing.
///
/// Answers how many seconds ago the latest push of these wakes was sent, if there was one. A push that its provider refused
/// brought nobody: it is not counted, and the ledger goes on saying why the phone did not ring.
///
/// # Errors
/// When the database fails.
pub async fn acknowledge(
    tx: &mut Tx,
    node_id: PublicKey,
    now_unix: u64,
) -> Result<Option<u64>, StorageError> {
    let node_id = node_id.serialize();
    let latest = tx
        .fetch_one(
            "SELECT MAX(sent_at) AS sent_at FROM wake_attempt WHERE connected_after_seconds IS NULL AND sent_at >= 0 \
             AND (verdict IS NULL OR verdict IN ('accepted', 'retry')) AND wake IN (SELECT id FROM wake WHERE node_id = $1 AND state = 'open')",
            &values![node_id],
        )
        .await?
        .opt_u64("sent_at")?;
    tx.execute(
        "UPDATE wake_attempt SET connected_after_seconds = CASE WHEN sent_at < $2 THEN $2 - sent_at ELSE 0 END \
         WHERE connected_after_seconds IS NULL AND (verdict IS NULL OR verdict IN ('accepted', 'retry')) \
         AND wake IN (SELECT id FROM wake WHERE node_id = $1 AND state = 'open')",
        &[node_id.into(), now_unix.try_into()?],
    )
    .await?;
    super::limits::end_cooldowns(tx, &node_id, now_unix).await?;
    tx.execute(
        "UPDATE wake SET state = 'acknowledged' \
         WHERE node_id = $1 AND state = 'open' AND reason IN ($2, $3)",
        &values![node_id, WakeReason::OnionMessage.as_str(), WakeReason::PaymentIncoming.as_str()],
    )
    .await?;
    tx.execute(
        "UPDATE wake SET step = 0, lane = '', due_at = CASE WHEN expires_at < $2 THEN expires_at ELSE $2 END \
         WHERE node_id = $1 AND state = 'open'",
        &[node_id.into(), (now_unix + REST_SECONDS).try_into()?],
    )
    .await?;
    Ok(latest.map(|sent_at| now_unix.saturating_sub(sent_at)))
}

/// A node has a new device: what waits for it is tried at once. Answers whether anything does.
///
/// # Errors
/// When the database fails.
pub async fn rearm(tx: &mut Tx, node_id: PublicKey, now_unix: u64) -> Result<bool, StorageError> {
    let rearmed = tx
        .execute(
            "UPDATE wake SET step = 0, due_at = $2, lane = '' \
         WHERE node_id = $1 AND state = 'open' AND (due_at > $2 OR lane <> '') AND expires_at > $2",
            &[node_id.serialize().into(), now_unix.try_into()?],
        )
        .await?;
    Ok(rearmed > 0)
}
