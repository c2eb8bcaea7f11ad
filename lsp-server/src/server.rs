//! The server: its parts put together. `handler` hands LDK's events to the part that they are for, `operator` answers operators.

mod handler;
mod operator;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node::Node;
use notifier::Ambient;
use storage::Database;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, PushCredentials};
use crate::damage::Damage;
use crate::error::ServerError;
use crate::guard::Guard;
use crate::lsps5::{Hooks, Inbox, Notifying};
use crate::mailbox::Mailbox;
use crate::metrics;
use crate::notify::Notifications;
use crate::payment::Payments;
use crate::store;
use crate::tasks::Tasks;
use crate::tokens;
use crate::wake::{self, WakeSettings, Waker};

pub use handler::Handler;
use handler::answer_requests;

/// Requests of payers that wait for an answer; what comes beyond is dropped, and the payer asks again.
const REQUESTS_QUEUED_MAX: usize = 1_000;

/// How long a stop waits for what is under way. A commit takes milliseconds.
const TASKS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

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
        let ambient = {
            let (clock, node) = (clock.clone(), node.clone());
            Ambient::new(move || clock.now_unix(), move || node.random_bytes())
        };
        let gateways =
            wake::gateways(&config.push, credentials, ambient, Some(Arc::new(Notifying(node.clone()))))?;
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
        let inbox = Inbox::default();
        let hooks = Hooks::new(
            db.clone(),
            node.clone(),
            waker.clone(),
            notifications.clone(),
            config.push.devices,
            clock.clone(),
        );
        let handler = Handler::new(payments.clone(), mailbox.clone(), waker.clone(), requests, inbox.clone());
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
            tokio::spawn({
                let waker = waker.clone();
                async move { waker.try_credentials().await }
            }),
            tokio::spawn(notifications.clone().run()),
            tokio::spawn(hooks.run(inbox)),
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
}
