//! The server: its parts put together, and LDK's events handed to the part that they are for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use node::{
    ForwardVerdict, ForwardedOnion, IncomingMessage, Node, NodeEvent, NodeHandler, NodeLimit, Replay, ReplyTo,
};
use protocol::api::admin::{HoldDetail, HoldSummary, HoldsCheck};
use protocol::ids::{Pid, PidHash};
use protocol::units::BlockHeight;
use protocol::wire::Message;
use storage::{Database, ReadTx};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, PushCredentials};
use crate::damage::Damage;
use crate::error::ServerError;
use crate::guard::Guard;
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::mailbox::Mailbox;
use crate::metrics;
use crate::notify::Notifications;
use crate::payment::Payments;
use crate::store::holds::{self, HoldRow};
use crate::store::{self, StoreError, pending};
use crate::tasks::Tasks;
use crate::tokens;
use crate::wake::{self, WakeSettings, Waker};

/// Requests of payers that wait for an answer; what comes beyond is dropped, and the payer asks again.
const REQUESTS_QUEUED_MAX: usize = 1_000;

/// Requests that are worked on at once.
const REQUESTS_AT_ONCE_MAX: usize = 64;

/// How long a stop waits for what is under way. A commit takes milliseconds.
const TASKS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Holds that `holds list` shows.
const HOLDS_LISTED_MAX: u32 = 1_000;

/// A running LSP.
pub struct Server {
    config: Config,
    db: Database,
    node: Arc<Node>,
    payments: Arc<Payments>,
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
    notifications: Arc<Notifications>,
    clock: Arc<dyn Clock>,
    loops: Mutex<Vec<JoinHandle<()>>>,
    left_out: Vec<String>,
    tasks: Tasks,
    guard: Guard,
    damage: Arc<Damage>,
}

impl Server {
    /// Opens the database, brings the node to the chain's tip, takes up every hold where it was, and goes online.
    ///
    /// # Errors
    /// When any part of the config cannot be used; what stands in the data directory is as it was then.
    pub async fn start(config: Config) -> Result<Arc<Self>, ServerError> {
        metrics::install();
        let seed = node::Seed::load(&config.seed_path())?;
        let credentials = config.push_credentials()?;
        let db = Database::open(&config.database, &[store::MIGRATIONS]).await?;
        match Self::assemble(config, seed, credentials, db.clone()).await {
            Ok(server) => Ok(server),
            Err(error) => {
                db.close().await;
                Err(error)
            }
        }
    }

    async fn assemble(
        config: Config,
        seed: node::Seed,
        credentials: PushCredentials,
        db: Database,
    ) -> Result<Arc<Self>, ServerError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let guard = Guard::new(&config);
        guard.admit(&db).await?;
        let (tokens, _) = tokens::adopt(&db, &config.push.token_key_file, clock.now_unix()).await?;
        let collapse_key = seed.derive("push_collapse", &[]);
        let node = Node::load(config.node(), seed, db.clone()).await?;
        let settings = WakeSettings {
            limits: config.push.wakes,
            in_flight_per_gateway_max: config.push.in_flight_per_provider_max as usize,
            collapse_key,
            tokens: Arc::new(tokens),
        };
        let left_out: Vec<_> = credentials.mistakes.iter().map(ToString::to_string).collect();
        for mistake in &left_out {
            tracing::error!(mistake, "a push provider is left out: its phones are not woken; the others are");
        }
        let gateways = wake::gateways(&config.push, credentials, node.clone(), clock.clone())?;
        let waker = Waker::with_settings(db.clone(), node.clone(), gateways, settings, clock.clone());
        let notifications = Notifications::new(
            db.clone(),
            waker.clone(),
            config.notify.clone(),
            config.push.wakes.closed_days_kept,
            clock.clone(),
        );
        let tasks = Tasks::default();
        let mailbox = Mailbox::new(
            db.clone(),
            node.clone(),
            waker.clone(),
            config.mailbox,
            clock.clone(),
            tasks.clone(),
        );
        let payments = Payments::new(
            node.clone(),
            db.clone(),
            waker.clone(),
            mailbox.clone(),
            clock.clone(),
            tasks.clone(),
            config.payments(),
        );
        // Before anybody hears of this state.
        let generation = guard.advance(&db, node.random_bytes()).await?;
        tracing::info!(generation = generation.number, "the database is witnessed");
        // Before LDK tells again of what it holds: an event finds every hold as the last process left it.
        payments.restart().await?;

        let (requests, incoming) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let handler = Handler::new(payments.clone(), mailbox.clone(), waker.clone(), requests);
        node.start(Arc::new(handler)).await?;
        let damage = Arc::new(Damage::default());
        let loops = vec![
            tokio::spawn(answer_requests(payments.clone(), incoming, tasks.clone())),
            tokio::spawn(payments.clone().run_reconcile()),
            tokio::spawn(payments.clone().run_pending()),
            tokio::spawn(payments.clone().run_sleepers()),
            tokio::spawn(payments.clone().run_tidy()),
            tokio::spawn(mailbox.clone().run()),
            tokio::spawn(waker.clone().run()),
            tokio::spawn(notifications.clone().run()),
            tokio::spawn(metrics::run_refresh(db.clone(), node.clone(), clock.clone())),
            tokio::spawn(guard.clone().run(db.clone())),
            tokio::spawn(damage.clone().run(db.clone(), clock.clone())),
        ];
        let loops = Mutex::new(loops);
        tracing::info!(node_id = %node.node_id(), height = %node.height(), "the server is up");
        Ok(Arc::new(Self {
            config,
            db,
            node,
            payments,
            mailbox,
            waker,
            notifications,
            clock,
            loops,
            left_out,
            tasks,
            guard,
            damage,
        }))
    }

    /// Stops without losing anything: LDK's last state is durable when this returns.
    pub async fn stop(&self) {
        for task in self.loops.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        // What is committed is told to LDK before it writes its last state; what its last events bring is queued after that.
        self.end_tasks().await;
        self.node.stop().await;
        self.end_tasks().await;
        // A copy from before this stop is one that is told.
        if let Err(error) = self.guard.advance(&self.db, self.node.random_bytes()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the last state of the database is not witnessed"
            );
        }
        self.db.close().await;
    }

    async fn end_tasks(&self) {
        if tokio::time::timeout(TASKS_STOP_TIMEOUT, self.tasks.stop()).await.is_err() {
            tracing::warn!(
                "tasks do not end: the server stops without them, and the next start does their work"
            );
        }
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The Lightning node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Messages kept for phones that are offline.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The push outbox.
    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// What other services ask to be told to phones.
    pub fn notifications(&self) -> &Arc<Notifications> {
        &self.notifications
    }

    /// The clock that everything here goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The newest holds, live ones only unless `include_ended`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holds(&self, include_ended: bool) -> Result<Vec<HoldSummary>, ServerError> {
        let summaries = self
            .db
            .read("holds", move |tx| {
                Box::pin(async move {
                    let rows = if include_ended {
                        holds::newest(tx, HOLDS_LISTED_MAX).await?
                    } else {
                        holds::live(tx).await?.rows
                    };
                    let mut summaries = Vec::with_capacity(rows.len());
                    for row in rows {
                        let kept = pending::is_kept(tx, row.hold_id).await?;
                        summaries.push(HoldSummary::new(&row.hold, row.created_at, kept));
                    }
                    Ok::<_, StoreError>(summaries)
                })
            })
            .await?;
        Ok(summaries)
    }

    /// The holds of this pid hash: one, unless two payers chose the same.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold(&self, pid_hash: PidHash) -> Result<Vec<HoldDetail>, ServerError> {
        let rows = self.rows_of(pid_hash).await?;
        let mut details = Vec::with_capacity(rows.len());
        for (row, kept) in rows {
            let mut detail = HoldDetail::new(&row.hold, row.created_at, kept);
            detail.release_latency_micros = self.payments.release_latency_micros(pid_hash);
            details.push(detail);
        }
        Ok(details)
    }

    async fn rows_of(&self, pid_hash: PidHash) -> Result<Vec<(HoldRow, bool)>, StoreError> {
        self.db
            .read("holds_by_pid_hash", move |tx: &mut ReadTx| {
                Box::pin(async move {
                    let mut rows = Vec::new();
                    for row in holds::find_by_pid_hash(tx, pid_hash).await? {
                        let kept = pending::is_kept(tx, row.hold_id).await?;
                        rows.push((row, kept));
                    }
                    Ok(rows)
                })
            })
            .await
    }

    /// Compares the database with LDK now, and says what they did not agree on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check_holds(&self) -> Result<HoldsCheck, ServerError> {
        Ok(self.payments.check().await?)
    }

    /// What the last look through the tables found.
    pub fn damage(&self) -> &Arc<Damage> {
        &self.damage
    }

    /// What an operator should look at now, in words.
    pub fn alarms(&self) -> Vec<String> {
        let chain = self.node.chain_health().trouble.map(|trouble| format!("the chain: {trouble}"));
        let damaged = self
            .damage
            .found()
            .summary()
            .map(|found| format!("damaged rows are set aside ({found}); `lsp-server doctor` names them"));
        let left_out = self.left_out.iter().map(|mistake| format!("a push provider is left out: {mistake}"));
        chain.into_iter().chain(damaged).chain(self.payments.alarms()).chain(left_out).collect()
    }

    /// Unblocks as if the payee had.
    ///
    /// # Errors
    /// [`ServerError::NoSuchHold`] when the pid releases nothing here.
    pub async fn release_hold(&self, pid: Pid) -> Result<(), ServerError> {
        if self.payments.unblock(pid).await? { Ok(()) } else { Err(ServerError::NoSuchHold) }
    }

    /// Fails a hold back to its payer, unless it is released.
    ///
    /// # Errors
    /// [`ServerError::NoSuchHold`], or [`ServerError::Hold`] when it is released already.
    pub async fn cancel_hold(&self, pid_hash: PidHash) -> Result<(), ServerError> {
        let rows = self.rows_of(pid_hash).await?;
        if rows.is_empty() {
            return Err(ServerError::NoSuchHold);
        }
        for (row, _) in rows {
            if row.hold.group().is_committed() {
                return Err(protocol::hold::StepError::CancelTooLate.into());
            }
            self.payments.cancel_hold(row.hold.group().terms.payer, pid_hash).await?;
        }
        Ok(())
    }
}

async fn answer_requests(
    payments: Arc<Payments>,
    mut incoming: mpsc::Receiver<(Message, Option<ReplyTo>)>,
    tasks: Tasks,
) {
    let places = Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX));
    while let Some((message, reply_to)) = incoming.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let payments = payments.clone();
        tasks.spawn(async move {
            payments.on_request(message, reply_to).await;
            drop(place);
        });
    }
}

/// LDK's events, each to the part that it is for.
pub struct Handler {
    payments: Arc<Payments>,
    mailbox: Arc<Mailbox>,
    waker: Arc<Waker>,
    requests: mpsc::Sender<(Message, Option<ReplyTo>)>,
}

impl Handler {
    /// Hands events to these, and payers' messages to `requests`.
    pub fn new(
        payments: Arc<Payments>,
        mailbox: Arc<Mailbox>,
        waker: Arc<Waker>,
        requests: mpsc::Sender<(Message, Option<ReplyTo>)>,
    ) -> Self {
        Self { payments, mailbox, waker, requests }
    }
}

impl NodeHandler for Handler {
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>> {
        Box::pin(async move {
            match event {
                NodeEvent::HtlcIntercepted(htlc) => self.payments.on_intercepted(htlc).await?,
                NodeEvent::PaymentForwarded { inbound, fee, outbound_amount } => {
                    tracing::info!(?fee, %outbound_amount, "a payment was forwarded");
                    self.payments.on_forwarded(&inbound);
                }
                NodeEvent::HtlcHandlingFailed { reason, .. } => {
                    tracing::info!(reason, "an HTLC is failed back");
                    self.payments.nudge();
                }
                NodeEvent::OnionMessageIntercepted { previous_hop, next_hop, message } => {
                    self.mailbox.on_intercepted(previous_hop, next_hop, message)?;
                }
                NodeEvent::OnionMessagePeerConnected { peer } => self.mailbox.on_peer_connected(peer),
                NodeEvent::ChannelClosed { channel_id, peer, reason } => {
                    let closed_with = peer.map(tracing::field::display);
                    tracing::warn!(%channel_id, peer = closed_with, reason, "a channel is closed");
                    if let Some(peer) = peer {
                        self.payments.on_channel_closed(peer, channel_id);
                    }
                }
                NodeEvent::ChannelReady { channel_id, peer } => {
                    tracing::info!(%channel_id, %peer, "a channel is ready");
                }
                NodeEvent::ChannelPending { channel_id, peer, funding } => {
                    tracing::info!(%channel_id, %peer, %funding, "a channel is being opened");
                }
                // An LSP neither makes invoices nor pays.
                NodeEvent::PaymentClaimable { payment_hash, .. }
                | NodeEvent::PaymentClaimed { payment_hash, .. }
                | NodeEvent::PaymentSent { payment_hash, .. } => {
                    tracing::warn!(%payment_hash, "a payment to or from the LSP itself");
                }
                NodeEvent::PaymentFailed { .. } => {}
            }
            Ok(())
        })
    }

    fn message(&self, incoming: IncomingMessage) {
        if self.requests.try_send((incoming.message, incoming.reply_to)).is_err() {
            // The payer asks again.
            limits::refused(ServerLimit::Requests, None);
        }
    }

    fn forwarding(&self, seen: ForwardedOnion) -> ForwardVerdict {
        self.payments.on_forwarding(seen)
    }

    fn peer_connected(&self, peer: PublicKey) {
        tracing::info!(target: STRANGERS, %peer, "peer connected");
        self.waker.on_peer_connected(peer);
        self.mailbox.on_peer_connected(peer);
        self.payments.nudge();
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        tracing::info!(target: STRANGERS, %peer, "peer disconnected");
        self.payments.on_peer_disconnected(peer);
    }

    fn refused(&self, limit: NodeLimit, peer: Option<PublicKey>) {
        limits::refused(limit, peer);
    }

    fn block_connected(&self, height: BlockHeight) {
        tracing::debug!(%height, "block connected");
        self.payments.on_block();
    }
}
