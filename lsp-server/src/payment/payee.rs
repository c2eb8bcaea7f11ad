//! An HTLC with no hold: on to its next hop at once, or as soon as a sleeping payee has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use futures::future::OptionFuture;
use lightning_types::payment::PaymentHash;
use node::{ChannelCarry, InterceptedHtlc};
use protocol::wake::WakeReason;
use storage::{Commit, StorageError};
use tokio::sync::OwnedSemaphorePermit;

use super::{Payments, lock};
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::store::wakes::{self, NewWake};

/// How often a channel is looked at while its peer is awaited.
const PAYEE_POLL_INTERVAL: Duration = Duration::from_millis(25);

impl Payments {
    pub(super) fn let_go(self: &Arc<Self>, htlc: InterceptedHtlc) {
        match self.node.carry(htlc.next_hop_scid) {
            Some(carry) if !carry.is_usable => self.await_payee(htlc, carry),
            _ => self.forward(&htlc),
        }
    }

    /// LDK fails an HTLC that its next hop cannot take, as a temporary failure; one whose next hop is unknown is failed
    /// here.
    fn forward(&self, htlc: &InterceptedHtlc) {
        let id = htlc.intercept_id;
        storage::crash_point!("before_let_go");
        if let Err(error) = self.node.forward_intercepted(id, htlc.next_hop_scid, htlc.outbound_amount) {
            tracing::info!(intercept_id = %id, %error, "no next hop for an HTLC; it fails");
            if let Err(error) = self.node.fail_intercepted(id) {
                tracing::debug!(intercept_id = %id, %error, "LDK had failed it");
            }
        }
        storage::crash_point!("let_go");
        self.node.flush_forwards();
        storage::crash_point!("let_go_flushed");
    }

    fn await_payee(self: &Arc<Self>, htlc: InterceptedHtlc, carry: ChannelCarry) {
        let place = match self.place_for(carry.peer) {
            Ok(place) => place,
            Err(limit) => {
                limits::refused(limit, Some(carry.peer));
                self.forward(&htlc);
                return;
            }
        };
        // Queued ahead of LDK's write that forgets the event.
        let woken =
            (!self.node.is_connected(carry.peer)).then(|| self.wake_payee(carry.peer, htlc.payment_hash));
        let this = self.clone();
        self.tasks.spawn_waiting(async move {
            let started = this.clock.elapsed();
            let wait = Duration::from_secs(this.limits.payee_wait_secs);
            tracing::info!(
                target: STRANGERS, payee = %carry.peer, payment_hash = %htlc.payment_hash, "an HTLC waits for its payee"
            );
            match OptionFuture::from(woken).await {
                None | Some(Ok(true)) => {}
                // It is being woken for the payments of others: it comes all the same.
                Some(Ok(false)) => limits::refused(ServerLimit::StrangerWakesPerNode, Some(carry.peer)),
                Some(Err(error)) => tracing::error!(%error, "the payee cannot be woken"),
            }
            storage::crash_point!("payee_awaited");
            let arrived = loop {
                match this.node.carry(htlc.next_hop_scid) {
                    Some(now) if now.is_usable => break true,
                    _ if this.clock.elapsed() >= started + wait => break false,
                    _ => this.clock.sleep(PAYEE_POLL_INTERVAL).await,
                }
            };
            let waited_ms = this.clock.elapsed().saturating_sub(started).as_millis();
            tracing::info!(
                target: STRANGERS, payee = %carry.peer, payment_hash = %htlc.payment_hash, arrived, waited_ms, "waited"
            );
            this.forward(&htlc);
            drop(place);
        });
    }

    /// So many HTLCs wait for one payee, and so many in all.
    pub(super) fn place_for(&self, payee: PublicKey) -> Result<PayeePlace, ServerLimit> {
        let in_all = self.payee_waits.clone().try_acquire_owned().map_err(|_| ServerLimit::WaitingHtlcs)?;
        let mut payees = lock(&self.payees);
        let waiting = payees.get(&payee).copied().unwrap_or(0);
        if waiting >= self.limits.payee_waits_per_payee_max {
            return Err(ServerLimit::WaitingHtlcsPerPayee);
        }
        payees.insert(payee, waiting + 1);
        Ok(PayeePlace { payee, payees: self.payees.clone(), _in_all: in_all })
    }

    /// Queues the wake. False if too many of the payee's wakes are open already.
    fn wake_payee(&self, payee: PublicKey, payment_hash: PaymentHash) -> Commit<bool, StorageError> {
        let now_unix = self.clock.now_unix();
        let wake = NewWake {
            node_id: payee,
            reason: WakeReason::PaymentIncoming,
            group: payee_group(payee, payment_hash),
            expires_at_unix: now_unix + self.limits.payee_wait_secs,
            now_unix,
        };
        let max = self.limits.stranger_wakes_per_node_max;
        let opened = self.db.submit("wake_payee", move |tx| {
            Box::pin(async move { wakes::open_within(tx, &wake, max).await })
        });
        self.waker.nudge();
        opened
    }
}

/// The place of one HTLC that waits, until it is dropped.
pub(super) struct PayeePlace {
    payee: PublicKey,
    payees: Arc<Mutex<HashMap<PublicKey, usize>>>,
    _in_all: OwnedSemaphorePermit,
}

impl Drop for PayeePlace {
    fn drop(&mut self) {
        let mut payees = lock(&self.payees);
        match payees.get_mut(&self.payee) {
            Some(waiting) if *waiting > 1 => *waiting -= 1,
            _ => drop(payees.remove(&self.payee)),
        }
    }
}

/// One wake for all parts of one payment to one payee.
pub(super) fn payee_group(payee: PublicKey, payment_hash: PaymentHash) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(&payee.serialize());
    engine.input(&payment_hash.0);
    sha256::Hash::from_engine(engine).to_byte_array()
}
