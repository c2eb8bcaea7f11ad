//! Calls nodes at their announced addresses, for the messages of our own clients: the payee's LSP need not be a peer of the
//! payer's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::MailboxNode;
use crate::tasks::Tasks;

/// Nodes that are called at once.
const CALLS_MAX: usize = 32;

/// Messages that wait for one call.
const MESSAGES_PER_CALL_MAX: usize = 32;

/// The longest that a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Relay {
    node: Arc<dyn MailboxNode>,
    tasks: Tasks,
    /// Calls under way, and what waits for each. It is not stored: who needs it delivered sends it again.
    calls: Mutex<HashMap<PublicKey, Vec<Vec<u8>>>>,
}

impl Relay {
    pub(super) fn new(node: Arc<dyn MailboxNode>, tasks: Tasks) -> Self {
        Self { node, tasks, calls: Mutex::default() }
    }

    /// Connects to a node, if it can be reached.
    pub(super) fn call(self: &Arc<Self>, node_id: PublicKey) {
        self.begin(node_id, None);
    }

    /// Connects to a node and hands it the message.
    pub(super) fn carry(self: &Arc<Self>, node_id: PublicKey, message: Vec<u8>) {
        self.begin(node_id, Some(message));
    }

    fn begin(self: &Arc<Self>, node_id: PublicKey, message: Option<Vec<u8>>) {
        let mut calls = self.lock();
        if let Some(waiting) = calls.get_mut(&node_id) {
            match message {
                Some(message) if waiting.len() < MESSAGES_PER_CALL_MAX => waiting.push(message),
                Some(_) => tracing::debug!(%node_id, "dropped a message: too many wait for this call"),
                None => {}
            }
            return;
        }
        if calls.len() >= CALLS_MAX {
            tracing::debug!(%node_id, "a node is not called: too many are");
            return;
        }
        calls.insert(node_id, message.into_iter().collect());
        drop(calls);
        let this = self.clone();
        self.tasks.spawn_waiting(async move { this.make_call(node_id).await });
    }

    async fn make_call(&self, node_id: PublicKey) {
        let outcome = tokio::time::timeout(CALL_TIMEOUT, self.node.connect_announced(node_id)).await;
        let messages = self.lock().remove(&node_id).unwrap_or_default();
        match outcome {
            Ok(Ok(())) => {
                for message in messages {
                    match self.node.forward_onion(&message, node_id) {
                        Ok(()) => tracing::debug!(%node_id, "a message is taken to a node that was called"),
                        Err(error) => {
                            tracing::debug!(%node_id, %error, "dropped a message for a node that was called")
                        }
                    }
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%node_id, %error, dropped = messages.len(), "a node cannot be called");
            }
            Err(_) => tracing::debug!(%node_id, dropped = messages.len(), "a node does not answer the call"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Vec<Vec<u8>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
