//! A lane for each provider: what one slow provider keeps waiting is its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notifier::{GatewayKind, Verdict};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A lane that has had no room for longer than this is slow: what is due for it waits in its own line, and keeps nobody else
/// waiting. With one that is only busy the others wait so long, which spares the outbox that line.
const SLOW_AFTER: Duration = Duration::from_millis(50);

/// How many pushes may be under way through each gateway.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    places: usize,
    /// Gateways that wakes may wait for in the database: all of them, until it was asked.
    waited_for: Mutex<Vec<GatewayKind>>,
}

struct Lane {
    kind: GatewayKind,
    places: Semaphore,
    state: Mutex<LaneState>,
}

#[derive(Clone, Copy, Default)]
struct LaneState {
    /// When it was found without room, on the clock of [`Clock::elapsed`](crate::clock::Clock::elapsed), if it has had none since.
    full_since: Option<Duration>,
    /// The last time, room was long in coming.
    is_slow: bool,
}

impl Lanes {
    pub(super) fn new(kinds: impl IntoIterator<Item = GatewayKind>, places: usize) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        let lane = |kind| Lane { kind, places: Semaphore::new(places), state: Mutex::default() };
        Self {
            lanes: kinds.into_iter().map(lane).collect(),
            places,
            waited_for: Mutex::new(GatewayKind::ALL.to_vec()),
        }
    }

    /// All places of all lanes.
    pub(super) fn places(&self) -> usize {
        self.lanes.len().max(1) * self.places
    }

    /// Looks how the lanes are doing.
    pub(super) fn look(&self, now: Duration) {
        self.lanes.iter().for_each(|lane| lane.look(now, self.places));
    }

    /// Whether a lane without room will have some in a moment: that is worth waiting for.
    pub(super) fn is_busy(&self) -> bool {
        self.lanes.iter().map(Lane::state).any(|state| state.is_full() && !state.is_slow)
    }

    /// How many places the lanes have that are in use and not full. More may be claimed for one of them than it has: those wait
    /// before it for a moment.
    pub(super) fn room(&self) -> usize {
        let free = |lane: &Lane| match lane.places.available_permits() {
            free if free < self.places && !lane.state().is_full() => Some(free),
            _ => None,
        };
        let in_use = self.lanes.iter().filter_map(free).reduce(|all, free| all + free);
        in_use.unwrap_or(self.places)
    }

    /// How many places the gateway's lane has.
    pub(super) fn free(&self, kind: GatewayKind) -> usize {
        self.lane(kind).map_or(self.places, |lane| lane.places.available_permits()).max(1)
    }

    /// The lanes without room: nothing is claimed for them.
    pub(super) fn full(&self) -> Vec<GatewayKind> {
        self.lanes.iter().filter(|lane| lane.state().is_full()).map(|lane| lane.kind).collect()
    }

    /// The lanes with less than a quarter of their places: what can wait leaves these to wakes.
    pub(super) fn nearly_full(&self) -> Vec<GatewayKind> {
        self.lanes.iter().filter(|lane| !lane.has_room(self.places)).map(|lane| lane.kind).collect()
    }

    /// Whether a lane that was full has a quarter of its places again. With less, each push that ends would cost a look
    /// at the outbox.
    pub(super) fn has_room_again(&self, full: &[GatewayKind]) -> bool {
        self.lanes.iter().any(|lane| full.contains(&lane.kind) && lane.has_room(self.places))
    }

    /// The gateways that wakes may wait for and that have room.
    pub(super) fn waited_for(&self) -> Vec<GatewayKind> {
        let is_full = |kind: &GatewayKind| self.lane(*kind).is_some_and(|lane| lane.state().is_full());
        lock(&self.waited_for).iter().copied().filter(|kind| !is_full(kind)).collect()
    }

    /// Whether wakes may wait for the gateway.
    pub(super) fn set_waited_for(&self, kind: GatewayKind, waits: bool) {
        let mut waited_for = lock(&self.waited_for);
        waited_for.retain(|known| *known != kind);
        if waits {
            waited_for.push(kind);
        }
    }

    fn lane(&self, kind: GatewayKind) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.kind == kind)
    }

    /// A place, once there is one; `None` for a gateway that there is not.
    pub(super) async fn enter(&self, kind: GatewayKind) -> Option<SemaphorePermit<'_>> {
        self.lane(kind)?.places.acquire().await.ok()
    }
}

impl Lane {
    fn has_room(&self, places: usize) -> bool {
        self.places.available_permits() >= places.div_ceil(4)
    }

    fn look(&self, now: Duration, places: usize) {
        let mut state = lock(&self.state);
        match state.full_since {
            None if self.places.available_permits() <= places / 16 => state.full_since = Some(now),
            None => {}
            Some(since) => {
                let took = now.saturating_sub(since);
                let has_room = self.has_room(places);
                // Slow until it was quick once.
                state.is_slow = took > SLOW_AFTER || (state.is_slow && !has_room);
                if has_room {
                    state.full_since = None;
                }
            }
        }
    }

    fn state(&self) -> LaneState {
        *lock(&self.state)
    }
}

impl LaneState {
    fn is_full(self) -> bool {
        self.full_since.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which configurations a provider refuses now. Each is logged once, and not for every push.
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
        let mut raised = lock(&self.raised);
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

    /// Those that are refused now, in words.
    pub(super) fn raised(&self) -> Vec<String> {
        let words = |Alarm { kind, topic, why }: &Alarm| {
            let app = topic.as_ref().map_or_else(String::new, |topic| format!(" for {topic}"));
            format!("{kind} refuses this server's configuration{app}: {why}")
        };
        lock(&self.raised).iter().map(words).collect()
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
        assert_eq!(alarms.raised()[1], "apns refuses this server's configuration for com.b: no");
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

    const NOW: Duration = Duration::from_secs(7);

    #[tokio::test]
    async fn a_full_lane_is_told_and_leaves_the_others_free() {
        let lanes = Lanes::new([GatewayKind::Apns, GatewayKind::Fcm], 2);
        assert_eq!((lanes.places(), lanes.room()), (4, 2));
        let first = lanes.enter(GatewayKind::Apns).await.unwrap();
        lanes.look(NOW);
        assert!(lanes.full().is_empty());
        assert_eq!(lanes.room(), 1);
        let second = lanes.enter(GatewayKind::Apns).await.unwrap();
        lanes.look(NOW);
        assert_eq!(lanes.full(), [GatewayKind::Apns]);
        assert_eq!(lanes.room(), 2, "a full lane is left out");
        assert!(!lanes.has_room_again(&[GatewayKind::Apns]));
        assert!(lanes.enter(GatewayKind::Fcm).await.is_some());
        assert!(lanes.enter(GatewayKind::Webhook).await.is_none());
        drop((first, second));
        assert!(lanes.has_room_again(&[GatewayKind::Apns]));
        lanes.look(NOW);
        assert!(lanes.full().is_empty());
    }

    #[tokio::test]
    async fn a_lane_that_is_soon_free_is_waited_for_and_a_slow_one_is_not() {
        let lanes = Lanes::new([GatewayKind::Apns], 1);
        let turn = async |filled_at: Duration, freed_at: Duration| {
            let place = lanes.enter(GatewayKind::Apns).await.unwrap();
            lanes.look(filled_at);
            let waited_for = lanes.is_busy();
            lanes.look(freed_at);
            let waited_for_longer = lanes.is_busy();
            drop(place);
            lanes.look(freed_at);
            assert!(!lanes.is_busy());
            (waited_for, waited_for_longer)
        };
        assert_eq!(turn(NOW, NOW + SLOW_AFTER).await, (true, true));
        assert_eq!(turn(NOW, NOW + 2 * SLOW_AFTER).await, (true, false));
        assert_eq!(turn(NOW, NOW).await, (false, false), "it was slow the last time");
        assert_eq!(turn(NOW, NOW).await, (true, true), "it was quick the last time");
    }

    #[test]
    fn whoever_waits_for_a_gateway_is_remembered_until_it_has_room() {
        let lanes = Lanes::new([GatewayKind::Apns], 1);
        GatewayKind::ALL.into_iter().for_each(|kind| lanes.set_waited_for(kind, false));
        assert!(lanes.waited_for().is_empty());
        lanes.set_waited_for(GatewayKind::Apns, true);
        lanes.set_waited_for(GatewayKind::Apns, true);
        assert_eq!(lanes.waited_for(), [GatewayKind::Apns]);
    }
}
