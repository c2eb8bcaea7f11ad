//! breez/notify's interface: other services ask for a notification on a phone whose push token they name.
//!
//! Off unless `[notify]` says otherwise, and then only for who knows its secret. What is taken is on disk before it is
//! acknowledged, and leaves through the same gateways, lanes and alarms as the server's own wakes, until the provider has taken
//! it, refuses it, or its time is over.
//!
//! What a new webhook over Lightning is told goes the same way: see [`confirmation`].

pub mod confirmation;
mod error;
mod rate;
mod replies;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::hashes::{Hash, sha256};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use notifier::{GatewayKind, Notification, Push, PushTarget, TargetError, Verdict, WakeId};
use serde_json::Value;
use storage::{Database, StorageError};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::NotifyConfig;
use crate::limits::{self, ServerLimit};
use crate::metrics::{self, names};
use crate::store::StoreError;
use crate::store::devices;
use crate::store::notifications::{self, ClaimedNotification, Kept, NewNotification, NotificationLimits};
use crate::wake::{Waker, meanwhile};

pub use error::NotifyError;
use rate::Rate;
use replies::Replies;
pub use replies::{Reply, ReplyId};
pub use template::TemplateError;

/// Pushes under way, each with its record.
type InFlight<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

/// Under it phones answer.
pub const REPLY_PATH: &str = "/api/v1/response/";

/// Between attempts while a provider asks for later, in seconds; the last one goes on until the notification expires.
const BACKOFF_SECONDS: [u64; 6] = [1, 2, 5, 15, 30, 60];

/// Notifications claimed in one commit.
const CLAIMED_MAX: u32 = 32;

/// Pushes under way at once, before the lanes.
const IN_FLIGHT_MAX: usize = 512;

/// The longest pause between two looks at the outbox.
const RESCAN_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest.
const RESCAN_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// After the database failed to answer.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Between two rounds of tidying, in seconds.
const TIDY_SECONDS: u64 = 600;

const DAY_SECONDS: u64 = 24 * 3_600;

/// A notification that is on disk.
#[derive(Debug)]
pub struct Taken {
    /// False if it was there already.
    pub is_new: bool,
    /// The phone's answer, if the caller waits for it.
    pub reply: Option<Reply>,
}

/// Takes notifications and pushes them.
pub struct Notifications {
    database: Database,
    waker: Arc<Waker>,
    config: NotifyConfig,
    secret_hash: sha256::Hash,
    kept_days: u64,
    clock: Arc<dyn Clock>,
    rate: Rate,
    replies: Replies,
    nudged: Notify,
    tidied_at_unix: AtomicU64,
}

impl Notifications {
    /// An interface as `config` has it, that pushes through `waker`'s gateways and remembers what came of it for so many days.
    pub fn new(
        database: Database,
        waker: Arc<Waker>,
        config: NotifyConfig,
        kept_days: u64,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let secret_hash = sha256::Hash::hash(config.secret.as_bytes());
        let rate = Rate::new(config.requests_per_minute_max);
        let (nudged, tidied_at_unix) = (Notify::new(), AtomicU64::new(0));
        Arc::new(Self {
            database,
            waker,
            config,
            secret_hash,
            kept_days,
            clock,
            rate,
            replies: Replies::default(),
            nudged,
            tidied_at_unix,
        })
    }

    /// Takes a notification; when this answers Ok it is on disk, or was there already.
    ///
    /// # Errors
    /// See [`NotifyError`].
    pub async fn take(
        &self,
        secret: Option<&str>,
        (platform, token, app_data): (&str, &str, Option<String>),
        body: &Value,
    ) -> Result<Taken, NotifyError> {
        if !self.config.enabled {
            return Err(NotifyError::Off);
        }
        // Hashes of the same length, compared in the same time.
        let hash = sha256::Hash::hash(secret.unwrap_or_default().as_bytes());
        if !fixed_time_eq(hash.as_byte_array(), self.secret_hash.as_byte_array()) {
            return Err(NotifyError::Secret);
        }
        let now_unix = self.clock.now_unix();
        if !self.rate.take(now_unix) {
            limits::refused(ServerLimit::NotifyRequests, None);
            return Err(NotifyError::TooManyRequests(self.config.requests_per_minute_max));
        }
        let target = self.target(platform, token)?;
        let (body, reply) = self.answered_here(body)?;
        let (notification, seconds) = template::read(&body, app_data)?;
        let mut notification_id = [0; 16];
        notification_id.copy_from_slice(&self.waker.random_bytes()[..16]);
        let new = NewNotification {
            notification_id,
            template: notification.kind().to_owned(),
            kind: target.kind,
            sealed: self.waker.tokens().seal_content(notification_id, &target, &notification.to_text()),
            now_unix,
            expires_at: now_unix + seconds,
        };
        let limits = NotificationLimits {
            per_token_per_hour_max: self.config.pushes_per_token_per_hour_max,
            open_max: self.config.waiting_max,
        };
        let template = new.template.clone();
        let kept = self
            .database
            .submit("keep_notification", move |tx| {
                Box::pin(async move { notifications::keep(tx, &new, &limits).await })
            })
            .await?;
        storage::crash_point!("notification_kept");
        match kept {
            Kept::New => {
                tracing::info!(notification = %WakeId(notification_id), template, platform = %target.kind, "a notification is asked for");
                self.nudged.notify_one();
                Ok(Taken { is_new: true, reply })
            }
            Kept::Known => Ok(Taken { is_new: false, reply }),
            Kept::TooManyForToken => {
                limits::refused(ServerLimit::NotifyPerToken, None);
                Err(NotifyError::TooManyForToken(limits.per_token_per_hour_max))
            }
            Kept::Full => {
                limits::refused(ServerLimit::NotifyWaiting, None);
                Err(NotifyError::Full)
            }
        }
    }

    /// What the caller says, and the answer that it waits for: breez/notify's `invoice.request` names no place for it.
    fn answered_here<'a>(&self, body: &'a Value) -> Result<(Cow<'a, Value>, Option<Reply>), NotifyError> {
        if !template::waits_for_reply(body) {
            return Ok((Cow::Borrowed(body), None));
        }
        let base = self.config.reply_url.as_deref().ok_or(NotifyError::NoReplyUrl)?;
        let id = ReplyId::new(self.waker.random_bytes());
        let Some(reply) = self.replies.wait_for(id) else {
            limits::refused(ServerLimit::NotifyReplies, None);
            return Err(NotifyError::TooManyWait);
        };
        let url = format!("{}{REPLY_PATH}{}", base.trim_end_matches('/'), id.to_text());
        Ok((Cow::Owned(template::with_reply_url(body, url)), Some(reply)))
    }

    /// One was kept by somebody else's transaction, which is queued or committed: look at once.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// A phone's answer. False if nobody waits for it, or not any more.
    pub fn answer(&self, id: ReplyId, text: String) -> bool {
        self.replies.answer(id, text)
    }

    /// Where the phone is. breez/notify reaches both systems by FCM; an iPhone's own token is taken too, if this server has its
    /// app.
    fn target(&self, platform: &str, token: &str) -> Result<PushTarget, NotifyError> {
        let kinds: &[GatewayKind] = match platform {
            "android" => &[GatewayKind::Fcm],
            "ios" => &[GatewayKind::Apns, GatewayKind::Fcm],
            _ => return Err(NotifyError::Platform),
        };
        let mut refused = TargetError::NotServed(GatewayKind::Fcm);
        for kind in kinds {
            let topic = self.config.apns_topic.clone().filter(|_| *kind == GatewayKind::Apns);
            let target = PushTarget { topic, ..PushTarget::new(*kind, token) };
            match self.waker.check(&target) {
                Ok(()) => return Ok(target),
                Err(error) => refused = error,
            }
        }
        Err(refused.into())
    }

    /// Pushes until the database is closed.
    pub async fn run(self: Arc<Self>) {
        if let Err(error) = self.take_over().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "notifications of the last process are not taken over"
            );
        }
        let mut in_flight = InFlight::new();
        loop {
            meanwhile(&mut in_flight, self.database.out_of_trouble()).await;
            let pause = match self.round(&mut in_flight).await {
                Ok(pause) => pause,
                Err(StoreError::Storage(StorageError::Stopped | StorageError::NotCommitted(_))) => return,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "notifications cannot be read");
                    ERROR_PAUSE
                }
            };
            let mut wait = self.clock.sleep(pause);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    () = self.nudged.notified(), if in_flight.len() < IN_FLIGHT_MAX => break,
                    Some(()) = in_flight.next() => {}
                }
            }
        }
    }

    /// Takes up what the last process on this database did not live to record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(&self) -> Result<(), StorageError> {
        let now_unix = self.clock.now_unix();
        let taken = self
            .database
            .submit("take_over_notifications", move |tx| Box::pin(notifications::take_over(tx, now_unix)))
            .await?;
        if taken > 0 {
            tracing::info!(
                taken,
                "the last process died while it pushed; these notifications are pushed again"
            );
        }
        Ok(())
    }

    /// One pass: pushes all that is due, and records what came of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dispatch(&self) -> Result<(), StoreError> {
        let mut in_flight = InFlight::new();
        let outcome = self.round(&mut in_flight).await;
        while in_flight.next().await.is_some() {}
        outcome.map(drop)
    }

    /// Claims all that is due, or as much as may be under way, and says when to look again. Pushes go on meanwhile: one that had begun to
    /// read, and was left alone with its connection, could keep the claim from getting one.
    async fn round<'a>(&'a self, in_flight: &mut InFlight<'a>) -> Result<Duration, StoreError> {
        let now_unix = self.clock.now_unix();
        if now_unix.saturating_sub(self.tidied_at_unix.load(Ordering::Relaxed)) >= TIDY_SECONDS {
            let before_unix = now_unix.saturating_sub(self.kept_days * DAY_SECONDS);
            let tidy = || {
                self.database
                    .submit("tidy_notifications", move |tx| Box::pin(notifications::tidy(tx, before_unix)))
            };
            while meanwhile(in_flight, tidy()).await? {}
            self.tidied_at_unix.store(now_unix, Ordering::Relaxed);
        }
        loop {
            while in_flight.next().now_or_never().flatten().is_some() {}
            let full = self.waker.lanes_for_wakes();
            if in_flight.len() + CLAIMED_MAX as usize > IN_FLIGHT_MAX {
                return Ok(RESCAN_INTERVAL_MIN);
            }
            let claim = self.database.submit("claim_notifications", move |tx| {
                Box::pin(async move { notifications::claim(tx, now_unix, CLAIMED_MAX, &full).await })
            });
            let claimed = meanwhile(in_flight, claim).await?;
            if claimed.is_empty() {
                break;
            }
            in_flight.extend(claimed.into_iter().map(|claimed| self.push(claimed).boxed()));
        }
        let next = self
            .database
            .read::<_, StorageError, _>("next_notification", |tx| Box::pin(notifications::next_due(tx)));
        let next = meanwhile(in_flight, next).await?;
        let until_next = next.map(|due_at| Duration::from_secs(due_at.saturating_sub(self.clock.now_unix())));
        Ok(until_next.unwrap_or(RESCAN_INTERVAL).clamp(RESCAN_INTERVAL_MIN, RESCAN_INTERVAL))
    }

    /// Pushes what is claimed. The claim is on disk.
    async fn push(&self, claimed: ClaimedNotification) {
        storage::crash_point!("notification_claimed");
        let started = self.clock.elapsed();
        let (verdict, gone) = match claimed.kind {
            GatewayKind::Lsps5 => self.confirm(&claimed).await,
            _ => (self.verdict(&claimed).await, None),
        };
        storage::crash_point!("notification_pushed");
        let elapsed = self.clock.elapsed().saturating_sub(started);
        let answered_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        metrics::count_push(claimed.kind, &verdict, elapsed);
        if gone.is_some() {
            names::DEAD_DEVICES.add(1, &[("platform", claimed.kind.as_str())]);
        }
        let next_at = next_at(&claimed, &verdict, self.clock.now_unix());
        tracing::info!(
            notification = %WakeId(claimed.notification_id), platform = %claimed.kind, %verdict, answered_ms,
            again = next_at.is_some(), "a notification was pushed"
        );
        let finished = self.database.submit("finish_notification", move |tx| {
            Box::pin(async move {
                if let Some(hook) = gone {
                    devices::forget_dead(tx, &hook).await?;
                }
                notifications::finish(tx, &claimed, &verdict, answered_ms, next_at).await
            })
        });
        if let Err(error) = finished.await {
            tracing::error!(error = &error as &dyn std::error::Error, "what came of a push is not recorded");
        }
        storage::crash_point!("notification_recorded");
    }

    async fn verdict(&self, claimed: &ClaimedNotification) -> Verdict {
        let opened = self.waker.tokens().open_content(claimed.notification_id, &claimed.sealed);
        let Ok((token, content)) = opened else {
            return Verdict::BadPayload("the notification's row cannot be opened".into());
        };
        let Some(notification) = Notification::from_text(&content) else {
            return Verdict::BadPayload("the notification's row makes no sense".into());
        };
        let target = PushTarget {
            topic: self.config.apns_topic.clone().filter(|_| claimed.kind == GatewayKind::Apns),
            ..PushTarget::new(claimed.kind, token)
        };
        let push = Push::of_notification(notification, WakeId(claimed.notification_id), claimed.expires_at);
        self.waker.push_target(&target, &push).await
    }
}

/// When it is tried again. Never past its expiry: what is due then only expires.
fn next_at(claimed: &ClaimedNotification, verdict: &Verdict, now_unix: u64) -> Option<u64> {
    let step = (claimed.attempts.max(1) as usize - 1).min(BACKOFF_SECONDS.len() - 1);
    let backoff = BACKOFF_SECONDS[step];
    let wait = match verdict {
        Verdict::Accepted | Verdict::TokenDead(_) | Verdict::BadPayload(_) => return None,
        Verdict::RetryAfter(after, _) => after.map_or(backoff, |after| after.as_secs().max(backoff)),
        Verdict::Configuration(_) => BACKOFF_SECONDS[BACKOFF_SECONDS.len() - 1],
    };
    Some((now_unix + wait).min(claimed.expires_at))
}
