//! What came of the pushes that were claimed.

use notifier::Verdict;
use protocol::api::ledger::PutOff;
use protocol::wake::next_attempt;
use storage::{StorageError, Tx};

use super::REPEAT_SECONDS;
use super::claim::{ClaimedWake, PendingPush};
use super::limits::LEASE_SECONDS;
use crate::store::devices;

/// How long a device is left alone after its gateway said that the operator's settings are wrong.
const CONFIGURATION_PAUSE_SECONDS: u64 = 300;

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
        "UPDATE wake SET due_at = $2, put_off = $3, lane = '' WHERE id = $1",
        &[id.into(), due_at.try_into()?, why.map(PutOff::as_str).into()],
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
        "UPDATE wake SET lane = '', due_at = CASE WHEN under_way = 2 AND $3 > $4 THEN $4 ELSE $3 END, under_way = 0 \
         WHERE id = $1 AND state = 'open' AND attempts = $2 AND step = $5",
        &[
            wake.id.into(),
            wake.attempts.into(),
            scheduled.try_into()?,
            (now_unix + REPEAT_SECONDS).try_into()?,
            wake.step.into(),
        ],
    )
    .await
    .map(drop)
}
