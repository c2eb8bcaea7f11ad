//! LDK's transactions on their way to bitcoind.

use std::sync::Arc;

use bitcoin::Transaction;
use lightning::chain::chaininterface::{BroadcasterInterface, TransactionType};
use tokio::sync::mpsc;

use super::ChainClient;

/// Hands transactions to [`run_broadcaster`]. Unbounded, because LDK cannot wait; LDK broadcasts again by itself what
/// a crash loses here.
pub(crate) struct Broadcaster {
    queue: mpsc::UnboundedSender<Vec<Transaction>>,
}

impl Broadcaster {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Vec<Transaction>>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (Self { queue }, receiver)
    }

    pub(crate) fn send(&self, transactions: Vec<Transaction>) {
        if self.queue.send(transactions).is_err() {
            tracing::debug!("a transaction came after the broadcaster stopped; it is sent at the next start");
        }
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[(&Transaction, TransactionType)]) {
        self.send(txs.iter().map(|(transaction, _)| (*transaction).clone()).collect());
    }
}

/// Sends what the [`Broadcaster`] queued until it is dropped.
pub(crate) async fn run_broadcaster(
    client: Arc<ChainClient>,
    mut queue: mpsc::UnboundedReceiver<Vec<Transaction>>,
) {
    while let Some(transactions) = queue.recv().await {
        let txids: Vec<_> = transactions.iter().map(|t| t.compute_txid().to_string()).collect();
        match client.broadcast(&transactions).await {
            Ok(()) => tracing::info!(?txids, "transaction broadcast"),
            Err(error) => tracing::warn!(?txids, %error, "bitcoind did not take a transaction"),
        }
    }
}
