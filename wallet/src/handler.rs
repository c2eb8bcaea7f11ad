//! What the node tells the wallet.

use std::sync::{Arc, PoisonError, Weak};

use lightning_types::payment::PaymentHash;
use node::{IncomingMessage, NodeEvent, NodeHandler, Replay};
use protocol::units::Msat;
use protocol::wire::Message;
use storage::{BoxFuture, Commit, StorageError};

use crate::asks::CONTEXT_ASK;
use crate::step::Step;
use crate::store::{invoices, payments, pending};
use crate::{Core, payer};

/// The wallet's side of its node. Holds it weakly: the node is the wallet's own.
pub(crate) struct Handler(Weak<Core>);

impl Handler {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self(Arc::downgrade(core))
    }
}

impl NodeHandler for Handler {
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>> {
        Box::pin(async move {
            let core = self.0.upgrade().ok_or(Replay)?;
            core.event(event).await
        })
    }

    fn message(&self, incoming: IncomingMessage) {
        let Some(core) = self.0.upgrade() else { return };
        if let Some((&CONTEXT_ASK, id)) = incoming.context.as_deref().and_then(<[u8]>::split_first) {
            core.asks.answer(id, incoming.message);
        } else {
            core.touch();
            if core.messages.try_send(incoming).is_err() {
                tracing::warn!("a message was dropped: too many wait");
            }
        }
    }
}

impl Core {
    /// Queues what the event asks for, and answers Ok without waiting for the disk: LDK's own write that forgets the event is
    /// behind in the queue.
    async fn event(self: &Arc<Self>, event: NodeEvent) -> Result<(), Replay> {
        self.touch();
        match event {
            NodeEvent::PaymentClaimable { payment_hash, payment_id, amount, preimage } => {
                self.claim_or_refuse(payment_hash, payment_id, amount, preimage).await?;
            }
            NodeEvent::PaymentClaimed { payment_hash, amount } => self.claimed(payment_hash, amount),
            NodeEvent::PaymentSent { payment_hash, preimage, fee_paid } => {
                let commit = self.database.submit_required("payment_settled", move |tx| {
                    Box::pin(payments::set_settled(tx, payment_hash, preimage, fee_paid))
                });
                storage::crash_point!("settled_queued");
                let fee_msat = fee_paid.unwrap_or_default();
                self.announce(commit, move |first| first.then_some(Step::Settled { payment_hash, fee_msat }));
            }
            NodeEvent::PaymentFailed { payment_hash: Some(payment_hash), reason, unsent } => {
                let height = self.node.height();
                let commit = self.database.submit_required("payment_failed", move |tx| {
                    Box::pin(async move {
                        if unsent && payments::waits_to_be_sent(tx, payment_hash, height).await? {
                            return Ok(None);
                        }
                        payments::set_failed_by_ldk(tx, payment_hash, &reason, height).await
                    })
                });
                storage::crash_point!("failed_queued");
                self.announce(commit, move |reason| {
                    reason.map(|reason| Step::Failed { payment_hash, reason })
                });
            }
            NodeEvent::ChannelPending { channel_id, funding, .. } => {
                self.emit(Step::ChannelPending { channel_id, funding: funding.to_string() });
            }
            NodeEvent::ChannelReady { channel_id, .. } => self.emit(Step::ChannelReady { channel_id }),
            NodeEvent::ChannelClosed { channel_id, reason, .. } => {
                self.emit(Step::ChannelClosed { channel_id, reason });
            }
            // The rest is for LSPs.
            _ => {}
        }
        Ok(())
    }

    fn claimed(self: &Arc<Self>, payment_hash: PaymentHash, amount: Msat) {
        let now_unix = self.clock.now_unix();
        let commit = self.database.submit_required("invoice_paid", move |tx| {
            Box::pin(async move {
                pending::set_arrived(tx, payment_hash).await?;
                invoices::set_paid(tx, payment_hash, amount, now_unix).await
            })
        });
        storage::crash_point!("paid_queued");
        self.answers.forget(payment_hash);
        self.announce(commit, move |first| first.then_some(Step::Paid { payment_hash, amount_msat: amount }));
    }

    /// Tells what was stored, once it is on disk.
    fn announce<T: Send + 'static>(
        self: &Arc<Self>,
        commit: Commit<T, StorageError>,
        step: impl FnOnce(T) -> Option<Step> + Send + 'static,
    ) {
        let core = self.clone();
        let announcement = tokio::spawn(async move {
            match commit.await {
                Ok(stored) => {
                    if let Some(step) = step(stored) {
                        core.emit(step);
                    }
                }
                Err(error) => tracing::error!(%error, "what happened could not be stored"),
            }
        });
        let mut announcements = self.announcements.lock().unwrap_or_else(PoisonError::into_inner);
        announcements.retain(|earlier| !earlier.is_finished());
        announcements.push(announcement);
    }
}

/// The payment that a reply path of ours belongs to.
pub(crate) fn payment_of_context(context: &[u8]) -> Option<PaymentHash> {
    let (&tag, hash) = context.split_first()?;
    (tag == payer::CONTEXT_PENDING).then_some(())?;
    hash.try_into().ok().map(PaymentHash)
}

/// Whether a message is one that only a payer gets along its own reply path.
pub(crate) fn is_payees_answer(message: &Message) -> bool {
    matches!(message, Message::PaymentRefused(_) | Message::PaymentUnblock(_))
}
