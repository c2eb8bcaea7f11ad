//! The task: rescans the outbox, takes no input but a nudge, and may be dropped at any time. A wake whose pushes were under
//! way then is due again when its lease runs out, or when the next process starts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::FuturesUnordered;
use notifier::{GatewayKind, Push, Verdict, WakeId};
use protocol::api::ledger::PutOff;
use protocol::wake::WakeReason;
use storage::{Commit, StorageError};

use super::Waker;
use crate::limits::{self, ServerLimit};
use crate::metrics::names;
use crate::store::StoreError;
use crate::store::damage;
use crate::store::wakes::{self, Claim, ClaimedWake, Due, DueWake, PendingPush, PushOutcome};

/// Wakes claimed in one commit. A claim waits for the batches that others fill, so the more of them the larger those are; it must not
/// hold up the others for long either.
const CLAIMED_MAX: usize = 128;

/// A wake for a phone that is connected is looked at again after this time: it ends when its reason does, and counts
/// again should the phone go before.
const CONNECTED_RECHECK_SECONDS: u64 = 5;

/// A wake whose rows cannot be read is looked at again after this time: an operator may mend them.
const BROKEN_RECHECK_SECONDS: u64 = 600;

/// The pause between two looks at the outbox while a gateway has all the pushes it may have.
const SATURATED_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two looks at the outbox.
const RESCAN_INTERVAL: Duration = Duration::from_secs(5);

/// Between two rounds of tidying.
const TIDY_SECONDS: u64 = 60;

const DAY_SECONDS: u64 = 24 * 3_600;

/// After the database failed to answer.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Pushes under way, each with its record.
pub(crate) type InFlight<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

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
        let mut in_flight = InFlight::new();
        loop {
            // No push without its row.
            self.database.out_of_trouble().await;
            let round = self.round(&mut in_flight).await;
            let full = self.lanes.full();
            let pause = match round {
                Ok(pause) if full.is_empty() => pause,
                Ok(pause) => pause.min(SATURATED_PAUSE),
                Err(StoreError::Storage(StorageError::Stopped | StorageError::NotCommitted(_))) => return,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the outbox cannot be read");
                    ERROR_PAUSE
                }
            };
            let mut wait = self.clock.sleep(pause);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    () = self.nudged.notified(), if in_flight.len() < self.in_flight_max() => break,
                    Some(()) = in_flight.next() => {
                        if self.lanes.has_room_again(&full) {
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
        let mut in_flight = InFlight::new();
        let outcome = self.round(&mut in_flight).await;
        while in_flight.next().await.is_some() {}
        outcome.map(drop)
    }

    /// Claims all that is due, or as much as may be under way, and says when to look again.
    async fn round<'a>(&'a self, in_flight: &mut InFlight<'a>) -> Result<Duration, StoreError> {
        let now_unix = self.clock.now_unix();
        if now_unix.saturating_sub(self.tidied_at_unix.load(Ordering::Relaxed)) >= TIDY_SECONDS {
            let kept_seconds = self.settings.limits.closed_days_kept * DAY_SECONDS;
            let tidy = || {
                self.database
                    .submit("tidy_wakes", move |tx| Box::pin(wakes::tidy(tx, now_unix, kept_seconds)))
            };
            while tidy().await? {}
            self.tidied_at_unix.store(now_unix, Ordering::Relaxed);
        }
        loop {
            // What was claimed takes its places before more is.
            while in_flight.next().now_or_never().flatten().is_some() {}
            let room = self.in_flight_max().saturating_sub(in_flight.len()).min(self.lanes.room());
            if room == 0 {
                return Ok(SATURATED_PAUSE);
            }
            if !self.claim_due(now_unix, room, in_flight).await? {
                break;
            }
        }
        let next = self
            .database
            .read::<_, StorageError, _>("next_wake", move |tx| Box::pin(wakes::next_due(tx, now_unix)));
        let next = meanwhile(in_flight, next).await?;
        let until_next = next.map(|due_at| Duration::from_secs(due_at.saturating_sub(self.clock.now_unix())));
        Ok(until_next.unwrap_or(RESCAN_INTERVAL).clamp(Duration::from_millis(100), RESCAN_INTERVAL))
    }

    /// Wakes whose pushes are under way at once. A lane is full with as many as it has places; a node with several devices may
    /// have one that waits before its lane.
    fn in_flight_max(&self) -> usize {
        self.lanes.places() + CLAIMED_MAX
    }

    /// One commit's worth of due wakes; false once there is no more. Those that are under way go on meanwhile.
    pub(super) async fn claim_due<'a>(
        &'a self,
        now_unix: u64,
        room: usize,
        in_flight: &mut InFlight<'a>,
    ) -> Result<bool, StoreError> {
        let mut claimed = Vec::new();
        let more = meanwhile(in_flight, self.take_due(now_unix, room, &mut claimed)).await;
        in_flight.extend(claimed.into_iter().map(|wake| self.push(wake).boxed()));
        more
    }

    async fn take_due(
        &self,
        now_unix: u64,
        room: usize,
        claimed: &mut Vec<ClaimedWake>,
    ) -> Result<bool, StoreError> {
        let limit = u32::try_from(room.min(CLAIMED_MAX)).unwrap_or(1);
        let full = self.lanes.full();
        let claimed_for = full.clone();
        // By way of the writer: whoever nudged had queued its transaction before.
        let Due { wakes: due, damaged } = self
            .database
            .submit("due_wakes", move |tx| {
                Box::pin(async move { wakes::due(tx, now_unix, limit, &full).await })
            })
            .await?;
        for id in &damaged {
            self.postpone(*id, now_unix + BROKEN_RECHECK_SECONDS).await?;
        }
        if due.is_empty() {
            return Ok(!damaged.is_empty());
        }
        // Queued together, so committed together; but a row that cannot be read holds up no other wake.
        let claims: Vec<_> =
            due.into_iter().map(|wake| (wake, self.claim(wake, now_unix, claimed_for.clone()))).collect();
        for (DueWake { id, node_id }, claim) in claims {
            match claim.await {
                Ok(Claim::Push(wake)) => claimed.push(wake),
                Ok(Claim::NoDevice { reason }) => log_no_device(&node_id, reason),
                Ok(Claim::Later) => {
                    tracing::debug!(%node_id, "the node is connected, or had enough pushes for now")
                }
                Ok(Claim::OverBudget) => limits::refused(ServerLimit::PushesPerHour, Some(node_id)),
                Ok(Claim::Gone) => {}
                Err(error) if error.is_of_a_row() => {
                    damage::stumbled("wake", id.to_string(), &error);
                    tracing::error!(%node_id, error = &error as &dyn std::error::Error, "a node cannot be woken");
                    self.postpone(id, now_unix + BROKEN_RECHECK_SECONDS).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn claim(&self, wake: DueWake, now_unix: u64, full: Vec<GatewayKind>) -> Commit<Claim, StoreError> {
        if self.node.is_connected(wake.node_id) {
            return self.database.submit("put_off_wake", move |tx| {
                Box::pin(async move {
                    let due_at = now_unix + CONNECTED_RECHECK_SECONDS;
                    wakes::postpone(tx, wake.id, due_at, Some(PutOff::Connected)).await?;
                    Ok(Claim::Later)
                })
            });
        }
        let (fresh_id, limits) = (self.fresh_id(), self.settings.limits);
        self.database.submit("claim_wake", move |tx| {
            Box::pin(async move { wakes::claim(tx, wake.id, now_unix, fresh_id, &limits, &full).await })
        })
    }

    fn postpone(&self, id: i64, due_at: u64) -> Commit<(), StorageError> {
        self.database.submit("put_off_wake", move |tx| Box::pin(wakes::postpone(tx, id, due_at, None)))
    }

    fn fresh_id(&self) -> WakeId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.node.random_bytes()[..16]);
        WakeId(id)
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

    async fn push(&self, wake: ClaimedWake) {
        storage::crash_point!("wake_claimed");
        let outcomes = join_all(wake.pushes.iter().map(|push| self.push_one(&wake, push))).await;
        storage::crash_point!("wake_pushed");
        outcomes.iter().for_each(count);
        let now_unix = self.clock.now_unix();
        let recorded = self.database.submit("finish_wake", move |tx| {
            Box::pin(async move { wakes::finish(tx, &wake, &outcomes, now_unix).await })
        });
        let recorded = recorded.await;
        storage::crash_point!("wake_recorded");
        if let Err(error) = recorded {
            tracing::error!(error = &error as &dyn std::error::Error, "what came of a push is not recorded");
        }
    }

    async fn push_one(&self, wake: &ClaimedWake, push: &PendingPush) -> PushOutcome {
        let started = self.clock.elapsed();
        let verdict = self.verdict(wake, push).await;
        let answered_ms =
            u64::try_from(self.clock.elapsed().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        let (node_id, wake_id, device) = (wake.node_id, wake.wake_id, push.device_id());
        self.alarms.note(push.device().target.kind, push.device().target.topic.as_deref(), &verdict);
        match &verdict {
            Verdict::Accepted => tracing::info!(
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
        PushOutcome { push: push.clone(), verdict, answered_ms }
    }

    async fn verdict(&self, wake: &ClaimedWake, push: &PendingPush) -> Verdict {
        match Push::new(wake.reason.as_str(), wake.wake_id, wake.expires_at) {
            Ok(content) => self.push_to(push.device(), &content.collapsing_as(self.collapse_id(wake))).await,
            Err(error) => Verdict::BadPayload(error.to_string().into()),
        }
    }
}

/// Does something while pushes go on: none waits for what has nothing to do with it.
pub(crate) async fn meanwhile<T>(in_flight: &mut InFlight<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            // The same order each time, for whoever replays it.
            biased;
            done = &mut work => return done,
            Some(()) = in_flight.next() => {}
        }
    }
}

fn count(outcome: &PushOutcome) {
    let platform = ("platform", outcome.push.device().target.kind.as_str());
    names::PUSHES.add(1, &[platform, ("verdict", outcome.verdict.as_str())]);
    let answered = Duration::from_millis(outcome.answered_ms);
    names::PUSH_ANSWER_SECONDS.record(answered.as_secs_f64(), &[platform]);
    if matches!(outcome.verdict, Verdict::TokenDead(_)) {
        names::DEAD_DEVICES.add(1, &[platform]);
    }
}

fn log_no_device(node_id: &bitcoin::secp256k1::PublicKey, reason: WakeReason) {
    tracing::info!(%node_id, %reason, "a node should be woken and has no device; it is as soon as it registers one");
}
