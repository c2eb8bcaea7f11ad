//! LSPS messages that wait for an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;
use node::LSPS_MESSAGE_BYTES_MAX;
use tokio::sync::Notify;

use crate::limits::{self, ServerLimit};

/// Of all peers; what comes beyond is dropped, and the client asks again.
const MESSAGES_MAX: usize = 256;

/// Of one peer: one that floods takes no place from others.
const MESSAGES_PER_PEER_MAX: usize = 8;

/// The queue. Clones are the same one.
#[derive(Clone, Default)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(PublicKey, String)>,
    /// How many of them are whose; nobody has none.
    of_peers: HashMap<PublicKey, usize>,
}

impl Inbox {
    /// Takes a peer's message, if there is room for it.
    pub fn put(&self, peer: PublicKey, payload: String) {
        let taken = payload.len() <= LSPS_MESSAGE_BYTES_MAX && self.queue().put(peer, payload);
        if taken {
            self.shared.filled.notify_one();
        } else {
            limits::refused(ServerLimit::LspsMessages, Some(peer));
        }
    }

    /// The message that has waited longest. One that takes messages at a time.
    pub(super) async fn take(&self) -> (PublicKey, String) {
        loop {
            if let Some(message) = self.queue().take() {
                return message;
            }
            self.shared.filled.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn put(&mut self, peer: PublicKey, payload: String) -> bool {
        let of_peer = self.of_peers.get(&peer).copied().unwrap_or(0);
        if self.messages.len() >= MESSAGES_MAX || of_peer >= MESSAGES_PER_PEER_MAX {
            return false;
        }
        self.of_peers.insert(peer, of_peer + 1);
        self.messages.push_back((peer, payload));
        true
    }

    fn take(&mut self) -> Option<(PublicKey, String)> {
        let (peer, payload) = self.messages.pop_front()?;
        match self.of_peers.get_mut(&peer) {
            Some(of_peer) if *of_peer > 1 => *of_peer -= 1,
            _ => drop(self.of_peers.remove(&peer)),
        }
        Some((peer, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::public;

    #[tokio::test]
    async fn messages_are_taken_in_the_order_that_they_came_in() {
        let inbox = Inbox::default();
        let taker = tokio::spawn({
            let inbox = inbox.clone();
            async move { [inbox.take().await.1, inbox.take().await.1] }
        });
        inbox.put(public(1), "first".into());
        inbox.put(public(2), "second".into());
        assert_eq!(taker.await.unwrap(), ["first", "second"]);
        assert!(inbox.queue().of_peers.is_empty());
    }

    #[test]
    fn one_peer_fills_its_own_share_only() {
        let mut queue = Queue::default();
        let put = |queue: &mut Queue, peer| queue.put(public(peer), String::new());
        for _ in 0..MESSAGES_PER_PEER_MAX {
            assert!(put(&mut queue, 1));
        }
        assert!(!put(&mut queue, 1) && put(&mut queue, 2));
        queue.take();
        assert!(put(&mut queue, 1), "one was taken");
        let mut peer = 3;
        while queue.messages.len() < MESSAGES_MAX {
            peer += u8::from(!put(&mut queue, peer));
        }
        assert!(!put(&mut queue, 200), "no room for anybody");
    }

    #[test]
    fn a_message_that_is_too_long_is_dropped() {
        let inbox = Inbox::default();
        inbox.put(public(1), "x".repeat(LSPS_MESSAGE_BYTES_MAX + 1));
        assert!(inbox.queue().messages.is_empty());
    }
}
