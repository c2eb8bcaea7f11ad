//! Wakes phones: takes what is due from the outbox, pushes, and records what came of it.

mod blocks;
mod dispatcher;
mod gateways;
mod in_flight;
mod lanes;
mod lines;
#[cfg(test)]
mod provider_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use node::Node;
use notifier::{GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict, WakeId};
use storage::Database;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::metrics::{self, names};
use crate::store::devices::Device;
use crate::store::wakes;
use crate::tokens::{OpenError, TokenKeys};

use blocks::Blocks;
use lanes::{Alarms, Lanes};
use lines::Lines;

pub use crate::store::wakes::WakeLimits;
pub use gateways::gateways;
pub(crate) use in_flight::meanwhile;

/// Pushes through one gateway that are under way at once, unless a setting says otherwise.
const IN_FLIGHT_PER_GATEWAY: usize = 256;

/// What the dispatcher is told.
#[derive(Clone)]
pub struct WakeSettings {
    /// How often one device is pushed.
    pub limits: WakeLimits,
    /// Pushes through one gateway that are under way at once.
    pub in_flight_per_gateway_max: usize,
    /// Secret: providers see what is derived from it, and must not see which payment it stands for. The same after a
    /// restart, so that a push takes the place of one from before.
    pub collapse_key: [u8; 32],
    /// What the devices' tokens are sealed with.
    pub tokens: Arc<TokenKeys>,
}

/// The reason of a push that an owner asked for to see whether it comes.
const TEST_REASON: &str = "test";

/// How long a test push is of use, in seconds.
const TEST_PUSH_SECONDS: u64 = 60;

/// What the dispatcher asks of the node.
pub trait WakeNode: Send + Sync + 'static {
    /// The phone is here: there is no need to wake it.
    fn is_connected(&self, peer: PublicKey) -> bool;

    /// Fresh random bytes, for the opaque ids of wakes.
    fn random_bytes(&self) -> [u8; 32];
}

impl WakeNode for Node {
    fn is_connected(&self, peer: PublicKey) -> bool {
        Self::is_connected(self, peer)
    }

    fn random_bytes(&self) -> [u8; 32] {
        Self::random_bytes(self)
    }
}

/// The dispatcher of wakes. What is to be sent is in the database ([`crate::store::wakes`]); this holds no state that a
/// restart would lose.
pub struct Waker {
    database: Database,
    node: Arc<dyn WakeNode>,
    gateways: Vec<Arc<dyn PushGateway>>,
    settings: WakeSettings,
    lanes: Lanes,
    alarms: Alarms,
    lines: Lines,
    clock: Arc<dyn Clock>,
    nudged: Notify,
    tidied_at_unix: AtomicU64,
    blocks: Blocks,
    /// Wakes that are claimed and whose verdicts are not on disk.
    under_way: watch::Sender<usize>,
}

impl Waker {
    /// A dispatcher that pushes through `gateways`, one of each kind, within the usual bounds.
    pub fn new(
        database: Database,
        node: Arc<dyn WakeNode>,
        gateways: Vec<Arc<dyn PushGateway>>,
        tokens: Arc<TokenKeys>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Self::with_limits(database, node, gateways, WakeLimits::default(), tokens, clock)
    }

    /// As [`Self::new`], with bounds of the caller's choice.
    pub fn with_limits(
        database: Database,
        node: Arc<dyn WakeNode>,
        gateways: Vec<Arc<dyn PushGateway>>,
        limits: WakeLimits,
        tokens: Arc<TokenKeys>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let collapse_key = node.random_bytes();
        let settings =
            WakeSettings { limits, in_flight_per_gateway_max: IN_FLIGHT_PER_GATEWAY, collapse_key, tokens };
        Self::with_settings(database, node, gateways, settings, clock)
    }

    /// As [`Self::new`], with everything of the caller's choice.
    pub fn with_settings(
        database: Database,
        node: Arc<dyn WakeNode>,
        gateways: Vec<Arc<dyn PushGateway>>,
        settings: WakeSettings,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let kinds = gateways.iter().map(|gateway| gateway.kind());
        let lanes = Lanes::new(kinds, settings.in_flight_per_gateway_max);
        Arc::new(Self {
            database,
            node,
            gateways,
            settings,
            lanes,
            alarms: Alarms::default(),
            lines: Lines::default(),
            clock,
            nudged: Notify::new(),
            tidied_at_unix: AtomicU64::new(0),
            blocks: Blocks::default(),
            under_way: watch::Sender::new(0),
        })
    }

    /// A wake was opened: look at once. May be called as soon as the transaction that opens it is queued.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Returns when no push is under way, and what came of them is on disk.
    pub async fn settled(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.under_way.subscribe().wait_for(|wakes| *wakes == 0).await;
    }

    /// A peer is here: what it was to be woken for is acknowledged. Queues a transaction and returns.
    pub fn on_peer_connected(&self, peer: PublicKey) {
        let now_unix = self.clock.now_unix();
        // Nobody waits for it: if it is lost with the process, the phone is woken once more.
        drop(self.database.submit("acknowledge_wakes", move |tx| {
            Box::pin(async move {
                if let Some(seconds) = wakes::acknowledge(tx, peer, now_unix).await? {
                    names::WAKE_TO_CONNECT_SECONDS.record(seconds as f64, &[]);
                    tracing::info!(%peer, seconds, "a woken phone is here");
                }
                Ok::<_, storage::StorageError>(())
            })
        }));
    }

    /// The platforms that there is a gateway for.
    pub fn platforms(&self) -> Vec<GatewayKind> {
        self.gateways.iter().map(|gateway| gateway.kind()).collect()
    }

    /// Whether the target's gateway could ever push to it.
    ///
    /// # Errors
    /// Says what is wrong with the target.
    pub fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        match self.gateway(target.kind) {
            Some(gateway) => gateway.check(target),
            None => Err(TargetError::NotServed(target.kind)),
        }
    }

    /// What the devices' tokens are sealed with.
    pub fn tokens(&self) -> &TokenKeys {
        &self.settings.tokens
    }

    /// Pushes to a device now, outside the outbox, and answers the verdict and how long the provider took, in milliseconds.
    pub async fn test(&self, device: &Device) -> (Verdict, u64) {
        let expires_at = self.clock.now_unix() + TEST_PUSH_SECONDS;
        let mut wake_id = [0; 16];
        wake_id.copy_from_slice(&self.node.random_bytes()[..16]);
        let started = Instant::now();
        let verdict = match Push::new(TEST_REASON, WakeId(wake_id), expires_at) {
            Ok(push) => self.push_to(device, &push).await,
            Err(error) => Verdict::BadPayload(error.to_string().into()),
        };
        let answered = started.elapsed();
        metrics::count_push(device.target.kind, &verdict, answered);
        (verdict, u64::try_from(answered.as_millis()).unwrap_or(u64::MAX))
    }

    /// Fresh random bytes.
    pub(crate) fn random_bytes(&self) -> [u8; 32] {
        self.node.random_bytes()
    }

    /// The gateways whose last places are for wakes: what has no HTLC behind it waits.
    pub(crate) fn lanes_for_wakes(&self) -> Vec<GatewayKind> {
        self.lanes.nearly_full()
    }

    /// Asks each provider that can be asked without a push whether it takes our credentials: a refusal is an alarm before the first
    /// phone has to be woken.
    pub async fn try_credentials(&self) {
        for gateway in &self.gateways {
            self.alarms.note(gateway.kind(), None, &gateway.try_credentials().await);
        }
    }

    /// What providers refuse now, in words.
    pub fn alarms(&self) -> Vec<String> {
        self.alarms.raised()
    }

    /// One push to a target that is no device, in bounded time; a configuration that its provider refuses is an alarm.
    pub(crate) async fn push_target(&self, target: &PushTarget, push: &Push) -> Verdict {
        let verdict = self.send(target, push).await;
        self.alarms.note(target.kind, target.topic.as_deref(), &verdict);
        verdict
    }

    async fn push_to(&self, device: &Device, push: &Push) -> Verdict {
        match self.tokens().open_target(device) {
            Ok(target) => self.send(&target, push).await,
            // The row stays as it is: whoever changed it may be found out.
            Err(error @ OpenError) => Verdict::BadPayload(error.to_string().into()),
        }
    }

    /// One push, in bounded time.
    async fn send(&self, target: &PushTarget, push: &Push) -> Verdict {
        let Some(gateway) = self.gateway(target.kind) else {
            return Verdict::Configuration("the config has no credentials for this platform any more".into());
        };
        // A gateway's own bounds end earlier; past the lease another attempt would be under way.
        let lease = Duration::from_secs(wakes::LEASE_SECONDS);
        let pushed = async {
            let _place = self.lanes.enter(target.kind).await;
            if push.expires_at() <= self.clock.now_unix() {
                return Verdict::RetryAfter(None, "its time was over before it could be sent".into());
            }
            gateway.push(target, push).await
        };
        match tokio::time::timeout(lease, pushed).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::RetryAfter(None, "the gateway took too long".into()),
        }
    }

    fn gateway(&self, kind: GatewayKind) -> Option<&Arc<dyn PushGateway>> {
        self.gateways.iter().find(|gateway| gateway.kind() == kind)
    }
}
