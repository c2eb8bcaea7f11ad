//! The payment driver: loads a hold, steps it, commits state and outbox together, then acts.
//!
//! The way of a payment through this folder: `requests` grants a hold, `intercepted` puts HTLCs under it, `pending`
//! keeps the payer's message on its way, `unblock` releases, `effects` tells LDK, `reconcile` sees to it that
//! every hold ends. `payee` is the other side: an HTLC for a phone that is asleep. `sleepers` wakes phones for any other HTLC that
//! nothing but their coming can move.

mod audit;
mod closes;
mod differences;
mod effects;
mod intercepted;
mod limits;
mod node;
mod payee;
mod pending;
mod promised;
mod reconcile;
mod requests;
mod routes;
mod sleepers;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod tidy;
mod unblock;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::node::{InboundHtlc, intercept_id};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use protocol::hold::HoldEvent;
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use storage::{Database, StorageError};
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::mailbox::Mailbox;
use crate::store::StoreError;
use crate::store::holds::Blind;
use crate::store::wakes::WakeKey;
use crate::tasks::Tasks;
use crate::wake::Waker;
use closes::Closes;
use differences::{Differences, Suspicions};
pub use limits::PaymentLimits;
pub use node::PaymentNode;
use promised::Promised;
use routes::Routes;
use step::Select;

/// Unblocks that are looked up at once; the payee repeats what is dropped.
const UNBLOCKS_MAX: usize = 1_000;

/// How many releases' latencies are remembered for the admin API.
const LATENCIES_MAX: usize = 1_000;

/// The driver of all holds.
pub struct Payments {
    node: Arc<dyn PaymentNode>,
    db: Database,
    waker: Arc<Waker>,
    mailbox: Arc<Mailbox>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    limits: PaymentLimits,
    routes: Arc<Mutex<Routes>>,
    /// Parts of holds that an HTLC of LDK's may still be about.
    known_parts: Mutex<HashSet<InterceptId>>,
    /// How often a part was looked for in vain on the payer's channels.
    missing: Mutex<HashMap<InterceptId, u32>>,
    latencies_micros: Mutex<HashMap<PidHash, u64>>,
    payee_waits: Arc<Semaphore>,
    /// How many of them wait for each payee.
    payees: Arc<Mutex<HashMap<PublicKey, usize>>>,
    unblocks: Arc<Semaphore>,
    /// Unblocked holds that somebody is trying to release again and again already.
    retrying: Mutex<HashSet<PidHash>>,
    /// The height that the holds were last compared at.
    reconciled_at: Mutex<Option<BlockHeight>>,
    differences: Mutex<Differences>,
    closes: Mutex<Closes>,
    /// HTLCs that no live hold has.
    strange_htlcs: Mutex<Suspicions<InterceptId>>,
    /// Wakes that a hold's row asks for and that are not open, and the other way round.
    lacking_wakes: Mutex<Suspicions<(i64, WakeKey)>>,
    needless_wakes: Mutex<Suspicions<WakeKey>>,
    /// Payers with a live hold of which a payment hash is lost.
    blind: Mutex<Vec<Blind>>,
    /// The hashes of live holds, whatever became of their rows.
    promised: Promised,
    rescan: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Payments {
    /// A driver; its tasks are [`Payments::run_reconcile`], [`Payments::run_pending`] and [`Payments::run_sleepers`].
    pub fn new(
        node: Arc<dyn PaymentNode>,
        db: Database,
        waker: Arc<Waker>,
        mailbox: Arc<Mailbox>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        limits: PaymentLimits,
    ) -> Arc<Self> {
        let payee_waits = Arc::new(Semaphore::new(limits.payee_waits_max));
        Arc::new(Self {
            node,
            db,
            waker,
            mailbox,
            clock,
            tasks,
            limits,
            routes: Arc::default(),
            known_parts: Mutex::default(),
            missing: Mutex::default(),
            latencies_micros: Mutex::default(),
            payee_waits,
            payees: Arc::default(),
            unblocks: Arc::new(Semaphore::new(UNBLOCKS_MAX)),
            retrying: Mutex::default(),
            reconciled_at: Mutex::default(),
            differences: Mutex::default(),
            closes: Mutex::default(),
            strange_htlcs: Mutex::default(),
            lacking_wakes: Mutex::default(),
            needless_wakes: Mutex::default(),
            blind: Mutex::default(),
            promised: Promised::default(),
            rescan: Notify::new(),
        })
    }

    /// LDK's `PaymentForwarded`: the next hop claimed these.
    pub fn on_forwarded(self: &Arc<Self>, inbound: &[InboundHtlc]) {
        for htlc in inbound {
            let peer = htlc.peer.or_else(|| self.node.peer_of_channel(htlc.channel_id));
            let Some(peer) = peer else { continue };
            let id = intercept_id(htlc.htlc_id, htlc.channel_id, peer);
            if !lock(&self.known_parts).contains(&id) {
                // A payment with no hold: nothing of ours to write.
                continue;
            }
            storage::crash_point!("before_claim_queued");
            self.step_and_act("part_claimed", Select::Part(id), HoldEvent::PartClaimed(id));
            storage::crash_point!("claim_queued");
        }
        self.rescan.notify_one();
    }

    /// LDK has seen a new block: every hold is looked at.
    pub fn on_block(&self) {
        storage::crash_point!("before_block_heard");
        self.nudge();
        storage::crash_point!("block_heard");
    }

    /// Refuses what somebody can ask for again, while the database cannot be written.
    fn writable(&self) -> Result<(), StoreError> {
        match self.db.trouble() {
            Some(trouble) => Err(StorageError::Trouble(trouble.kind()).into()),
            None => Ok(()),
        }
    }

    /// Something changed on a channel or a connection: look at every live hold now.
    pub fn nudge(&self) {
        self.rescan.notify_one();
    }

    /// A channel is gone: what was held on it cannot be released any more.
    pub fn on_channel_closed(self: &Arc<Self>, peer: PublicKey, channel_id: lightning::ln::types::ChannelId) {
        let event = HoldEvent::PayerChannelClosing(channel_id);
        self.step_and_act("payer_channel_closed", Select::LiveOf(peer), event);
    }

    /// A payer went away with work undone: make sure that it is woken again.
    pub fn on_peer_disconnected(self: &Arc<Self>, peer: PublicKey) {
        self.step_and_act("payer_disconnected", Select::LiveOf(peer), HoldEvent::Restarted);
    }

    /// Microseconds from an unblock's arrival until LDK was told to forward, if it was since the start.
    pub fn release_latency_micros(&self, pid_hash: PidHash) -> Option<u64> {
        lock(&self.latencies_micros).get(&pid_hash).copied()
    }

    fn remember_latency(&self, pid_hash: PidHash, micros: u64) {
        let mut latencies = lock(&self.latencies_micros);
        if latencies.len() >= LATENCIES_MAX {
            latencies.clear();
        }
        latencies.insert(pid_hash, micros);
    }
}
