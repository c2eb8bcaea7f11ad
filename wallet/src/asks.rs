//! Questions to the LSP, and the answers that come back along their reply paths.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use node::Destination;
use protocol::wire::Message;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::WalletError;
use crate::{Core, payer};

/// How long an answer may take (DESIGN: ack within 10 s).
pub(crate) const ANSWER_SECS: u64 = 10;

/// Onion messages get lost: a question is repeated after this time. The LSP answers an identical one alike.
const REPEAT: Duration = Duration::from_secs(2);

/// What the first byte of a reply path's context says.
pub(crate) const CONTEXT_ASK: u8 = 1;

/// Bytes of a question's id.
const ID_BYTES: usize = 16;

/// The questions that wait for an answer.
#[derive(Default)]
pub(crate) struct Asks(Mutex<HashMap<[u8; ID_BYTES], oneshot::Sender<Message>>>);

impl Asks {
    fn insert(&self, id: [u8; ID_BYTES]) -> oneshot::Receiver<Message> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        receiver
    }

    fn remove(&self, id: &[u8]) -> Option<oneshot::Sender<Message>> {
        let id: [u8; ID_BYTES] = id.try_into().ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Hands an answer to whoever asked. An answer to a question that nobody asked, or asked too long ago, is dropped.
    pub(crate) fn answer(&self, id: &[u8], message: Message) {
        match self.remove(id) {
            Some(asker) => drop(asker.send(message)),
            None => tracing::debug!("an answer came that nobody waits for"),
        }
    }
}

/// Forgets the question when its asker is gone.
struct Asked<'a>(&'a Asks, [u8; ID_BYTES]);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.remove(&self.1);
    }
}

impl Core {
    /// Asks the LSP, again and again until it answers. The reply path's context proves that the answer is to this question:
    /// only the LSP got that path.
    pub(crate) async fn ask(&self, question: Message) -> Result<Message, WalletError> {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.node.random_bytes()[..ID_BYTES]);
        let mut context = vec![CONTEXT_ASK];
        context.extend_from_slice(&id);
        let mut answer = self.asks.insert(id);
        let _asked = Asked(&self.asks, id);
        let deadline = Instant::now() + Duration::from_secs(ANSWER_SECS);
        loop {
            let destination = Destination::Node(self.config.lsp.node_id);
            storage::crash_point!("before_question_sent");
            let sent = self.node.send(question.clone(), destination, Some(context.clone()));
            storage::crash_point!("question_sent");
            let wait = match sent {
                Ok(()) => REPEAT,
                Err(error) => {
                    tracing::debug!(%error, "the LSP cannot be asked now");
                    payer::POLL
                }
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(WalletError::NoAnswer { seconds: ANSWER_SECS });
            }
            if let Ok(Ok(message)) = timeout_at(deadline.min(now + wait), &mut answer).await {
                return Ok(message);
            }
        }
    }
}
