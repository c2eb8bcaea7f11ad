//! The dispatcher's side of the outbox: claim what is due, record what came of it.

use bitcoin::secp256k1::PublicKey;
use notifier::{GatewayKind, Verdict, WakeId};
use protocol::api::ledger::PutOff;
use protocol::wake::{WakeReason, next_attempt};
use storage::{StorageError, Tx};

use super::{REPEAT_SECONDS, StoreError, node_id, reason};
use crate::store::devices::{self, Device};

/// How long a claimed wake is left alone: longer than any gateway takes for a push. After a crash it is due again then, or
/// as soon as the next process takes it over: see [`take_over`].
pub const LEASE_SECONDS: u64 = 20;

/// When a wake is looked at again whose gateway filled up just now, in seconds.
const FULL_RECHECK_SECONDS: u64 = 1;

/// How long a device is left alone after its gateway said that the operator's settings are wrong.
const CONFIGURATION_PAUSE_SECONDS: u64 = 300;

const HOUR_SECONDS: u64 = 3600;

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

/// What became of a wake that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Send these pushes, then [`finish`].
    Push(ClaimedWake),
    /// The node has no device. Nothing happens until one registers.
    NoDevice {
        /// Why it should have been woken.
        reason: WakeReason,
    },
    /// All its devices were pushed a moment ago, or their providers asked for a pause.
    Later,
    /// As [`Self::Later`], and one of them has had all pushes that it may have in an hour.
    OverBudget,
    /// It ended, expired, or was put off meanwhile.
    Gone,
}

/// A wake with the pushes to send now. The attempts are on record already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedWake {
    /// The row.
    pub id: i64,
    /// Who is woken.
    pub node_id: PublicKey,
    /// The id that the pushes carry.
    pub wake_id: WakeId,
    /// Why.
    pub reason: WakeReason,
    /// What it is about.
    pub group: [u8; 32],
    /// When the push becomes pointless, in seconds since 1970.
    pub expires_at: u64,
    /// One for each device.
    pub pushes: Vec<PendingPush>,
    gen_seen: i64,
    step: u32,
    attempts: u32,
}

/// One push to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPush {
    attempt: i64,
    device: Device,
}

impl PendingPush {
    /// Where it goes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device, for the log.
    pub fn device_id(&self) -> devices::DeviceId {
        self.device.device_id
    }
}

/// What a gateway made of one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushOutcome {
    /// The push.
    pub push: PendingPush,
    /// The gateway's verdict.
    pub verdict: Verdict,
    /// How long the gateway took.
    pub answered_ms: u64,
}

/// Makes every wake due that was claimed and whose latest pushes have no verdict. For a process that has just opened the database:
/// the lease on it proves that whoever claimed them is dead. Answers how many there were.
///
/// # Errors
/// When the database fails.
pub async fn take_over(tx: &mut Tx, now_unix: u64) -> Result<u64, StorageError> {
    tx.execute(
        "UPDATE wake SET due_at = $1 WHERE state = 'open' AND due_at > $1 AND expires_at > $1 AND EXISTS \
         (SELECT 1 FROM wake_attempt AS cut_off WHERE cut_off.wake = wake.id AND cut_off.verdict IS NULL \
         AND cut_off.sent_at > $2 AND NOT EXISTS (SELECT 1 FROM wake_attempt AS later WHERE later.wake = wake.id \
         AND later.id > cut_off.id AND later.verdict IS NOT NULL))",
        &[now_unix.try_into()?, now_unix.saturating_sub(LEASE_SECONDS).try_into()?],
    )
    .await
}

/// Looks at a wake again later, without an attempt. `why` is for who asks why the phone did not ring.
///
/// # Errors
/// When the database fails.
pub async fn postpone(tx: &mut Tx, id: i64, due_at: u64, why: Option<PutOff>) -> Result<(), StorageError> {
    tx.execute(
        "UPDATE wake SET due_at = $2, put_off = $3 WHERE id = $1",
        &[id.into(), due_at.try_into()?, why.map(PutOff::as_str).into()],
    )
    .await
    .map(drop)
}

/// Takes a wake that is due, and records an attempt for each device that may be pushed now and whose gateway is not `full`.
/// `fresh_id` becomes its opaque id if it has none.
///
/// # Errors
/// When the database fails or a row cannot be read.
pub async fn claim(
    tx: &mut Tx,
    id: i64,
    now_unix: u64,
    fresh_id: WakeId,
    limits: &WakeLimits,
    full: &[GatewayKind],
) -> Result<Claim, StoreError> {
    let row = tx
        .fetch_optional(
            "SELECT wake_id, node_id, reason, wake_group, gen, expires_at, step, attempts FROM wake \
             WHERE id = $1 AND state = 'open' AND due_at <= $2 AND expires_at > $2",
            &[id.into(), now_unix.try_into()?],
        )
        .await?;
    let Some(row) = row else { return Ok(Claim::Gone) };
    let (node_id, reason) = (node_id(&row)?, reason(&row)?);
    let expires_at = row.get_u64("expires_at")?;
    let wake_id = row.opt_array("wake_id")?.map_or(fresh_id, WakeId);
    let next = |column| {
        let count = row.get_u32(column)?.checked_add(1);
        count.ok_or(StoreError::Column { table: "wake", column })
    };
    let (gen_seen, step, attempts) = (row.get_i64("gen")?, next("step")?, next("attempts")?);
    let group = row.get_array("wake_group")?;

    let devices = devices::of_node(tx, node_id).await?;
    if devices.is_empty() {
        postpone(tx, id, expires_at, Some(PutOff::NoDevice)).await?;
        return Ok(Claim::NoDevice { reason });
    }
    let mut ready = Vec::new();
    let mut first: Option<(u64, PutOff)> = None;
    let mut over_budget = false;
    for device in devices {
        let (at, why) = match pushable_at(tx, &device, id, reason, now_unix, limits).await? {
            (at, _) if at <= now_unix && full.contains(&device.target.kind) => {
                (now_unix + FULL_RECHECK_SECONDS, PutOff::Lane)
            }
            other => other,
        };
        over_budget |= at > now_unix && why == PutOff::Budget;
        if at <= now_unix {
            ready.push(device);
        } else if first.is_none_or(|(first_at, _)| at < first_at) {
            first = Some((at, why));
        }
    }
    if ready.is_empty() {
        let (ready_at, why) = first.unzip();
        postpone(tx, id, ready_at.unwrap_or(expires_at).min(expires_at), why).await?;
        return Ok(if over_budget { Claim::OverBudget } else { Claim::Later });
    }

    // Due still: the claim itself says so, whoever else reads the row meanwhile.
    let claimed = tx
        .execute(
            "UPDATE wake SET wake_id = $2, step = $3, attempts = $4, due_at = $5, put_off = NULL \
             WHERE id = $1 AND state = 'open' AND due_at <= $6 AND attempts < $4",
            &[
                id.into(),
                wake_id.0.into(),
                step.into(),
                attempts.into(),
                (now_unix + LEASE_SECONDS).try_into()?,
                now_unix.try_into()?,
            ],
        )
        .await?;
    if claimed == 0 {
        return Ok(Claim::Gone);
    }
    let mut pushes = Vec::new();
    for device in ready {
        let row = tx
            .fetch_one(
                "INSERT INTO wake_attempt (wake, device_id, platform, reason, sent_at) VALUES ($1, $2, $3, $4, $5) \
                 RETURNING id",
                &[
                    id.into(),
                    device.device_id.0.into(),
                    device.target.kind.as_str().into(),
                    reason.as_str().into(),
                    now_unix.try_into()?,
                ],
            )
            .await?;
        pushes.push(PendingPush { attempt: row.get_i64("id")?, device });
    }
    Ok(Claim::Push(ClaimedWake {
        id,
        node_id,
        wake_id,
        reason,
        group,
        expires_at,
        pushes,
        gen_seen,
        step,
        attempts,
    }))
}

/// When the device may be pushed for this wake: now or earlier, or the time at which its provider, the cooldown and the
/// hourly budget allow it, and which of them it waits for.
async fn pushable_at(
    tx: &mut Tx,
    device: &Device,
    wake: i64,
    reason: WakeReason,
    now_unix: u64,
    limits: &WakeLimits,
) -> Result<(u64, PutOff), StoreError> {
    let (device_id, reason_code) = (device.device_id.0, reason.as_str());
    let last_of_others = tx
        .fetch_one(
            "SELECT MAX(sent_at) AS sent_at FROM wake_attempt WHERE device_id = $1 AND reason = $2 AND wake <> $3 \
             AND sent_at BETWEEN 0 AND $4",
            &[device_id.into(), reason_code.into(), wake.into(), now_unix.try_into()?],
        )
        .await?
        .opt_u64("sent_at")?;
    let cooled = last_of_others.map_or(0, |sent_at| sent_at + limits.cooldown_seconds);
    let cooled = cooled.max(notifiable_at(tx, device, reason, now_unix).await?);

    let max = limits.pushes_per_hour_max(reason);
    let Some(before_last) = max.checked_sub(1) else { return Ok((u64::MAX, PutOff::Budget)) };
    let oldest_of_budget = tx
        .fetch_optional(
            "SELECT sent_at FROM wake_attempt WHERE device_id = $1 AND reason = $2 AND sent_at > $3 AND sent_at <= $5 \
             ORDER BY sent_at DESC LIMIT 1 OFFSET $4",
            &[
                device_id.into(),
                reason_code.into(),
                now_unix.saturating_sub(HOUR_SECONDS).try_into()?,
                before_last.into(),
                now_unix.try_into()?,
            ],
        )
        .await?;
    let budget_at = match oldest_of_budget {
        Some(row) => row.get_u64("sent_at")? + HOUR_SECONDS,
        None => 0,
    };
    let waits =
        [(device.paused_until, PutOff::Paused), (cooled, PutOff::Cooldown), (budget_at, PutOff::Budget)];
    Ok(waits.into_iter().max_by_key(|(at, _)| *at).unwrap_or((0, PutOff::Cooldown)))
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

/// Records what came of a claimed wake's pushes: dead devices go, providers that ask for a pause get it, and the
/// schedule says when the wake is due next. Later than the lease, it records the outcomes and changes no schedule.
///
/// # Errors
/// When the database fails.
pub async fn finish(
    tx: &mut Tx,
    wake: &ClaimedWake,
    outcomes: &[PushOutcome],
    now_unix: u64,
) -> Result<(), StorageError> {
    for PushOutcome { push, verdict, answered_ms } in outcomes {
        tx.execute(
            "UPDATE wake_attempt SET verdict = $2, why = $3, answered_ms = $4 WHERE id = $1",
            &[push.attempt.into(), verdict.as_str().into(), verdict.why().into(), (*answered_ms).try_into()?],
        )
        .await?;
        match verdict {
            Verdict::TokenDead(_) => devices::forget_dead(tx, &push.device).await?,
            Verdict::RetryAfter(Some(pause), _) => {
                devices::pause(tx, push.device.device_id, now_unix + pause.as_secs()).await?;
            }
            Verdict::Configuration(_) => {
                devices::pause(tx, push.device.device_id, now_unix + CONFIGURATION_PAUSE_SECONDS).await?;
            }
            Verdict::Accepted | Verdict::RetryAfter(None, _) | Verdict::BadPayload(_) => {}
        }
    }
    let scheduled = next_attempt(wake.step, now_unix, wake.expires_at).unwrap_or(wake.expires_at);
    tx.execute(
        "UPDATE wake SET due_at = CASE WHEN gen > $3 AND $4 > $5 THEN $5 ELSE $4 END \
         WHERE id = $1 AND state = 'open' AND attempts = $2 AND step = $6",
        &[
            wake.id.into(),
            wake.attempts.into(),
            wake.gen_seen.into(),
            scheduled.try_into()?,
            (now_unix + REPEAT_SECONDS).try_into()?,
            wake.step.into(),
        ],
    )
    .await
    .map(drop)
}
