//! Sends the payers' payment_pending again until it is answered.

use std::sync::Arc;
use std::time::Duration;

use node::Replay;

use super::Payments;
use super::unblock::PENDING_FIRST_RETRY_SECS;
use crate::store::StoreError;
use crate::store::pending::{self, Due, PendingMessage};

/// How often due packets are looked for.
const PENDING_SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Packets sent in one scan.
const PENDING_BATCH_MAX: u32 = 100;

/// The longest pause between two sendings, in seconds.
const PENDING_BACKOFF_SECS_MAX: u64 = 600;

impl Payments {
    /// Rescans for ever; takes no input and is idempotent.
    pub async fn run_pending(self: Arc<Self>) {
        loop {
            self.clock.sleep(PENDING_SCAN_INTERVAL).await;
            self.db.out_of_trouble().await;
            if let Err(error) = self.send_due().await {
                tracing::error!(%error, "kept payment_pending messages were not sent");
            }
        }
    }

    /// One pass: sends what is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_due(&self) -> Result<(), StoreError> {
        let now_unix = self.clock.now_unix();
        let Due { messages, damaged } = self
            .db
            .read("pending_due", move |tx| Box::pin(pending::due(tx, now_unix, PENDING_BATCH_MAX)))
            .await?;
        for hold_id in damaged {
            // It must not take the place of one that can be sent; an operator may mend it.
            let due_at = now_unix + PENDING_BACKOFF_SECS_MAX;
            self.db
                .submit("put_off_pending", move |tx| Box::pin(pending::put_off(tx, hold_id, due_at)))
                .await?;
        }
        for message in messages {
            storage::crash_point!("before_pending_sent_again");
            self.send_pending(&message);
            storage::crash_point!("pending_sent_again");
            let hold_id = message.hold_id;
            let due_at = now_unix + backoff_secs(message.attempts);
            self.db.submit("pending_sent", move |tx| Box::pin(pending::sent(tx, hold_id, due_at))).await?;
        }
        Ok(())
    }

    fn send_pending(&self, message: &PendingMessage) {
        let next_hop = message.next_hop;
        let hold_id = message.hold_id;
        if !self.node.is_connected(next_hop) && !self.node.channels_with(next_hop).is_empty() {
            // The payee is a phone of ours and asleep: the mailbox keeps one copy of the same packet.
            let kept = self.mailbox.on_intercepted(Some(message.payer), next_hop, message.message.clone());
            if kept == Err(Replay) {
                tracing::warn!(hold_id, "the mailbox does not take a payment_pending; it is tried again");
            }
            return;
        }
        if !self.node.is_connected(next_hop) {
            // Not awaited: an LSP that does not answer holds up no other payer's messages.
            tracing::info!(hold_id, %next_hop, attempts = message.attempts + 1, "calling for a payment_pending");
            self.mailbox.relay(message.payer, next_hop, message.message.clone());
            return;
        }
        match self.node.forward_onion(&message.message, next_hop) {
            Ok(()) => {
                tracing::info!(hold_id, %next_hop, attempts = message.attempts + 1, "payment_pending sent again")
            }
            Err(error) => {
                tracing::info!(hold_id, %next_hop, %error, "payment_pending could not be sent again")
            }
        }
    }
}

fn backoff_secs(attempts: u32) -> u64 {
    PENDING_FIRST_RETRY_SECS.saturating_mul(1 << attempts.min(10)).min(PENDING_BACKOFF_SECS_MAX)
}
