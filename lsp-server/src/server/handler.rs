//! LDK's events and payers' requests, each handed to the part that it is for.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use node::{
    ForwardVerdict, ForwardedOnion, IncomingMessage, NodeEvent, NodeHandler, NodeLimit, Replay, ReplyTo,
};
use protocol::units::BlockHeight;
use protocol::wire::Message;
use tokio::sync::{Semaphore, mpsc};

use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::lsps5::Inbox;
use crate::mailbox::Mailbox;
use crate::payment::Payments;
use crate::tasks::Tasks;
use crate::wake::Waker;

/// Requests that are worked on at once.
const REQUESTS_AT_ONCE_MAX: usize = 64;

/// Answers payers' requests, in the order that they came in, some at once.
pub(super) async fn answer_requests(
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
    hooks: Inbox,
}

impl Handler {
    /// Hands events to these, payers' messages to `requests`, and what is about webhooks to `hooks`.
    pub fn new(
        payments: Arc<Payments>,
        mailbox: Arc<Mailbox>,
        waker: Arc<Waker>,
        requests: mpsc::Sender<(Message, Option<ReplyTo>)>,
        hooks: Inbox,
    ) -> Self {
        Self { payments, mailbox, waker, requests, hooks }
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

    fn lsps_message(&self, peer: PublicKey, payload: String) {
        self.hooks.put(peer, payload);
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
        self.waker.on_block();
        self.payments.on_block();
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::PidHash;
    use protocol::wire::PaymentStatus;

    use super::*;
    use crate::testing::{TestDatabase, public};

    /// A question that tells itself from others.
    fn question(byte: u8) -> IncomingMessage {
        let pid_hash = Some(PidHash([byte; 32]));
        let status = PaymentStatus { payer: public(1), pid_hash, signature: String::new() };
        IncomingMessage { message: Message::PaymentStatus(status), context: None, reply_to: None }
    }

    #[tokio::test]
    async fn so_many_requests_wait_and_one_more_is_dropped_alone() {
        let db = TestDatabase::new().await;
        let (payments, mailbox, waker) = crate::payment::tests::bare_parts(&db);
        let (requests, mut incoming) = mpsc::channel(2);
        let handler = Handler::new(payments, mailbox, waker, requests, Inbox::default());
        let mut next = || match incoming.try_recv().ok()? {
            (Message::PaymentStatus(status), _) => status.pid_hash.map(|pid_hash| pid_hash.0[0]),
            (other, _) => panic!("{other:?}"),
        };
        handler.message(question(1));
        assert_eq!((next(), next()), (Some(1), None), "below the bound");
        for byte in 2..=4 {
            handler.message(question(byte));
        }
        assert_eq!(next(), Some(2));
        handler.message(question(5));
        assert_eq!([next(), next(), next()], [Some(3), Some(5), None], "the fourth came when two waited");
    }
}
