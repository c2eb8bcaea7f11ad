//! The task: rescans the outbox, takes no input but a nudge, and may be dropped at any time. A wake whose pushes were under
//! way then is due again when its lease runs out, or when the next process starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use futures::StreamExt;
use futures::future::join_all;
use notifier::{GatewayKind, Push, Verdict, WakeId};
use protocol::wake::WakeReason;
use storage::StorageError;

use super::Waker;
use super::in_flight::{InFlight, Pushed, meanwhile};
use crate::limits::{self, ServerLimit};
use crate::metrics::{self, names};
use crate::store::StoreError;
use crate::store::wakes::{self, Claim, ClaimedWake, Claiming, PendingPush, PushOutcome};

/// Wakes claimed in one commit. A claim waits for the batches that others fill, so the more of them the larger those are; it must not
/// hold up the others for long either.
const CLAIMED_MAX: usize = 256;

/// The pause between two looks at the outbox while a gateway has all the pushes it may have.
const SATURATED_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two looks at the outbox.
const RESCAN_INTERVAL: Duration = Duration::from_secs(5);

/// Between two rounds of tidying.
const TIDY_SECONDS: u64 = 60;

const DAY_SECONDS: u64 = 24 * 3_600;

/// After the database failed to answer.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What one commit has claimed.
struct Batch {
    claims: Vec<Claim>,
    /// When the next wake is due, in seconds since 1970, if this was all that is due now.
    next_due: Option<u64>,
    has_all: bool,
}

impl Waker {
    /// Dispatches until the database is closed.
    pub async fn run(self: Arc<Self>) {
        if let Err(error) = self.take_over().await {
            // Whoever is concerned is woken when the leases run out.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "wakes of the last process are not taken over"
            );
        }
        let mut in_flight = InFlight::new(&self);
        loop {
            // No push without its row.
            meanwhile(&mut in_flight, self.database.out_of_trouble()).await;
            let pause = match self.round(&mut in_flight).await {
                Ok(pause) => pause,
                Err(StoreError::Storage(StorageError::Stopped | StorageError::NotCommitted(_))) => return,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the outbox cannot be read");
                    ERROR_PAUSE
                }
            };
            let full = self.lanes.full();
            let is_saturated = in_flight.len() >= self.in_flight_max();
            let takes_more = !is_saturated && !self.lanes.is_busy();
            let mut wait = self.clock.sleep(if full.is_empty() { pause } else { pause.min(SATURATED_PAUSE) });
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    () = self.nudged.notified(), if takes_more => break,
                    Some(()) = in_flight.next() => {
                        let has_room = is_saturated && in_flight.len() <= self.in_flight_max() / 2;
                        if has_room || self.lanes.has_room_again(&full) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Takes up the wakes whose pushes the last process on this database did not live to record. Once, before the first pass.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(&self) -> Result<(), StorageError> {
        let now_unix = self.clock.now_unix();
        let taken = self
            .database
            .submit("take_over_wakes", move |tx| Box::pin(wakes::take_over(tx, now_unix)))
            .await?;
        if taken > 0 {
            tracing::info!(taken, "the last process died while it pushed; these wakes are pushed again");
        }
        Ok(())
    }

    /// One pass: pushes all that is due, or as much as may be under way, and records what came of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dispatch(&self) -> Result<(), StoreError> {
        let mut in_flight = InFlight::new(self);
        let outcome = self.round(&mut in_flight).await;
        while in_flight.next().await.is_some() {}
        outcome.map(drop)
    }

    /// Claims all that is due, or as much as may be under way, and says when to look again.
    async fn round(&self, in_flight: &mut InFlight<'_>) -> Result<Duration, StoreError> {
        let now_unix = self.clock.now_unix();
        if now_unix.saturating_sub(self.tidied_at_unix.load(Ordering::Relaxed)) >= TIDY_SECONDS {
            let kept_seconds = self.settings.limits.closed_days_kept * DAY_SECONDS;
            let tidy = || {
                self.database
                    .submit("tidy_wakes", move |tx| Box::pin(wakes::tidy(tx, now_unix, kept_seconds)))
            };
            while meanwhile(in_flight, tidy()).await? {}
            self.tidied_at_unix.store(now_unix, Ordering::Relaxed);
        }
        loop {
            // What was claimed takes its places before more is.
            in_flight.catch_up().await;
            self.lanes.look(self.clock.elapsed());
            let room = self.in_flight_max().saturating_sub(in_flight.len()).min(self.lanes.room());
            if self.lanes.is_busy() || room == 0 {
                return Ok(SATURATED_PAUSE);
            }
            let next_due = match self.claim_some(now_unix, room, in_flight).await? {
                Some(next_due) => next_due,
                None => continue,
            };
            // What is due goes first, also between two parts of this, and behind the last.
            if self.hurry_some(in_flight).await? {
                continue;
            }
            let until_next = next_due.map(|due_at| due_at.saturating_sub(self.clock.now_unix()));
            let until_next = until_next.map_or(RESCAN_INTERVAL, Duration::from_secs);
            return Ok(until_next.clamp(Duration::from_millis(100), RESCAN_INTERVAL));
        }
    }

    /// Wakes whose pushes are under way at once. A lane is full with as many as it has places; some wait before it.
    fn in_flight_max(&self) -> usize {
        self.lanes.places() + CLAIMED_MAX
    }

    /// One commit's worth of due wakes; false once there is no more.
    #[cfg(test)]
    pub(super) async fn claim_due(
        &self,
        now_unix: u64,
        room: usize,
        in_flight: &mut InFlight<'_>,
    ) -> Result<bool, StoreError> {
        Ok(self.claim_some(now_unix, room, in_flight).await?.is_none())
    }

    /// One commit's worth of due wakes, those first that waited for their gateway. Those that are under way go on meanwhile. `None`
    /// if there may be more, else when the next one is due.
    async fn claim_some(
        &self,
        now_unix: u64,
        room: usize,
        in_flight: &mut InFlight<'_>,
    ) -> Result<Option<Option<u64>>, StoreError> {
        let limit = u32::try_from(room.min(CLAIMED_MAX)).unwrap_or(1);
        for kind in self.lanes.waited_for() {
            let free = u32::try_from(self.lanes.free(kind)).unwrap_or(limit).min(limit);
            let batch = meanwhile(in_flight, self.claim(now_unix, Some(kind), free)).await?;
            self.lanes.set_waited_for(kind, !batch.has_all);
            self.take(batch, in_flight);
        }
        let batch = meanwhile(in_flight, self.claim(now_unix, None, limit)).await?;
        let (more, next_due) = (!batch.has_all, batch.next_due);
        self.take(batch, in_flight);
        Ok(if more { None } else { Some(next_due) })
    }

    /// By way of the writer: whoever nudged had queued its transaction before.
    async fn claim(&self, now_unix: u64, lane: Option<GatewayKind>, limit: u32) -> Result<Batch, StoreError> {
        let (full, limits, seed) = (self.lanes.full(), self.settings.limits, self.node.random_bytes());
        let node = self.node.clone();
        self.database
            .submit("claim_wakes", move |tx| {
                Box::pin(async move {
                    let is_connected = move |peer| node.is_connected(peer);
                    let claiming = Claiming {
                        now_unix,
                        limits: &limits,
                        full: &full,
                        seed,
                        is_connected: &is_connected,
                    };
                    let claims = wakes::claim_due(tx, lane, limit, &claiming).await?;
                    let has_all = claims.len() < limit as usize
                        && !claims.iter().any(|claim| matches!(claim, Claim::Again));
                    let next_due =
                        if has_all && lane.is_none() { wakes::next_due(tx, now_unix).await? } else { None };
                    Ok::<_, StoreError>(Batch { claims, next_due, has_all })
                })
            })
            .await
    }

    /// What is claimed and committed is pushed.
    fn take(&self, batch: Batch, in_flight: &mut InFlight<'_>) {
        let mut claimed = Vec::with_capacity(batch.claims.len());
        for claim in batch.claims {
            match claim {
                Claim::Push(wake) => claimed.push(wake),
                Claim::NoDevice { node_id, reason } => log_no_device(&node_id, reason),
                Claim::Later(node_id) => {
                    tracing::debug!(%node_id, "the node is connected, or had enough pushes for now")
                }
                Claim::OverBudget(node_id) => limits::refused(ServerLimit::PushesPerHour, Some(node_id)),
                Claim::Waits(kind) => self.lanes.set_waited_for(kind, true),
                Claim::Again | Claim::Over => {}
                Claim::Damaged { id, error } => {
                    tracing::error!(
                        wake = id,
                        error = &error as &dyn std::error::Error,
                        "a node cannot be woken"
                    );
                }
            }
        }
        in_flight.extend(claimed);
    }

    /// The same for all pushes about one payment to one node, and meaningless to who does not know the key.
    fn collapse_id(&self, wake: &ClaimedWake) -> WakeId {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.settings.collapse_key);
        engine.input(&wake.node_id.serialize());
        engine.input(&wake.group);
        let mut id = [0; 16];
        id.copy_from_slice(&Hmac::from_engine(engine).to_byte_array()[..16]);
        WakeId(id)
    }

    /// Sends a claimed wake's pushes. The claim is on disk.
    pub(super) async fn push(&self, mut wake: ClaimedWake) -> Pushed {
        storage::crash_point!("wake_claimed");
        let pushes = std::mem::take(&mut wake.pushes);
        let outcomes = join_all(pushes.into_iter().map(|push| self.push_one(&wake, push))).await;
        storage::crash_point!("wake_pushed");
        outcomes.iter().for_each(count);
        Pushed { wake, outcomes }
    }

    async fn push_one(&self, wake: &ClaimedWake, push: PendingPush) -> PushOutcome {
        let started = self.clock.elapsed();
        let verdict = self.verdict(wake, &push).await;
        let answered_ms =
            u64::try_from(self.clock.elapsed().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        let (node_id, wake_id, device) = (wake.node_id, wake.wake_id, push.device_id());
        self.alarms.note(push.device().target.kind, push.device().target.topic.as_deref(), &verdict);
        match &verdict {
            Verdict::Accepted if self.lines.may_say(self.clock.now_unix()) => tracing::info!(
                %node_id, %wake_id, %device, reason = %wake.reason, answered_ms, "pushed"
            ),
            // The ledger has each, and the metrics their number.
            Verdict::Accepted => tracing::debug!(
                %node_id, %wake_id, %device, reason = %wake.reason, answered_ms, "pushed"
            ),
            // The alarm says it once, and louder.
            Verdict::Configuration(_) | Verdict::RetryAfter(..) => tracing::info!(
                %node_id, %wake_id, %device, reason = %wake.reason, %verdict, answered_ms, "a push is to be tried again"
            ),
            Verdict::TokenDead(_) | Verdict::BadPayload(_) => tracing::warn!(
                %node_id, %wake_id, %device, reason = %wake.reason, %verdict, answered_ms, "a push was refused"
            ),
        }
        PushOutcome { push, verdict, answered_ms }
    }

    async fn verdict(&self, wake: &ClaimedWake, push: &PendingPush) -> Verdict {
        match Push::new(wake.reason.as_str(), wake.wake_id, wake.expires_at) {
            Ok(content) => self.push_to(push.device(), &content.collapsing_as(self.collapse_id(wake))).await,
            Err(error) => Verdict::BadPayload(error.to_string().into()),
        }
    }
}

fn count(outcome: &PushOutcome) {
    let platform = ("platform", outcome.push.device().target.kind.as_str());
    metrics::count_push(
        outcome.push.device().target.kind,
        &outcome.verdict,
        Duration::from_millis(outcome.answered_ms),
    );
    if matches!(outcome.verdict, Verdict::TokenDead(_)) {
        names::DEAD_DEVICES.add(1, &[platform]);
    }
}

fn log_no_device(node_id: &bitcoin::secp256k1::PublicKey, reason: WakeReason) {
    tracing::info!(%node_id, %reason, "a node should be woken and has no device; it is as soon as it registers one");
}
