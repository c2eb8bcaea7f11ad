//! The server's process: its real parts, on a runtime of their own that a crash takes with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lsp_server::lsps5::Inbox;
use lsp_server::mailbox::Mailbox;
use lsp_server::payment::{PaymentLimits, Payments};
use lsp_server::server::Handler;
use lsp_server::store::MIGRATIONS;
use lsp_server::tasks::Tasks;
use lsp_server::wake::Waker;
use node::{NodeEvent, NodeHandler, ReplyTo};
use notifier::{GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict};
use protocol::deadline::HoldLimits;
use protocol::mailbox::MailboxLimits;
use protocol::units::Msat;
use protocol::wire::Message;
use storage::{Database, DatabaseUrl, StorageError};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::clock::SimClock;
use super::keys::token_keys;
use super::ldk::Model;
use super::ldk::ModelNode;

/// Requests that wait for an answer.
const REQUESTS_MAX: usize = 100;

/// Looks at the tasks after one operation. It takes some hundred until all that follows is done.
const TURNS_MAX: u32 = 100_000;

/// Where the model's manager is written, by the names of LDK's.
const MANAGER_KEY: &str = "manager";

/// Pushes: each is told to the model, which decides what comes of it.
struct SimGateway(Model);

impl PushGateway for SimGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Webhook
    }

    fn check(&self, _target: &PushTarget) -> Result<(), TargetError> {
        Ok(())
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        let phone = device.token.split('.').next().and_then(|phone| phone.parse().ok());
        let verdict = match phone {
            Some(phone) => self.0.lock().pushed(phone, push.reason()),
            None => Verdict::TokenDead("no phone".into()),
        };
        std::future::ready(verdict).boxed()
    }
}

/// What the server's limits are in a simulation: low, so that they are met.
pub fn limits() -> PaymentLimits {
    PaymentLimits {
        hold: HoldLimits { hold_blocks_min: 1, hold_blocks_max: 150 },
        holds_per_peer_max: 3,
        held_htlcs_per_peer_max: 6,
        held_per_peer_max: Msat(40_000_000),
        hold_part_min: Msat(500_000),
        payee_wait_secs: 60,
        payee_waits_max: 2,
        ..PaymentLimits::default()
    }
}

/// An empty database with every table: a world's first start finds a copy, which is much faster than making one.
fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let made = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("template.db");
            tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
                let url = DatabaseUrl::Sqlite(path.clone());
                let db = Database::open_unsynced(&url, &[MIGRATIONS]).await?;
                db.close().await;
                Ok::<_, StorageError>(())
            })?;
            Ok(std::fs::read(&path)?)
        };
        made().unwrap_or_else(|error| panic!("no database can be made: {error}"))
    })
}

/// A running server.
pub struct Process {
    runtime: Runtime,
    clock: SimClock,
    /// Its database.
    pub db: Database,
    /// Its driver.
    pub payments: Arc<Payments>,
    /// Its mailbox.
    pub mailbox: Arc<Mailbox>,
    /// Its dispatcher of wakes.
    pub waker: Arc<Waker>,
    /// What LDK calls.
    pub handler: Arc<Handler>,
    requests: mpsc::Receiver<(Message, Option<ReplyTo>)>,
    tasks: Tasks,
    model: Model,
    /// Whom wakes were open for when it started.
    pub awaited: BTreeSet<Vec<u8>>,
}

impl Process {
    /// Starts the server on the database at `path`, as of what LDK's model finds written there.
    pub fn start(model: &Model, path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            // What is ready here goes before what the database's thread says: the same order every time.
            .global_queue_interval(u32::MAX)
            .build()
            .unwrap_or_else(|error| panic!("no runtime: {error}"));
        let now = model.lock().now;
        let clock = SimClock::at(now);
        if !path.exists() {
            std::fs::write(path, template())
                .unwrap_or_else(|error| panic!("the database cannot be copied: {error}"));
        }
        let open = async {
            let url = DatabaseUrl::Sqlite(path.to_owned());
            let db = Database::open_unsynced(&url, &[MIGRATIONS]).await?;
            db.faults().take_turns();
            let written = db.kv().read("ldk", "", MANAGER_KEY).await?;
            Ok::<_, StorageError>((db, written))
        };
        let (db, written) =
            runtime.block_on(open).unwrap_or_else(|error| panic!("the database does not open: {error}"));
        let snapshot = written.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        {
            let mut state = model.lock();
            state.life += 1;
            state.faults = Some(db.faults().clone());
            state.load(snapshot);
            let line = format!("start {} with manager {snapshot}", state.life);
            state.trace.line(line);
        }
        let node = ModelNode::new(model.clone());
        let tasks = Tasks::default();
        let shared: Arc<dyn lsp_server::clock::Clock> = Arc::new(clock.clone());
        let gateways: Vec<Arc<dyn PushGateway>> = vec![Arc::new(SimGateway(model.clone()))];
        let waker = Waker::new(db.clone(), node.clone(), gateways, token_keys(), shared.clone());
        let mailbox = Mailbox::new(
            db.clone(),
            node.clone(),
            waker.clone(),
            MailboxLimits::default(),
            shared.clone(),
            tasks.clone(),
        );
        let payments =
            Payments::new(node, db.clone(), waker.clone(), mailbox.clone(), shared, tasks.clone(), limits());
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let (payments_too, mailbox_too) = (payments.clone(), mailbox.clone());
        let handler =
            Arc::new(Handler::new(payments_too, mailbox_too, waker.clone(), sender, Inbox::default()));
        let mut process = Self {
            runtime,
            clock,
            db,
            payments,
            mailbox,
            waker,
            handler,
            requests,
            tasks,
            model: model.clone(),
            awaited: BTreeSet::new(),
        };
        process.awaited =
            process.open_wakes().unwrap_or_default().into_values().map(|wake| wake.node_id).collect();
        let (payments, waker) = (process.payments.clone(), process.waker.clone());
        process.run(async move {
            // A crash in the midst of a restart is swept away like any other.
            let _ = payments.restart().await;
            let _ = waker.take_over().await;
        });
        process
    }

    /// Runs something of the server's, and then all that follows from it.
    pub fn run(&self, what: impl Future<Output = ()> + Send + 'static) {
        self.runtime.block_on(async {
            self.tasks.spawn(what);
            self.rest().await;
        });
    }

    /// Calls the handler as LDK does, and then runs all that follows.
    pub fn call(&self, what: impl FnOnce(&Handler)) {
        self.runtime.block_on(async {
            what(&self.handler);
            self.settle().await;
        });
    }

    /// Hands LDK's event over; false when it is to be given again.
    pub fn event(&self, event: NodeEvent) -> bool {
        self.runtime.block_on(async {
            let taken = self.handler.event(event).await.is_ok();
            self.settle().await;
            taken
        })
    }

    /// Does something with the database, and then all that follows; nothing if the process dies of it.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Database) -> BoxFuture<'static, Result<T, StorageError>> + Send + 'static,
    ) -> Option<T> {
        let answer = Arc::new(Mutex::new(None));
        let (asked, db) = (answer.clone(), self.db.clone());
        self.run(async move {
            if let Ok(value) = question(db).await {
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            }
        });
        answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Works on the requests that came.
    pub fn answer(&mut self) {
        while let Ok((message, reply_to)) = self.requests.try_recv() {
            let payments = self.payments.clone();
            self.run(async move { payments.on_request(message, reply_to).await });
        }
    }

    /// Writes LDK's manager, if it is another than on disk: as LDK does. What of it is durable shows when this returns.
    pub fn write_manager(&self) {
        let (number, manager) = {
            let mut state = self.model.lock();
            let manager = state.written();
            if manager == state.durable {
                return;
            }
            let number = state.snapshots.keys().next_back().map_or(1, |last| last + 1);
            state.snapshots.insert(number, manager.clone());
            (number, manager)
        };
        let written = self.runtime.block_on(async {
            let write = self.db.kv().write("ldk", "", MANAGER_KEY, number.to_be_bytes().to_vec());
            let written = write.await.is_ok();
            self.settle().await;
            written
        });
        let mut state = self.model.lock();
        if written && !state.dead {
            state.durable = manager;
            state.snapshots.retain(|known, _| *known >= number);
        }
    }

    /// Time goes on, with every timer on the way.
    pub fn advance_to(&self, to: Duration) {
        while let Some(due) = self.clock.next_timer().filter(|due| *due <= to) {
            if self.is_over() {
                return;
            }
            self.step_to(due);
        }
        self.step_to(to);
    }

    fn step_to(&self, now: Duration) {
        {
            let mut state = self.model.lock();
            state.now = state.now.max(now);
        }
        self.runtime.block_on(async {
            self.clock.advance_to(now);
            self.settle().await;
        });
    }

    /// The process is dead, or its database has failed, which ends it.
    pub fn is_over(&self) -> bool {
        if self.model.lock().dead {
            return true;
        }
        let cut = self.db.faults().is_cut();
        let failed = cut || self.db.failed().now_or_never().is_some();
        if failed {
            let mut state = self.model.lock();
            if !cut {
                state.trace.count("process stopped by its database");
            }
            state.die(if cut { "at a commit" } else { "its database has failed" });
        }
        failed
    }

    /// Sweeps the process away; the database keeps what was committed.
    pub fn kill(self) {
        self.model.lock().die("kill -9");
        self.runtime.block_on(self.db.cut());
        drop(self.runtime);
    }

    /// Until every task has ended or sleeps, and all that was queued is committed.
    async fn settle(&self) {
        let mut turns = 0;
        loop {
            self.rest_within(&mut turns).await;
            let faults = self.db.faults();
            if self.is_over() || (faults.is_idle() && *self.tasks.running().borrow() <= self.clock.sleeping())
            {
                return;
            }
            // What nobody waits for is committed as well, and what follows from that is done.
            turns += 1;
            faults.idle().await;
        }
    }

    /// Until every task has ended or sleeps.
    async fn rest(&self) {
        self.rest_within(&mut 0).await;
    }

    async fn rest_within(&self, turns: &mut u32) {
        let mut running = self.tasks.running();
        let from = *turns;
        while *running.borrow_and_update() > self.clock.sleeping() && !self.is_over() {
            *turns += 1;
            if *turns > TURNS_MAX {
                let mut state = self.model.lock();
                state.trace.violation("the server never came to rest".to_owned());
                state.die("without end");
            }
            if *turns < from + 4 {
                tokio::task::yield_now().await;
            } else {
                // Something other than a task's end may be what is waited for: look again soon.
                let _ = tokio::time::timeout(Duration::from_millis(1), running.changed()).await;
            }
        }
    }
}
