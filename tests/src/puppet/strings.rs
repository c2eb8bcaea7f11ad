//! What a puppet hears.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use futures::future::BoxFuture;
use node::{IncomingMessage, Node, NodeEvent, NodeHandler, Replay};

/// Remembers everything, and takes every payment that it has an invoice for.
pub(super) struct Strings {
    node: Weak<Node>,
    claims: AtomicBool,
    events: Mutex<Vec<NodeEvent>>,
    messages: Mutex<Vec<IncomingMessage>>,
}

impl Strings {
    pub(super) fn new(node: Weak<Node>) -> Self {
        Self { node, claims: AtomicBool::new(true), events: Mutex::default(), messages: Mutex::default() }
    }

    pub(super) fn events(&self) -> Vec<NodeEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count_messages(&self, counts: impl Fn(&IncomingMessage) -> bool) -> usize {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().filter(|message| counts(message)).count()
    }

    /// The first message for which `pick` answers something. It is forgotten.
    pub(super) fn take_message<T>(&self, mut pick: impl FnMut(&IncomingMessage) -> Option<T>) -> Option<T> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, picked) =
            messages.iter().enumerate().find_map(|(index, message)| Some((index, pick(message)?)))?;
        messages.remove(index);
        Some(picked)
    }

    pub(super) fn claim_nothing(&self) {
        self.claims.store(false, Ordering::SeqCst);
    }
}

impl NodeHandler for Strings {
    fn event(&self, event: NodeEvent) -> BoxFuture<'_, Result<(), Replay>> {
        Box::pin(async move {
            if let NodeEvent::PaymentClaimable { preimage: Some(preimage), .. } = &event
                && self.claims.load(Ordering::SeqCst)
                && let Some(node) = self.node.upgrade()
            {
                node.claim(*preimage);
            }
            self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            Ok(())
        })
    }

    fn message(&self, incoming: IncomingMessage) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(incoming);
    }
}
