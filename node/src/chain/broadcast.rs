//! LDK's transactions on their way to bitcoind.

use std::sync::Arc;

use bitcoin::Transaction;
use lightning::chain::chaininterface::{BroadcasterInterface, TransactionType};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::ChainClient;
use crate::handler::HandlerCell;
use crate::limits::NodeLimit;

/// Packages that wait while bitcoind does not answer. LDK makes each anew, with a fresh fee, as long as it is of use.
const QUEUED_MAX: usize = 1_000;

/// Hands transactions to [`run_broadcaster`]. LDK cannot wait, and broadcasts again by itself what is lost here.
pub(crate) struct Broadcaster {
    queue: mpsc::Sender<Vec<Transaction>>,
    handler: HandlerCell,
}

impl Broadcaster {
    pub(crate) fn new(handler: HandlerCell) -> (Self, mpsc::Receiver<Vec<Transaction>>) {
        let (queue, receiver) = mpsc::channel(QUEUED_MAX);
        (Self { queue, handler }, receiver)
    }

    pub(crate) fn send(&self, transactions: Vec<Transaction>) {
        match self.queue.try_send(transactions) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.handler.refused(NodeLimit::Broadcasts, None),
            Err(TrySendError::Closed(_)) => {
                tracing::debug!(
                    "a transaction came after the broadcaster stopped; it is sent at the next start"
                );
            }
        }
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[(&Transaction, TransactionType)]) {
        self.send(txs.iter().map(|(transaction, _)| (*transaction).clone()).collect());
    }
}

/// Sends what the [`Broadcaster`] queued until it is dropped.
pub(crate) async fn run_broadcaster(client: Arc<ChainClient>, mut queue: mpsc::Receiver<Vec<Transaction>>) {
    while let Some(transactions) = queue.recv().await {
        let txids: Vec<_> = transactions.iter().map(|t| t.compute_txid().to_string()).collect();
        match client.broadcast(&transactions).await {
            Ok(()) => tracing::info!(?txids, "transaction broadcast"),
            Err(error) => tracing::warn!(?txids, %error, "bitcoind did not take a transaction"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_nothing_of_it_is_displaced() {
        let (broadcaster, mut queue) = Broadcaster::new(HandlerCell::default());
        for _ in 0..QUEUED_MAX + 1 {
            broadcaster.send(Vec::new());
        }
        assert_eq!(queue.len(), QUEUED_MAX);
        assert!(queue.try_recv().is_ok());
        broadcaster.send(Vec::new());
        assert_eq!(queue.len(), QUEUED_MAX, "room came back");
    }
}
