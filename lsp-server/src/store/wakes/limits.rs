//! How often a device may be pushed.

use notifier::GatewayKind;
use protocol::api::ledger::PutOff;
use protocol::wake::WakeReason;
use storage::{Row, StorageError, Tx};

use super::StoreError;
use crate::store::devices::Device;

/// How long a claimed wake is left alone: longer than any gateway takes for a push. After a crash it is due again then, or
/// as soon as the next process takes it over: see [`take_over`](super::take_over).
pub const LEASE_SECONDS: u64 = 20;

pub(super) const HOUR_SECONDS: u64 = 3600;

/// Between notifications of one reason to an LSPS5 webhook whose client stays away.
const LSPS5_COOLDOWN_SECONDS: u64 = 120;

/// How often one device may be pushed. Each reason has its own budget, so that a stranger who sends many messages or
/// HTLCs takes no wake from the phone's own payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeLimits {
    /// Pushes per device and hour for one of the reasons that strangers can cause: a message, an incoming payment.
    pub stranger_pushes_per_hour_max: u32,
    /// Pushes per device and hour for one of the reasons that only the phone's own payments cause.
    pub own_pushes_per_hour_max: u32,
    /// Between pushes of two wakes with the same reason to one device, in seconds.
    pub cooldown_seconds: u64,
    /// Payments of strangers that one node is woken for at once.
    pub stranger_wakes_per_node_max: u32,
    /// How long a closed wake and its pushes can be looked at, after it would have expired, in days.
    pub closed_days_kept: u64,
}

impl Default for WakeLimits {
    fn default() -> Self {
        Self {
            stranger_pushes_per_hour_max: 30,
            own_pushes_per_hour_max: 60,
            cooldown_seconds: 5,
            stranger_wakes_per_node_max: 16,
            closed_days_kept: 7,
        }
    }
}

impl WakeLimits {
    fn pushes_per_hour_max(&self, reason: WakeReason) -> u32 {
        match reason {
            WakeReason::OnionMessage | WakeReason::PaymentIncoming => self.stranger_pushes_per_hour_max,
            WakeReason::PaymentSettled | WakeReason::PaymentFailed | WakeReason::ExpirySoon => {
                self.own_pushes_per_hour_max
            }
        }
    }
}

/// When the device may be pushed for the wake of a row of [`claim_due`](super::claim_due)'s: now or earlier, or the time at
/// which its provider, the cooldown and the hourly budget allow it, and which of them it waits for.
pub(super) async fn pushable_at(
    tx: &mut Tx,
    row: &Row,
    device: &Device,
    reason: WakeReason,
    now_unix: u64,
    limits: &WakeLimits,
) -> Result<(u64, PutOff), StoreError> {
    let last_of_others = row.opt_u64("last_of_others")?;
    let cooled = last_of_others.map_or(0, |sent_at| sent_at + limits.cooldown_seconds);
    let cooled = cooled.max(notifiable_at(tx, device, reason, now_unix).await?);
    let max = limits.pushes_per_hour_max(reason);
    let budget_at = if row.get_u64("sent_in_hour")? < u64::from(max) {
        0
    } else {
        budget_at(tx, device, reason, now_unix, max).await?
    };
    let waits =
        [(device.paused_until, PutOff::Paused), (cooled, PutOff::Cooldown), (budget_at, PutOff::Budget)];
    Ok(waits.into_iter().max_by_key(|(at, _)| *at).unwrap_or((0, PutOff::Cooldown)))
}

/// When the last hour has a push less than it may have.
async fn budget_at(
    tx: &mut Tx,
    device: &Device,
    reason: WakeReason,
    now_unix: u64,
    max: u32,
) -> Result<u64, StoreError> {
    let Some(before_last) = max.checked_sub(1) else { return Ok(u64::MAX) };
    let oldest_of_budget = tx
        .fetch_optional(
            "SELECT sent_at FROM wake_attempt WHERE device_id = $1 AND reason = $2 AND sent_at > $3 AND sent_at <= $5 \
             ORDER BY sent_at DESC LIMIT 1 OFFSET $4",
            &[
                device.device_id.0.into(),
                reason.as_str().into(),
                now_unix.saturating_sub(HOUR_SECONDS).try_into()?,
                before_last.into(),
                now_unix.try_into()?,
            ],
        )
        .await?;
    match oldest_of_budget {
        Some(row) => Ok(row.get_u64("sent_at")? + HOUR_SECONDS),
        None => Ok(0),
    }
}

/// bLIP-55: no second notification of one kind within minutes, unless the client came online in between. One that was
/// not accepted counts for nothing.
async fn notifiable_at(
    tx: &mut Tx,
    device: &Device,
    reason: WakeReason,
    now_unix: u64,
) -> Result<u64, StoreError> {
    if device.target.kind != GatewayKind::Lsps5 {
        return Ok(0);
    }
    let last_unheard = tx
        .fetch_one(
            "SELECT MAX(sent_at) AS sent_at FROM wake_attempt WHERE device_id = $1 AND reason = $2 \
             AND sent_at BETWEEN 0 AND $3 AND verdict = 'accepted' AND connected_after_seconds IS NULL",
            &[device.device_id.0.into(), reason.as_str().into(), now_unix.try_into()?],
        )
        .await?
        .opt_u64("sent_at")?;
    Ok(last_unheard.map_or(0, |sent_at| sent_at + LSPS5_COOLDOWN_SECONDS))
}

/// The client of a node's LSPS5 webhooks is here: the next notification waits for no cooldown, also where the last one was for
/// a wake that is over.
///
/// # Errors
/// When the database fails.
pub(super) async fn end_cooldowns(
    tx: &mut Tx,
    node_id: &[u8; 33],
    now_unix: u64,
) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE wake_attempt SET connected_after_seconds = $2 - sent_at \
         WHERE connected_after_seconds IS NULL AND sent_at BETWEEN $3 AND $2 \
         AND device_id IN (SELECT device_id FROM device WHERE node_id = $1 AND platform = $4)",
        &[
            node_id.into(),
            now_unix.try_into()?,
            now_unix.saturating_sub(LSPS5_COOLDOWN_SECONDS).try_into()?,
            GatewayKind::Lsps5.as_str().into(),
        ],
    )
    .await
    .map(drop)
}
