//! An HTLC with no hold: on to its next hop at once, or as soon as a sleeping payee has come.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use node::{ChannelCarry, InterceptedHtlc};
use protocol::wake::WakeReason;
use storage::StorageError;

use super::Payments;
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
        let Ok(place) = self.payee_waits.clone().try_acquire_owned() else {
            tracing::warn!(payee = %carry.peer, "too many HTLCs wait for their payees; this one does not");
            self.forward(&htlc);
            return;
        };
        let this = self.clone();
        self.tasks.spawn_waiting(async move {
            let started = this.clock.elapsed();
            let wait = Duration::from_secs(this.limits.payee_wait_secs);
            tracing::info!(payee = %carry.peer, payment_hash = %htlc.payment_hash, "an HTLC waits for its payee");
            if !this.node.is_connected(carry.peer)
                && let Err(error) = this.wake_payee(carry.peer, htlc.payment_hash).await
            {
                tracing::error!(%error, "the payee cannot be woken");
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
            tracing::info!(payee = %carry.peer, payment_hash = %htlc.payment_hash, arrived, waited_ms, "waited");
            this.forward(&htlc);
            drop(place);
        });
    }

    async fn wake_payee(&self, payee: PublicKey, payment_hash: PaymentHash) -> Result<(), StorageError> {
        let now_unix = self.clock.now_unix();
        let wake = NewWake {
            node_id: payee,
            reason: WakeReason::PaymentIncoming,
            group: payee_group(payee, payment_hash),
            expires_at_unix: now_unix + self.limits.payee_wait_secs,
            now_unix,
        };
        self.db.submit("wake_payee", move |tx| Box::pin(async move { wakes::open(tx, &wake).await })).await?;
        self.waker.nudge();
        Ok(())
    }
}

/// One wake for all parts of one payment to one payee.
pub(super) fn payee_group(payee: PublicKey, payment_hash: PaymentHash) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(&payee.serialize());
    engine.input(&payment_hash.0);
    sha256::Hash::from_engine(engine).to_byte_array()
}
