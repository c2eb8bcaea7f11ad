//! The server's outbox in a worker: the real store, dispatcher and gateways, and a loop with one commit for each push beside
//! them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use lsp_server::clock::{Clock, SystemClock};
use lsp_server::store::challenges::{Answered, Proof};
use lsp_server::store::devices::{self, DeviceId, DeviceLimits, NewDevice, RegisterError};
use lsp_server::store::wakes::ledger::{self, Which};
use lsp_server::store::wakes::{self, Claim, ClaimedWake, Claiming, NewWake, PushOutcome};
use lsp_server::store::{MIGRATIONS, StoreError};
use lsp_server::tokens::TokenKeys;
use lsp_server::wake::{WakeLimits, WakeNode, WakeSettings, Waker, gateways};
use notifier::{Ambient, GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict};
use protocol::wake::WakeReason;
use storage::{Commit, Database, DatabaseUrl, StorageError};
use tests::failure::Failure;
use tokio::sync::{Notify, mpsc};

use crate::providers::{Device, Endpoints};

/// As `lsp-server` waits for a payee.
const PAYEE_WAIT_SECONDS: u64 = 60;
/// Rows in one transaction of the preparations.
const PREPARED_ROWS: usize = 200;
/// Pushes of the loop that are under way at once: as many as both lanes of the dispatcher have places.
const LOOP_IN_FLIGHT_MAX: usize = 512;
const WAKES_LOOKED_AT: u32 = 4;
/// Due wakes that the loop claims with the one that it has opened: as a rule, it is the only one.
const CLAIMED_MAX: u32 = 1_000;

/// A node whose phones all sleep.
pub(crate) struct Sleepers;

impl WakeNode for Sleepers {
    fn is_connected(&self, _: PublicKey) -> bool {
        false
    }

    fn random_bytes(&self) -> [u8; 32] {
        random_bytes()
    }
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Nothing here is secret. A machine without entropy would push with the same ids, which the fakes would take.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// When which token's push was accepted.
pub(crate) struct Accepted {
    at: Mutex<HashMap<String, Instant>>,
    /// The number that is waited for.
    wanted: AtomicUsize,
    reached: Notify,
}

impl Accepted {
    fn note(&self, token: &str) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.entry(token.to_owned()).or_insert_with(Instant::now);
        let count = at.len();
        drop(at);
        if count >= self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    pub(crate) fn at(&self, token: &str) -> Option<Instant> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied()
    }

    /// Resolves once so many phones were pushed.
    async fn reaches(&self, count: usize) {
        self.wanted.store(count, Ordering::SeqCst);
        while self.at.lock().unwrap_or_else(PoisonError::into_inner).len() < count {
            self.reached.notified().await;
        }
    }
}

/// A real gateway, and a look at its verdicts.
struct Watched {
    gateway: Arc<dyn PushGateway>,
    accepted: Arc<Accepted>,
}

impl PushGateway for Watched {
    fn kind(&self) -> GatewayKind {
        self.gateway.kind()
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        self.gateway.check(target)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let verdict = self.gateway.push(device, push).await;
            if verdict == Verdict::Accepted {
                self.accepted.note(&device.token);
            }
            verdict
        })
    }
}

/// The outbox with its phones.
pub(crate) struct Outbox {
    pub(crate) database: Database,
    pub(crate) waker: Arc<Waker>,
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) devices: Vec<Device>,
    gateways: Vec<Arc<dyn PushGateway>>,
    tokens: Arc<TokenKeys>,
}

pub(crate) fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::wrong(xtask::with_causes(error))
}

/// A fresh database with the server's tables.
pub(crate) async fn database(folder: &Path, name: &str) -> Result<Database, Failure> {
    let url: DatabaseUrl =
        format!("sqlite:{}", folder.join(name).display()).parse().map_err(|error| wrong(&error))?;
    Database::open(&url, &[MIGRATIONS]).await.map_err(|error| wrong(&error))
}

impl Outbox {
    /// In a fresh database, with so many phones registered.
    pub(crate) async fn open(folder: &Path, endpoints: &Endpoints, devices: usize) -> Result<Self, Failure> {
        let database = database(folder, "outbox.sqlite").await?;
        let config = endpoints.config()?;
        let credentials = config
            .credentials()
            .map_err(|mistakes| Failure::wrong(format!("the push settings cannot be used: {mistakes:?}")))?;
        let clock = Arc::new(SystemClock);
        let ambient = Ambient::new(|| SystemClock.now_unix(), random_bytes);
        let real = gateways(&config, credentials, ambient, None).map_err(|error| wrong(&error))?;
        let accepted = Arc::new(Accepted {
            at: Mutex::default(),
            wanted: AtomicUsize::new(usize::MAX),
            reached: Notify::new(),
        });
        let gateways: Vec<Arc<dyn PushGateway>> = real
            .into_iter()
            .map(|gateway| Arc::new(Watched { gateway, accepted: accepted.clone() }) as _)
            .collect();
        let tokens = Arc::new(TokenKeys::new(&random_bytes(), &[]));
        let settings = WakeSettings {
            limits: WakeLimits::default(),
            in_flight_per_gateway_max: config.in_flight_per_provider_max as usize,
            collapse_key: random_bytes(),
            tokens: tokens.clone(),
        };
        let waker =
            Waker::with_settings(database.clone(), Arc::new(Sleepers), gateways.clone(), settings, clock);
        let devices = (0..devices).map(Device::number).collect::<Result<_, _>>()?;
        let outbox = Self { database, waker, accepted, devices, gateways, tokens };
        outbox.register().await?;
        Ok(outbox)
    }

    async fn register(&self) -> Result<(), Failure> {
        let limits = DeviceLimits { used_challenges_max: u32::MAX, ..DeviceLimits::default() };
        for (page, devices) in self.devices.chunks(PREPARED_ROWS).enumerate() {
            let now_unix = SystemClock.now_unix();
            let rows: Vec<_> = (page * PREPARED_ROWS..)
                .zip(devices)
                .map(|(number, device)| {
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&number.to_be_bytes());
                    NewDevice {
                        device_id: DeviceId(id),
                        node_id: device.node_id,
                        target: self.tokens.seal_target(DeviceId(id), &device.node_id, &device.target),
                        has_channel: true,
                        // Expired at once, so that the next page tidies it away.
                        proof: Proof::Signed(Answered {
                            challenge: id.to_vec(),
                            expires_at: now_unix,
                            now_unix,
                        }),
                    }
                })
                .collect();
            let registered = self.database.submit("register_devices", move |tx| {
                Box::pin(async move {
                    for row in &rows {
                        devices::register(tx, row, &limits).await?;
                    }
                    Ok::<_, RegisterError>(())
                })
            });
            registered.await.map_err(|error| wrong(&error))?;
        }
        Ok(())
    }

    /// Opens a wake as the server does for an HTLC to a payee that sleeps.
    pub(crate) fn wake(&self, number: usize) -> Commit<bool, StorageError> {
        let (wake, max) = (self.new_wake(number), WakeLimits::default().stranger_wakes_per_node_max);
        let opened = self.database.submit("wake_payee", move |tx| {
            Box::pin(async move { wakes::open_within(tx, &wake, max).await })
        });
        self.waker.nudge();
        opened
    }

    fn new_wake(&self, number: usize) -> NewWake {
        let now_unix = SystemClock.now_unix();
        NewWake {
            node_id: self.devices[number].node_id,
            reason: WakeReason::PaymentIncoming,
            group: sha256::Hash::hash(&number.to_le_bytes()).to_byte_array(),
            expires_at_unix: now_unix + PAYEE_WAIT_SECONDS,
            now_unix,
        }
    }

    /// Resolves once `count` phones in all were pushed, and all verdicts are on disk.
    pub(crate) async fn pushed(&self, count: usize) -> Result<(), Failure> {
        self.accepted.reaches(count).await;
        self.waker.settled().await;
        self.barrier().await
    }

    async fn barrier(&self) -> Result<(), Failure> {
        let passed = self.database.submit("barrier", |_| Box::pin(async { Ok::<_, StorageError>(()) }));
        passed.await.map_err(|error| wrong(&error))
    }

    /// The phones come: nothing is pushed to them again. Fails if one of them has no push with a verdict on record. Answers how
    /// many pushes there are.
    pub(crate) async fn phones_come(&self, numbers: std::ops::Range<usize>) -> Result<usize, Failure> {
        let mut pushes = 0;
        for (nth, device) in self.devices[numbers].iter().enumerate() {
            let node_id = device.node_id;
            let records = self
                .database
                .read("ledger", move |tx| {
                    Box::pin(async move { ledger::find(tx, Which::Node(node_id), WAKES_LOOKED_AT).await })
                })
                .await
                .map_err(|error: StoreError| wrong(&error))?;
            let of_wakes = records.iter().flat_map(|record| &record.pushes);
            let accepted = of_wakes.filter(|push| push.verdict.as_deref() == Some("accepted")).count();
            if accepted == 0 {
                return Err(Failure::wrong("a push that was accepted has no verdict in the database"));
            }
            pushes += accepted;
            self.waker.on_peer_connected(node_id);
            if nth % PREPARED_ROWS == 0 {
                self.barrier().await?;
            }
        }
        self.barrier().await?;
        Ok(pushes)
    }

    /// As the dispatcher does for `numbers`, with exactly one commit for each push: it opens and claims a wake, and records the
    /// verdict of an earlier one. Sending is no part of the loop: as many pushes are under way as through the dispatcher.
    pub(crate) async fn one_commit_per_push(
        &self,
        mut numbers: mpsc::UnboundedReceiver<usize>,
    ) -> Result<(), Failure> {
        let (finished, mut verdicts) = mpsc::unbounded_channel();
        let mut under_way = 0;
        loop {
            let mut verdict = if under_way < LOOP_IN_FLIGHT_MAX { None } else { verdicts.recv().await };
            let number = numbers.recv().await;
            if verdict.is_none() {
                verdict = match number {
                    Some(_) => verdicts.try_recv().ok(),
                    None if under_way == 0 => return Ok(()),
                    None => verdicts.recv().await,
                };
            }
            under_way -= usize::from(verdict.is_some());
            for claimed in self.one_commit(number, verdict).await? {
                under_way += 1;
                let (finished, gateways, tokens) =
                    (finished.clone(), self.gateways.clone(), self.tokens.clone());
                tokio::spawn(async move {
                    let outcomes = push(&gateways, &tokens, &claimed).await;
                    // Nobody listens any more after an error.
                    let _ = finished.send((claimed, outcomes));
                });
            }
        }
    }

    async fn one_commit(
        &self,
        number: Option<usize>,
        verdict: Option<(ClaimedWake, Vec<PushOutcome>)>,
    ) -> Result<Vec<ClaimedWake>, Failure> {
        let wake = number.map(|number| self.new_wake(number));
        let now_unix = SystemClock.now_unix();
        let limits = WakeLimits::default();
        let claims = self.database.submit("one_push", move |tx| {
            Box::pin(async move {
                if let Some((wake, outcomes)) = verdict {
                    wakes::finish(tx, &wake, &outcomes, now_unix).await?;
                }
                let Some(wake) = wake else { return Ok::<_, StoreError>(Vec::new()) };
                wakes::open_within(tx, &wake, limits.stranger_wakes_per_node_max).await?;
                let claiming = Claiming {
                    now_unix,
                    limits: &limits,
                    full: &[],
                    seed: random_bytes(),
                    is_connected: &|_| false,
                };
                wakes::claim_due(tx, None, CLAIMED_MAX, &claiming).await
            })
        });
        let claims = claims.await.map_err(|error| wrong(&error))?;
        if number.is_some() && claims.is_empty() {
            return Err(Failure::wrong("a wake that was just opened is not due"));
        }
        let claimed = claims.into_iter().map(|claim| match claim {
            Claim::Push(claimed) => Ok(claimed),
            other => Err(Failure::wrong(format!("a wake was not to be pushed: {other:?}"))),
        });
        claimed.collect()
    }
}

async fn push(gateways: &[Arc<dyn PushGateway>], tokens: &TokenKeys, wake: &ClaimedWake) -> Vec<PushOutcome> {
    let mut outcomes = Vec::with_capacity(wake.pushes.len());
    for pending in &wake.pushes {
        let started = Instant::now();
        let kind = pending.device().target.kind;
        let gateway = gateways.iter().find(|gateway| gateway.kind() == kind);
        let content = Push::new(wake.reason.as_str(), wake.wake_id, wake.expires_at);
        let verdict = match (gateway, tokens.open_target(pending.device()), content) {
            (Some(gateway), Ok(target), Ok(content)) => gateway.push(&target, &content).await,
            _ => Verdict::BadPayload("the benchmark cannot push it".into()),
        };
        let answered_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcomes.push(PushOutcome { push: pending.clone(), verdict, answered_ms });
    }
    outcomes
}
