//! Calls nodes at their announced addresses, for the messages of our own clients: the payee's LSP need not be a peer of the
//! payer's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use super::MailboxNode;
use crate::limits::{self, ServerLimit};
use crate::tasks::Tasks;

/// Nodes that are called at once.
const CALLS_MAX: usize = 32;

/// Nodes that are called at once for one client: one whose messages lead to nodes that do not answer leaves room for others'.
const CALLS_PER_CLIENT_MAX: usize = 4;

/// Messages that wait for one call.
const MESSAGES_PER_CALL_MAX: usize = 32;

/// The longest that a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Relay {
    node: Arc<dyn MailboxNode>,
    tasks: Tasks,
    /// Calls under way, and what waits for each. It is not stored: who needs it delivered sends it again.
    calls: Mutex<HashMap<PublicKey, Call>>,
}

/// A call under way.
#[derive(Default)]
struct Call {
    /// For whom it was begun; `None` for this node itself.
    client: Option<PublicKey>,
    waiting: Vec<Vec<u8>>,
}

impl Relay {
    pub(super) fn new(node: Arc<dyn MailboxNode>, tasks: Tasks) -> Self {
        Self { node, tasks, calls: Mutex::default() }
    }

    /// Connects to a node, if it can be reached, for a client.
    pub(super) fn call(self: &Arc<Self>, client: Option<PublicKey>, node_id: PublicKey) {
        self.begin(client, node_id, None);
    }

    /// Connects to a node and hands it a client's message.
    pub(super) fn carry(self: &Arc<Self>, client: Option<PublicKey>, node_id: PublicKey, message: Vec<u8>) {
        self.begin(client, node_id, Some(message));
    }

    fn begin(self: &Arc<Self>, client: Option<PublicKey>, node_id: PublicKey, message: Option<Vec<u8>>) {
        let mut calls = self.lock();
        if let Some(call) = calls.get_mut(&node_id) {
            match message {
                Some(message) if call.waiting.len() < MESSAGES_PER_CALL_MAX => call.waiting.push(message),
                Some(_) => limits::refused(ServerLimit::RelayMessages, client),
                None => {}
            }
            return;
        }
        if calls.len() >= CALLS_MAX {
            limits::refused(ServerLimit::RelayCalls, client);
            return;
        }
        let of_client = calls.values().filter(|call| call.client == client).count();
        if client.is_some() && of_client >= CALLS_PER_CLIENT_MAX {
            limits::refused(ServerLimit::RelayCallsPerClient, client);
            return;
        }
        calls.insert(node_id, Call { client, waiting: message.into_iter().collect() });
        drop(calls);
        let this = self.clone();
        self.tasks.spawn_waiting(async move { this.make_call(node_id).await });
    }

    async fn make_call(&self, node_id: PublicKey) {
        storage::crash_point!("before_node_called");
        let outcome = tokio::time::timeout(CALL_TIMEOUT, self.node.connect_announced(node_id)).await;
        storage::crash_point!("node_called");
        let messages = self.lock().remove(&node_id).unwrap_or_default().waiting;
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

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::{FakeNode, public};

    fn relay() -> Arc<Relay> {
        let node = FakeNode::new();
        node.silent.store(true, Ordering::Relaxed);
        Arc::new(Relay::new(node, Tasks::default()))
    }

    fn calls(relay: &Relay) -> usize {
        relay.lock().len()
    }

    #[tokio::test]
    async fn a_client_has_its_share_of_the_calls() {
        let relay = relay();
        let first = u8::try_from(CALLS_PER_CLIENT_MAX).unwrap();
        for node in 1..=first {
            relay.carry(Some(public(201)), public(node), b"one".to_vec());
            assert_eq!(calls(&relay), usize::from(node));
        }
        relay.carry(Some(public(201)), public(100), b"one".to_vec());
        assert_eq!(calls(&relay), CALLS_PER_CLIENT_MAX, "one more than its share");
        relay.carry(Some(public(202)), public(100), b"one".to_vec());
        assert_eq!(calls(&relay), CALLS_PER_CLIENT_MAX + 1, "another client has its own");
        // A call that is under way carries what anybody has for that node.
        relay.carry(Some(public(201)), public(100), b"two".to_vec());
        assert_eq!(relay.lock()[&public(100)].waiting.len(), 2);
    }

    #[tokio::test]
    async fn calls_and_what_waits_for_each_are_bounded() {
        let relay = relay();
        for node in 1..=u8::try_from(CALLS_MAX).unwrap() {
            // Each for another client.
            relay.carry(Some(public(100 + node)), public(node), b"one".to_vec());
            assert_eq!(calls(&relay), usize::from(node));
        }
        relay.carry(Some(public(99)), public(98), b"one".to_vec());
        assert_eq!(calls(&relay), CALLS_MAX);
        for message in 1..=2 * MESSAGES_PER_CALL_MAX {
            assert_eq!(relay.lock()[&public(1)].waiting.len(), message.min(MESSAGES_PER_CALL_MAX));
            relay.carry(Some(public(99)), public(1), b"more".to_vec());
        }
    }
}
