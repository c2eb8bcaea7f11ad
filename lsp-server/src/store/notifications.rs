//! Notifications that are no wakes: their outbox, and the ledger of what came of them. Other services ask for them, and a webhook that
//! was set over Lightning is told by one that it works.

mod ledger;
#[cfg(test)]
mod tests;

use notifier::{GatewayKind, Verdict};
use storage::{ReadTx, Row, StorageError, Tx, values};

pub use ledger::newest;
pub(super) use ledger::{PAGE, whole};

use super::StoreError;
use super::damage::readable;
use super::token_keys::UnsealedPage;
use crate::tokens::{SealedContent, TokenKeyId};

/// How long a push may take before it counts as lost, in seconds. Longer than any gateway waits.
pub const LEASE_SECONDS: u64 = 60;

/// Rows that one transaction forgets.
const TIDIED_MAX: u32 = 500;

const HOUR_SECONDS: u64 = 3_600;

/// The gateways that notifications go through: [`GatewayKind::Lsps5`] those to new webhooks, the others those of other services.
const KINDS: [GatewayKind; 3] = [GatewayKind::Lsps5, GatewayKind::Apns, GatewayKind::Fcm];

/// How much is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationLimits {
    /// For one phone in an hour.
    pub per_token_per_hour_max: u32,
    /// That wait for their push at once: those to webhooks apart from those that other services ask for.
    pub open_max: u32,
}

/// A notification to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotification {
    /// Its name: random.
    pub notification_id: [u8; 16],
    /// Its `notification_type`.
    pub template: String,
    /// The gateway of its phone.
    pub kind: GatewayKind,
    /// Where it goes, and what it says.
    pub sealed: SealedContent,
    /// Now, in seconds since 1970.
    pub now_unix: u64,
    /// When it is of no use any more, in seconds since 1970.
    pub expires_at: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in the outbox.
    New,
    /// The same for the same phone is in the outbox already, and stays of use as long as this one would have.
    Known,
    /// [`NotificationLimits::per_token_per_hour_max`]
    TooManyForToken,
    /// [`NotificationLimits::open_max`]
    Full,
}

/// Keeps a notification until it is pushed.
///
/// # Errors
/// When the database fails.
pub async fn keep(
    tx: &mut Tx,
    new: &NewNotification,
    limits: &NotificationLimits,
) -> Result<Kept, StorageError> {
    let known = tx
        .execute(
            "UPDATE notification SET expires_at = CASE WHEN expires_at < $2 THEN $2 ELSE expires_at END \
             WHERE content_index = $1 AND state = 'open'",
            &[new.sealed.content_index.into(), new.expires_at.try_into()?],
        )
        .await?;
    if known > 0 {
        return Ok(Kept::Known);
    }
    let of_token = tx
        .fetch_one(
            "SELECT COUNT(*) AS asked FROM notification WHERE token_index = $1 AND opened_at > $2",
            &[new.sealed.token_index.into(), new.now_unix.saturating_sub(HOUR_SECONDS).try_into()?],
        )
        .await?
        .get_u64("asked")?;
    if of_token >= u64::from(limits.per_token_per_hour_max) {
        return Ok(Kept::TooManyForToken);
    }
    let open = tx
        .fetch_one(
            "SELECT COUNT(*) AS waiting FROM notification WHERE state = 'open' AND (platform = 'lsps5') = ($1 = 'lsps5')",
            &[new.kind.as_str().into()],
        )
        .await?
        .get_u64("waiting")?;
    if open >= u64::from(limits.open_max) {
        return Ok(Kept::Full);
    }
    tx.execute(
        "INSERT INTO notification (notification_id, template, platform, sealed, token_key, token_index, content_index, \
         state, opened_at, expires_at, due_at, leased, attempts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8, $9, $8, 0, 0)",
        &[
            new.notification_id.into(),
            (&new.template).into(),
            new.kind.as_str().into(),
            (&new.sealed.bytes).into(),
            new.sealed.key_id.0.into(),
            new.sealed.token_index.into(),
            new.sealed.content_index.into(),
            new.now_unix.try_into()?,
            new.expires_at.try_into()?,
        ],
    )
    .await?;
    Ok(Kept::New)
}

/// A notification whose push is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedNotification {
    /// The row.
    pub id: i64,
    /// Its name.
    pub notification_id: [u8; 16],
    /// The gateway of its phone.
    pub kind: GatewayKind,
    /// Where it goes, and what it says.
    pub sealed: SealedContent,
    /// When it is of no use any more, in seconds since 1970.
    pub expires_at: u64,
    /// Pushes so far, with this one.
    pub attempts: u32,
}

impl TryFrom<&Row> for ClaimedNotification {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let column = |column| StoreError::Column { table: "notification", column };
        Ok(Self {
            id: row.get_i64("id")?,
            notification_id: row.get_array("notification_id")?,
            kind: row.get_text("platform")?.parse().map_err(|_| column("platform"))?,
            sealed: SealedContent {
                key_id: TokenKeyId(row.get_array("token_key")?),
                token_index: row.get_array("token_index")?,
                content_index: row.get_array("content_index")?,
                bytes: row.get_blob("sealed")?,
            },
            expires_at: row.get_u64("expires_at")?,
            attempts: row.get_u32("attempts")?,
        })
    }
}

/// Ends what is of no use any more, but for pushes that are under way.
const EXPIRE: &str = "UPDATE notification SET state = 'expired' WHERE id IN (SELECT id FROM notification \
     WHERE state = 'open' AND expires_at <= $1 AND (leased = 0 OR due_at <= $1) ORDER BY expires_at LIMIT $2)";

/// Takes what is due of one platform, the longest due first: what waits for another is not looked at. That the row is due is said twice:
/// a session of Postgres that waited for another's claim looks at the row once more, and not at what it had selected. The second time
/// in words that no index is looked through for.
pub(crate) const CLAIM: &str = "UPDATE notification SET due_at = $2, leased = 1, \
     attempts = CASE WHEN attempts < 4294967295 THEN attempts + 1 ELSE attempts END WHERE id IN \
     (SELECT id FROM notification WHERE state = 'open' AND platform = $3 AND due_at <= $1 AND expires_at > $1 \
     ORDER BY due_at LIMIT $4) AND CASE WHEN state = 'open' AND due_at <= $1 THEN 1 ELSE 0 END = 1 \
     RETURNING id, notification_id, platform, sealed, token_key, token_index, content_index, expires_at, attempts";

/// Takes up to `limit` notifications that are due, but for gateways that are `full`: of each of the others its share, the longest
/// due first.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    tx: &mut Tx,
    now_unix: u64,
    limit: u32,
    full: &[GatewayKind],
) -> Result<Vec<ClaimedNotification>, StoreError> {
    tx.execute(EXPIRE, &[now_unix.try_into()?, TIDIED_MAX.into()]).await?;
    let kinds: Vec<_> = KINDS.into_iter().filter(|kind| !full.contains(kind)).collect();
    let mut claimed = Vec::new();
    let mut left = limit;
    for (position, kind) in kinds.iter().enumerate() {
        let waiting = u32::try_from(kinds.len() - position).unwrap_or(1);
        let rows = tx
            .fetch_all(
                CLAIM,
                &[
                    now_unix.try_into()?,
                    (now_unix + LEASE_SECONDS).try_into()?,
                    kind.as_str().into(),
                    left.div_ceil(waiting).into(),
                ],
            )
            .await?;
        left = left.saturating_sub(u32::try_from(rows.len()).unwrap_or(left));
        // One that cannot be read stays leased, and keeps no other waiting.
        claimed.extend(readable("notification", "id", &rows, |row| ClaimedNotification::try_from(row))?);
    }
    // No database promises an order to `RETURNING`.
    claimed.sort_unstable_by_key(|row: &ClaimedNotification| row.id);
    Ok(claimed)
}

/// What came of a push; `next_at` is when it is tried again, in seconds since 1970, if it is. An attempt that is not the latest
/// any more changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn finish(
    tx: &mut Tx,
    claimed: &ClaimedNotification,
    verdict: &Verdict,
    answered_ms: u64,
    next_at: Option<u64>,
) -> Result<(), StorageError> {
    let state = match (verdict, next_at) {
        (Verdict::Accepted, _) => "accepted",
        (_, Some(_)) => "open",
        (_, None) => "refused",
    };
    tx.execute(
        "UPDATE notification SET state = $3, due_at = $4, leased = 0, verdict = $5, why = $6, answered_ms = $7 \
         WHERE id = $1 AND attempts = $2 AND state = 'open'",
        &[
            claimed.id.into(),
            claimed.attempts.into(),
            state.into(),
            next_at.unwrap_or(claimed.expires_at).try_into()?,
            verdict.as_str().into(),
            verdict.why().into(),
            answered_ms.try_into()?,
        ],
    )
    .await
    .map(drop)
}

/// Pushes that the last process did not live to record are due again. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn take_over(tx: &mut Tx, now_unix: u64) -> Result<u64, StorageError> {
    let sql = "UPDATE notification SET due_at = $1, leased = 0 WHERE state = 'open' AND leased = 1";
    tx.execute(sql, &[now_unix.try_into()?]).await
}

/// A notification that waits, and is not sealed with the current key.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsealedNotification {
    /// The row.
    pub id: i64,
    /// Its name.
    pub notification_id: [u8; 16],
    /// The gateway of its phone.
    pub kind: GatewayKind,
    /// Where it goes, and what it says.
    pub sealed: SealedContent,
}

impl TryFrom<&Row> for UnsealedNotification {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let ClaimedNotification { id, notification_id, kind, sealed, .. } = row.try_into()?;
        Ok(Self { id, notification_id, kind, sealed })
    }
}

/// The next ones that wait and are to be sealed with the current key, in order of their rows: at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn unsealed(
    tx: &mut ReadTx,
    current: TokenKeyId,
    after: Option<i64>,
    limit: u32,
) -> Result<UnsealedPage<UnsealedNotification, i64>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT id, notification_id, platform, sealed, token_key, token_index, content_index, expires_at, attempts \
             FROM notification WHERE id > $1 AND state = 'open' AND token_key <> $2 ORDER BY id LIMIT $3",
            &values![after.unwrap_or(i64::MIN), current.0, limit],
        )
        .await?;
    Ok(UnsealedPage {
        last: rows.last().map(|row| row.get_i64("id")).transpose()?,
        rows: readable("notification", "id", &rows, |row| UnsealedNotification::try_from(row))?,
    })
}

/// A notification that waits is sealed anew. If the same is there already under the new key, this one is over.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &mut Tx, id: i64, sealed: &SealedContent) -> Result<(), StorageError> {
    let known = tx
        .fetch_optional(
            "SELECT 1 AS found FROM notification WHERE content_index = $1 AND state = 'open' AND id <> $2",
            &values![sealed.content_index, id],
        )
        .await?;
    if known.is_some() {
        return refuse(tx, id, "the same waits already").await;
    }
    tx.execute(
        "UPDATE notification SET sealed = $2, token_key = $3, token_index = $4, content_index = $5 WHERE id = $1",
        &values![id, &sealed.bytes, sealed.key_id.0, sealed.token_index, sealed.content_index],
    )
    .await
    .map(drop)
}

/// A notification that waits cannot be pushed, and `why`.
///
/// # Errors
/// When the database fails.
pub async fn refuse(tx: &mut Tx, id: i64, why: &'static str) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE notification SET state = 'refused', why = $2 WHERE id = $1 AND state = 'open'",
        &values![id, why],
    )
    .await
    .map(drop)
}

/// When the next one is due whose time can be read, in seconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn next_due(tx: &mut ReadTx) -> Result<Option<u64>, StorageError> {
    let sql = "SELECT MIN(due_at) AS due_at FROM notification WHERE state = 'open' AND due_at >= 0";
    tx.fetch_one(sql, &[]).await?.opt_u64("due_at")
}

/// Forgets those that are over and were asked for before a time. Answers whether there may be more.
///
/// # Errors
/// When the database fails.
pub async fn tidy(tx: &mut Tx, before_unix: u64) -> Result<bool, StorageError> {
    let forgotten = tx
        .execute(
            "DELETE FROM notification WHERE id IN (SELECT id FROM notification WHERE opened_at < $1 AND state <> 'open' \
             ORDER BY opened_at LIMIT $2)",
            &[before_unix.try_into()?, TIDIED_MAX.into()],
        )
        .await?;
    Ok(forgotten >= u64::from(TIDIED_MAX))
}
