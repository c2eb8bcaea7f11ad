//! The reference offline wallet: pays and is paid through an LSP that holds and keeps while it sleeps.
//!
//! ```no_run
//! # use wallet::{PayOptions, SystemClock, Wallet, WalletConfig, WakeLimits};
//! # async fn example(config: WalletConfig, seed: node::Seed, push: &[u8]) -> Result<(), wallet::WalletError> {
//! let wallet = Wallet::open(config, seed, std::sync::Arc::new(SystemClock)).await?;
//! wallet.start().await?;
//! wallet.handle_push(push, WakeLimits::default()).await?;
//! wallet.pay_async("lnbcrt1...", PayOptions::default()).await?;
//! wallet.close().await;
//! # Ok(()) }
//! ```
//!
//! Everything that a crash may not forget is in the database; [`Wallet::wake`] picks up what was left, whatever it was. What
//! happens meanwhile comes as [`Step`]s from [`Wallet::steps`].

mod api;
mod asks;
mod config;
mod devices;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod handler;
mod hooks;
mod online;
mod payee;
mod payer;
mod register;
mod status;
mod step;
mod store;
mod wake;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lightning_types::payment::PaymentHash;
use node::{IncomingMessage, Node, NodeConfig, Role, Seed};
use storage::Database;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

pub use config::{LspAddress, LspAddressError, WalletConfig};
pub use error::{Missing, WalletError};
pub use node::clock::{Clock, SystemClock};
pub use node::{HookNotificationError, HookNotifications, HookReason, WebhookError, Webhooks};
pub use payee::INVOICE_EXPIRY_SECS;
pub use payer::{Cancelled, HOLD_BLOCKS, PayOptions};
pub use register::Registered;
pub use status::{HoldView, InvoiceView, PaymentView, Status};
pub use step::Step;
pub use store::invoices::Invoice;
pub use store::payments::{Payment, PaymentKind, PaymentState};
pub use wake::WakeLimits;

use asks::Asks;
use payee::Answers;

/// Steps that a slow listener can be behind.
const STEPS_MAX: usize = 1024;

/// Messages that wait for the wallet's attention. The LSP keeps what is not taken, and sends it again.
const MESSAGES_MAX: usize = 256;

/// A phone's wallet. Clones are the same wallet.
#[derive(Clone)]
pub struct Wallet {
    core: Arc<Core>,
}

/// What the wallet's parts share.
struct Core {
    config: WalletConfig,
    seed: Seed,
    node: Arc<Node>,
    database: Database,
    clock: Arc<dyn Clock>,
    steps: broadcast::Sender<Step>,
    asks: Asks,
    answers: Answers,
    messages: mpsc::Sender<IncomingMessage>,
    pending_messages: Mutex<Option<mpsc::Receiver<IncomingMessage>>>,
    driven: Mutex<HashMap<PaymentHash, Arc<tokio::sync::Mutex<()>>>>,
    active_at: Mutex<Instant>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Steps that are told once what they are about is on disk.
    announcements: Mutex<Vec<JoinHandle<()>>>,
}

impl Wallet {
    /// Opens the wallet, or makes it at first use, and brings it to the chain's tip. It is offline until [`Wallet::start`].
    ///
    /// # Errors
    /// When bitcoind cannot be used, another process uses the database, or the database belongs to another seed or network.
    pub async fn open(config: WalletConfig, seed: Seed, clock: Arc<dyn Clock>) -> Result<Self, WalletError> {
        let database = Database::open(&config.database, &[store::MIGRATIONS]).await?;
        let node_config = NodeConfig {
            network: config.network,
            bitcoind: config.bitcoind.clone(),
            listen: Vec::new(),
            announced_addresses: Vec::new(),
            alias: String::new(),
            role: Role::Wallet { lsp: config.lsp.node_id, lsp_address: config.lsp.address.clone() },
        };
        let node = match Node::load(node_config, seed.clone(), database.clone()).await {
            Ok(node) => node,
            Err(error) => {
                database.close().await;
                return Err(error.into());
            }
        };
        let (messages, pending_messages) = mpsc::channel(MESSAGES_MAX);
        let core = Core {
            config,
            seed,
            node,
            database,
            clock,
            steps: broadcast::channel(STEPS_MAX).0,
            asks: Asks::default(),
            answers: Answers::default(),
            messages,
            pending_messages: Mutex::new(Some(pending_messages)),
            driven: Mutex::default(),
            active_at: Mutex::new(Instant::now()),
            tasks: Mutex::default(),
            announcements: Mutex::default(),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Goes online: connects to the LSP, and keeps trying until [`Wallet::close`].
    ///
    /// # Errors
    /// When it was started before, or its database fails.
    pub async fn start(&self) -> Result<(), WalletError> {
        let core = &self.core;
        core.load_answers().await?;
        let messages = core.pending_messages.lock().unwrap_or_else(PoisonError::into_inner).take();
        core.node.start(Arc::new(handler::Handler::new(core))).await?;
        if let Some(messages) = messages {
            core.spawn(payee::run_messages(Arc::downgrade(core), messages));
            core.spawn(payee::run_answers(Arc::downgrade(core)));
        }
        Ok(())
    }

    /// Goes offline and gives the database back. What is under way goes on at the next start.
    pub async fn close(&self) {
        for task in std::mem::take(&mut *self.core.tasks.lock().unwrap_or_else(PoisonError::into_inner)) {
            task.abort();
        }
        self.core.node.stop().await;
        self.core.database.close().await;
        // Whoever listens hears of all that was stored.
        let announcements =
            std::mem::take(&mut *self.core.announcements.lock().unwrap_or_else(PoisonError::into_inner));
        for announcement in announcements {
            if let Err(error) = announcement.await {
                tracing::error!(%error, "a step was not told");
            }
        }
    }

    /// Everything that happens from now on.
    pub fn steps(&self) -> broadcast::Receiver<Step> {
        self.core.steps.subscribe()
    }

    /// The node underneath: its id, channels, balances and addresses.
    pub fn node(&self) -> &Arc<Node> {
        &self.core.node
    }

    /// The LSP.
    pub fn lsp(&self) -> &LspAddress {
        &self.core.config.lsp
    }

    /// Resolves if the database can no longer be written, and never otherwise: the process has to stop then.
    pub async fn failed(&self) -> storage::Failure {
        self.core.database.failed().await
    }
}

impl Core {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(tokio::spawn(task));
    }

    /// Tells whoever listens.
    fn emit(&self, step: Step) {
        self.touch();
        tracing::info!(?step, "step");
        // Nobody has to listen.
        let _ = self.steps.send(step);
    }

    /// Something happened: the wallet is not quiet yet.
    fn touch(&self) {
        *self.active_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn active_at(&self) -> Instant {
        *self.active_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
