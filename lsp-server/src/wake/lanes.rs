//! A lane for each provider: what one slow provider keeps waiting is its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use notifier::{GatewayKind, Verdict};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many pushes may be under way through each gateway.
pub(super) struct Lanes {
    lanes: Vec<(GatewayKind, Semaphore)>,
    places: usize,
}

impl Lanes {
    pub(super) fn new(kinds: impl IntoIterator<Item = GatewayKind>, places: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        Self { lanes: kinds.into_iter().map(|kind| (kind, Semaphore::new(places))).collect(), places }
    }

    /// All places of all lanes.
    pub(super) fn places(&self) -> usize {
        self.lanes.len().max(1) * self.places
    }

    /// How many places the fullest lane has that has any: so many single pushes fit, whatever their lanes.
    pub(super) fn room(&self) -> usize {
        let free = self.lanes.iter().map(|(_, lane)| lane.available_permits()).filter(|free| *free > 0);
        free.min().unwrap_or(self.places)
    }

    /// The lanes without a place: nothing is claimed for them.
    pub(super) fn full(&self) -> Vec<GatewayKind> {
        self.lanes.iter().filter(|(_, lane)| lane.available_permits() == 0).map(|(kind, _)| *kind).collect()
    }

    /// The lanes with less than a quarter of their places: what can wait leaves these to wakes.
    pub(super) fn nearly_full(&self) -> Vec<GatewayKind> {
        let is_near = |lane: &Semaphore| lane.available_permits() < self.places.div_ceil(4);
        self.lanes.iter().filter(|(_, lane)| is_near(lane)).map(|(kind, _)| *kind).collect()
    }

    /// Whether a lane that was full has a quarter of its places again. With less, each push that ends would cost a look
    /// at the outbox.
    pub(super) fn has_room_again(&self, full: &[GatewayKind]) -> bool {
        let enough = |lane: &Semaphore| lane.available_permits() >= self.places.div_ceil(4);
        self.lanes.iter().any(|(kind, lane)| full.contains(kind) && enough(lane))
    }

    /// A place, once there is one; `None` for a gateway that there is not.
    pub(super) async fn enter(&self, kind: GatewayKind) -> Option<SemaphorePermit<'_>> {
        let (_, lane) = self.lanes.iter().find(|(known, _)| *known == kind)?;
        lane.acquire().await.ok()
    }
}

/// Which configurations a provider refuses now. Each is an alarm once, and not for every push.
#[derive(Default)]
pub(super) struct Alarms {
    raised: Mutex<Vec<Alarm>>,
}

struct Alarm {
    kind: GatewayKind,
    topic: Option<String>,
    why: String,
}

impl Alarms {
    /// Notes what came of a push; logs when a provider begins to refuse the configuration, and when it takes it again.
    /// Answers whether an alarm was raised.
    pub(super) fn note(&self, kind: GatewayKind, topic: Option<&str>, verdict: &Verdict) -> bool {
        let mut raised = self.lock();
        let is_same = |alarm: &Alarm| alarm.kind == kind && alarm.topic.as_deref() == topic;
        match verdict {
            Verdict::Configuration(why) => {
                if raised.iter().any(|alarm| is_same(alarm) && alarm.why == *why) {
                    return false;
                }
                raised.retain(|alarm| !is_same(alarm));
                let topic_owned = topic.map(str::to_owned);
                raised.push(Alarm { kind, topic: topic_owned, why: why.clone().into_owned() });
                tracing::error!(
                    platform = %kind, topic, %why,
                    "a push provider refuses this server's configuration: its phones are not woken"
                );
                true
            }
            Verdict::Accepted if raised.iter().any(is_same) => {
                raised.retain(|alarm| !is_same(alarm));
                tracing::info!(
                    platform = %kind, topic,
                    "a push provider takes this server's configuration again"
                );
                false
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Alarm>> {
        // Alarms are only logged: one that a panic left half changed harms nobody.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_until_the_provider_takes_a_push() {
        let alarms = Alarms::default();
        let refused = |why: &'static str| Verdict::Configuration(why.into());
        assert!(alarms.note(GatewayKind::Apns, Some("com.a"), &refused("no")));
        assert!(!alarms.note(GatewayKind::Apns, Some("com.a"), &refused("no")));
        assert!(alarms.note(GatewayKind::Apns, Some("com.b"), &refused("no")), "another app");
        assert!(alarms.note(GatewayKind::Apns, Some("com.a"), &refused("something else")));
        assert!(!alarms.note(GatewayKind::Apns, Some("com.b"), &Verdict::RetryAfter(None, "later".into())));
        assert!(!alarms.note(GatewayKind::Apns, Some("com.b"), &refused("no")), "a retry mends nothing");
        assert!(!alarms.note(GatewayKind::Apns, Some("com.b"), &Verdict::Accepted));
        assert!(
            !alarms.note(GatewayKind::Apns, Some("com.a"), &refused("something else")),
            "the other app is still refused"
        );
        assert!(alarms.note(GatewayKind::Apns, Some("com.b"), &refused("no")));
    }

    #[tokio::test]
    async fn a_full_lane_is_told_and_leaves_the_others_free() {
        let lanes = Lanes::new([GatewayKind::Apns, GatewayKind::Fcm], 2);
        assert_eq!(lanes.places(), 4);
        let first = lanes.enter(GatewayKind::Apns).await.unwrap();
        assert!(lanes.full().is_empty());
        assert_eq!(lanes.room(), 1);
        let second = lanes.enter(GatewayKind::Apns).await.unwrap();
        assert_eq!(lanes.full(), [GatewayKind::Apns]);
        assert_eq!(lanes.room(), 2, "a full lane is left out");
        assert!(!lanes.has_room_again(&[GatewayKind::Apns]));
        assert!(lanes.enter(GatewayKind::Fcm).await.is_some());
        assert!(lanes.enter(GatewayKind::Webhook).await.is_none());
        drop((first, second));
        assert!(lanes.has_room_again(&[GatewayKind::Apns]));
    }
}
