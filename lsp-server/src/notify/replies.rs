//! Callers that wait for a phone's answer, and the answers.
//!
//! Nothing of it is on disk: a caller whose connection ended with the process asks again.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hex::{DisplayHex, FromHex};
use tokio::sync::oneshot;

/// Callers that wait at once.
pub(super) const REPLIES_MAX: usize = 64;

/// Names an answer that is waited for: random, and known to the phone alone. It is no more shown than a token is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyId([u8; 16]);

impl ReplyId {
    /// One that nobody guesses.
    pub(super) fn new(random: [u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&random[..16]);
        Self(id)
    }

    /// As it stands in the URL.
    pub(super) fn to_text(self) -> String {
        self.0.to_lower_hex_string()
    }
}

impl fmt::Debug for ReplyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyId")
    }
}

impl FromStr for ReplyId {
    type Err = hex::HexToArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <[u8; 16]>::from_hex(text).map(Self)
    }
}

/// The answers that are waited for.
#[derive(Clone, Default)]
pub(super) struct Replies {
    waiting: Arc<Mutex<HashMap<ReplyId, oneshot::Sender<String>>>>,
}

impl Replies {
    /// A place to wait for an answer; `None` if all are taken.
    pub(super) fn wait_for(&self, id: ReplyId) -> Option<Reply> {
        let mut waiting = self.lock();
        if waiting.len() >= REPLIES_MAX {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(id, sender);
        drop(waiting);
        Some(Reply { id, replies: self.clone(), answer })
    }

    /// Hands an answer to who waits for it. False if nobody does, or not any more.
    pub(super) fn answer(&self, id: ReplyId, text: String) -> bool {
        let waiting = self.lock().remove(&id);
        waiting.is_some_and(|caller| caller.send(text).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplyId, oneshot::Sender<String>>> {
        // Every change is a single step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A phone's answer that is waited for, as long as this lives.
pub struct Reply {
    id: ReplyId,
    replies: Replies,
    answer: oneshot::Receiver<String>,
}

impl Reply {
    /// What the phone says. Pends for as long as it says nothing.
    pub async fn received(mut self) -> String {
        match (&mut self.answer).await {
            Ok(text) => text,
            // Its sender is in the map for as long as this lives.
            Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ReplyId {
        ReplyId::new([byte; 32])
    }

    #[tokio::test]
    async fn so_many_callers_wait_and_each_hears_its_own_answer_once() {
        let replies = Replies::default();
        let mut waiting: Vec<_> =
            (0..REPLIES_MAX).map(|place| replies.wait_for(id(place as u8)).unwrap()).collect();
        assert!(replies.wait_for(id(200)).is_none(), "one more than wait at once");
        assert!(!replies.answer(id(200), "nobody waits".to_owned()));
        assert!(replies.answer(id(7), "seven".to_owned()));
        assert!(!replies.answer(id(7), "again".to_owned()));
        assert_eq!(waiting.remove(7).received().await, "seven");
        let later = replies.wait_for(id(200)).unwrap();
        drop(waiting);
        assert!(!replies.answer(id(8), "too late".to_owned()));
        assert_eq!(replies.lock().len(), 1);
        assert_eq!(id(200).to_text().parse(), Ok(later.id));
    }
}
