//! The outbox of wakes, and every push that was tried.
//!
//! Whoever has a reason to wake a node calls [`open`] in the transaction that makes the reason true, and
//! [`Waker::nudge`](crate::wake::Waker::nudge) after its commit.

mod claim;
mod finish;
mod hurry;
pub mod ledger;
mod limits;
mod open;

#[cfg(test)]
pub(crate) use claim::CLAIM;
pub use claim::{Claim, ClaimedWake, Claiming, PendingPush, claim_due, next_due};
pub use finish::{PushOutcome, finish, postpone, take_over};
pub use hurry::{HURRIED_WAKES_MAX, hurry};
pub use limits::{LEASE_SECONDS, WakeLimits};
pub use open::{acknowledge, end, ensure_open, open, open_within, rearm};

use bitcoin::secp256k1::PublicKey;
use notifier::GatewayKind;
use protocol::wake::WakeReason;
use storage::{ReadTx, Row, StorageError, Tx, values};

use super::StoreError;
use super::damage::readable;
use protocol::api::ledger::{PutOff, WakeState};

/// When a reason comes again while its wake is open, the next attempt is at most this far away.
const REPEAT_SECONDS: u64 = 30;

/// How long a closed wake without a push can be looked at, after it would have expired. Strangers can cause many.
pub const PUSHLESS_KEPT_SECONDS: u64 = 24 * 3600;

/// The most rows that one transaction tidies away.
const TIDIED_ROWS_MAX: u32 = 500;

/// A reason to wake a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewWake {
    /// Who is woken.
    pub node_id: PublicKey,
    /// Why.
    pub reason: WakeReason,
    /// What it is about. One wake is open for each node, reason and group: a payment's parts share one.
    pub group: [u8; 32],
    /// When there is no use in waking any more, in seconds since 1970.
    pub expires_at_unix: u64,
    /// Now, in seconds since 1970.
    pub now_unix: u64,
}

/// A wake as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeRow {
    /// The opaque id that its pushes carry; `None` before the first one.
    pub wake_id: Option<[u8; 16]>,
    /// Who is woken.
    pub node_id: PublicKey,
    /// Why.
    pub reason: WakeReason,
    /// When it was asked for.
    pub opened_at: u64,
    /// When it becomes pointless.
    pub expires_at: u64,
    /// When it is looked at next.
    pub due_at: u64,
    /// Attempts made so far.
    pub attempts: u32,
}

impl TryFrom<&Row> for WakeRow {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            wake_id: row.opt_array("wake_id")?,
            node_id: node_id(row)?,
            reason: reason(row)?,
            opened_at: row.get_u64("opened_at")?,
            expires_at: row.get_u64("expires_at")?,
            due_at: row.get_u64("due_at")?,
            attempts: row.get_u32("attempts")?,
        })
    }
}

/// One page of the whole table.
pub(super) const PAGE: &str = "SELECT id, wake_id, node_id, reason, wake_group, under_way, state, opened_at, expires_at, due_at, step, \
     attempts, put_off, lane FROM wake WHERE id > $1 ORDER BY id LIMIT $2";

/// Whether every column can be read.
pub(super) fn whole(row: &Row) -> Result<(), StoreError> {
    let column = |column| StoreError::Column { table: "wake", column };
    WakeRow::try_from(row)?;
    let _: WakeState = row.get_text("state")?.parse().map_err(|_| column("state"))?;
    let _: Option<PutOff> =
        row.opt_text("put_off")?.map(|text| text.parse()).transpose().map_err(|_| column("put_off"))?;
    let _: Option<GatewayKind> = match row.get_text("lane")?.as_str() {
        "" => None,
        lane => Some(lane.parse().map_err(|_| column("lane"))?),
    };
    row.get_array::<32>("wake_group")?;
    row.get_i64("under_way")?;
    row.get_u32("step")?.checked_add(1).ok_or_else(|| column("step"))?;
    row.get_u32("attempts")?.checked_add(1).ok_or_else(|| column("attempts"))?;
    Ok(())
}

fn node_id(row: &Row) -> Result<PublicKey, StoreError> {
    let bytes = row.get_blob("node_id")?;
    PublicKey::from_slice(&bytes).map_err(|_| StoreError::Column { table: "wake", column: "node_id" })
}

fn reason(row: &Row) -> Result<WakeReason, StoreError> {
    row.get_text("reason")?.parse().map_err(|_| StoreError::Column { table: "wake", column: "reason" })
}

/// What makes an open wake unique: the node, the group, the reason.
pub type WakeKey = (PublicKey, [u8; 32], WakeReason);

/// The open wakes of payers whose hold is live, as far as they can be read.
///
/// # Errors
/// When the database fails.
pub async fn open_of_live_holds(tx: &mut ReadTx) -> Result<Vec<WakeKey>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT id, node_id, wake_group, reason FROM wake WHERE state = 'open' \
             AND EXISTS (SELECT 1 FROM hold WHERE hold.pid_hash = wake.wake_group AND hold.payer = wake.node_id \
             AND hold.state IN ('waiting', 'unblocked', 'failing'))",
            &[],
        )
        .await?;
    readable("wake", "id", &rows, wake_key)
}

fn wake_key(row: &Row) -> Result<WakeKey, StoreError> {
    Ok((node_id(row)?, row.get_array("wake_group")?, reason(row)?))
}

/// The open wakes with one of the reasons that only an HTLC gives, as (node, group, reason), that belong to no live hold of the
/// node's own, as far as they can be read.
///
/// # Errors
/// When the database fails.
pub async fn open_without_hold(tx: &mut ReadTx) -> Result<Vec<WakeKey>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT id, node_id, wake_group, reason FROM wake WHERE state = 'open' AND reason IN ($1, $2, $3, $4) \
             AND NOT EXISTS (SELECT 1 FROM hold WHERE hold.pid_hash = wake.wake_group AND hold.payer = wake.node_id \
             AND hold.state IN ('waiting', 'unblocked', 'failing'))",
            &values![
                WakeReason::PaymentIncoming.as_str(),
                WakeReason::PaymentSettled.as_str(),
                WakeReason::PaymentFailed.as_str(),
                WakeReason::ExpirySoon.as_str(),
            ],
        )
        .await?;
    readable("wake", "id", &rows, wake_key)
}

/// Closes wakes whose time is over, and forgets those that closed `kept_seconds` ago, or a day ago without a push; a bounded
/// number of each. Answers whether there may be more.
///
/// # Errors
/// When the database fails.
pub async fn tidy(tx: &mut Tx, now_unix: u64, kept_seconds: u64) -> Result<bool, StorageError> {
    let expired = tx
        .execute(
            "UPDATE wake SET state = 'expired' WHERE id IN \
             (SELECT id FROM wake WHERE expires_at <= $1 AND state = 'open' ORDER BY expires_at LIMIT $2)",
            &[now_unix.try_into()?, TIDIED_ROWS_MAX.into()],
        )
        .await?;
    let forgotten = tx
        .execute(
            "DELETE FROM wake WHERE id IN \
             (SELECT id FROM wake WHERE expires_at <= $1 AND state <> 'open' ORDER BY expires_at LIMIT $2)",
            &[now_unix.saturating_sub(kept_seconds).try_into()?, TIDIED_ROWS_MAX.into()],
        )
        .await?;
    let pushless = tx
        .execute(
            "DELETE FROM wake WHERE id IN \
             (SELECT id FROM wake WHERE expires_at <= $1 AND state <> 'open' AND attempts = 0 \
             ORDER BY expires_at LIMIT $2)",
            &[now_unix.saturating_sub(PUSHLESS_KEPT_SECONDS).try_into()?, TIDIED_ROWS_MAX.into()],
        )
        .await?;
    Ok([expired, forgotten, pushless].contains(&u64::from(TIDIED_ROWS_MAX)))
}

/// Open wakes, in order of arrival, without those that cannot be read.
///
/// # Errors
/// When the database fails.
pub async fn list_open(tx: &mut ReadTx, limit: u32) -> Result<Vec<WakeRow>, StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT wake_id, node_id, reason, opened_at, expires_at, due_at, attempts \
             FROM wake WHERE state = 'open' ORDER BY id LIMIT $1",
            &values![limit],
        )
        .await?;
    readable("wake", "id", &rows, |row| WakeRow::try_from(row))
}
