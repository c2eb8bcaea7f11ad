//! Saying yes until the payment comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use lightning_types::payment::PaymentHash;
use node::ReplyTo;
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use protocol::wire::PaymentUnblock;

use crate::Core;
use crate::error::WalletError;
use crate::step::Step;
use crate::store::pending;

/// Waits between two answers, in seconds; the last one from then on.
const BACKOFF_SECS: [u64; 6] = [2, 4, 8, 16, 32, 60];

/// How soon an answer that could not be sent is tried again.
const RETRY: Duration = Duration::from_millis(300);

/// How often it is looked for answers that are due.
const TICK: Duration = Duration::from_millis(250);

/// One payer of one invoice.
type Key = (PaymentHash, PidHash);

/// The answers that are repeated.
#[derive(Default)]
pub(crate) struct Answers(Mutex<HashMap<Key, Repeated>>);

struct Repeated {
    reply_to: ReplyTo,
    deadline: BlockHeight,
    /// How often it went out.
    sent: usize,
    due: Instant,
    since: Instant,
    /// How long ago it was said first, before a restart.
    age: Duration,
}

impl Answers {
    /// Answers now, and again until [`Self::forget`]. `age` is how long ago that was said first.
    pub(crate) fn insert(
        &self,
        payment_hash: PaymentHash,
        pid_hash: PidHash,
        deadline: BlockHeight,
        reply_to: ReplyTo,
        age: Duration,
    ) {
        let now = Instant::now();
        let answer = Repeated { reply_to, deadline, sent: 0, due: now, since: now, age };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((payment_hash, pid_hash), answer);
    }

    /// The payment is here.
    pub(crate) fn forget(&self, payment_hash: PaymentHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(hash, _), _| *hash != payment_hash);
    }

    /// One payer's answer has changed.
    pub(super) fn forget_one(&self, payment_hash: PaymentHash, pid_hash: PidHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(payment_hash, pid_hash));
    }

    /// Whether a payment may come any moment: we said yes less than `wait` ago, in this process or before.
    pub(crate) fn awaits_payment(&self, wait: Duration) -> bool {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.values().any(|answer| answer.age.saturating_add(answer.since.elapsed()) < wait)
    }

    /// Takes out what has passed its deadline, and gives what is due.
    fn due(&self, height: BlockHeight) -> (Vec<Key>, Vec<(Key, ReplyTo)>) {
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expired: Vec<_> =
            answers.iter().filter(|(_, answer)| height >= answer.deadline).map(|(key, _)| *key).collect();
        answers.retain(|key, _| !expired.contains(key));
        let due = answers
            .iter_mut()
            .filter(|(_, answer)| answer.due <= now)
            .map(|(key, answer)| {
                // Until the sending is reported back.
                answer.due = now + RETRY;
                (*key, answer.reply_to.clone())
            })
            .collect();
        (expired, due)
    }

    /// It went out. True for the first time.
    fn was_sent(&self, payment_hash: PaymentHash, pid_hash: PidHash) -> bool {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answer) = answers.get_mut(&(payment_hash, pid_hash)) else { return false };
        answer.due = Instant::now() + backoff(answer.sent);
        answer.sent += 1;
        answer.sent == 1
    }
}

/// How long to wait after an answer that was sent `sent` times before.
pub(super) fn backoff(sent: usize) -> Duration {
    Duration::from_secs(BACKOFF_SECS[sent.min(BACKOFF_SECS.len() - 1)])
}

/// Repeats what has not been followed by a payment.
pub(crate) async fn run_answers(core: Weak<Core>) {
    loop {
        match core.upgrade() {
            Some(core) => core.repeat_answers().await,
            None => return,
        }
        tokio::time::sleep(TICK).await;
    }
}

impl Core {
    /// What was said before a restart is said again.
    pub(crate) async fn load_answers(&self) -> Result<(), WalletError> {
        let open = self.database.read("open_pending", |tx| Box::pin(pending::unblocking(tx))).await?;
        let now_unix = self.clock.now_unix();
        for pending in open {
            match ReplyTo::decode(&pending.reply_to) {
                Ok(reply_to) => {
                    // Said again, but a phone does not stay awake for a payer who has forgotten it.
                    let age = Duration::from_secs(now_unix.saturating_sub(pending.received_at));
                    let (payment_hash, pid_hash) = (pending.payment_hash, pending.pid_hash);
                    self.answers.insert(payment_hash, pid_hash, pending.deadline, reply_to, age);
                }
                Err(error) => tracing::error!(%error, "a payer cannot be answered any more"),
            }
        }
        Ok(())
    }

    /// Sends what is due.
    pub(crate) async fn repeat_answers(&self) {
        let (expired, due) = self.answers.due(self.node.height());
        for (payment_hash, pid_hash) in expired {
            let commit = self.database.submit("pending_expired", move |tx| {
                Box::pin(pending::set_expired(tx, payment_hash, pid_hash))
            });
            if let Err(error) = commit.await {
                tracing::error!(%error, "a passed deadline could not be stored");
            }
        }
        for ((payment_hash, pid_hash), reply_to) in due {
            storage::crash_point!("before_unblock_sent");
            let sent = self.node.reply(reply_to, PaymentUnblock { payment_hash }.into());
            storage::crash_point!("unblock_sent");
            match sent {
                Ok(()) if self.answers.was_sent(payment_hash, pid_hash) => {
                    self.emit(Step::Unblocked { payment_hash });
                }
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "the unblock cannot be sent now"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use protocol::ids::Pid;
    use protocol::path::payee_unblock_path;

    use super::*;

    const HASH: PaymentHash = PaymentHash([7; 32]);
    const DEADLINE: BlockHeight = BlockHeight(250);

    fn saying_yes(payer: u8, deadline: BlockHeight, answers: &Answers) -> Key {
        let key = |byte| SecretKey::from_slice(&[byte; 32]).unwrap();
        let node = |byte| key(byte).public_key(&Secp256k1::new());
        let pid = Pid([payer; 32]);
        let path = payee_unblock_path(&key(1), None, node(2), node(payer), pid).unwrap();
        answers.insert(HASH, pid.hash(), deadline, ReplyTo::along(&path).unwrap(), Duration::ZERO);
        (HASH, pid.hash())
    }

    /// Whose deadline has passed at this height, and who is answered.
    fn look(answers: &Answers, height: u32) -> (Vec<Key>, Vec<Key>) {
        let (expired, due) = answers.due(BlockHeight(height));
        (expired, due.into_iter().map(|(key, _)| key).collect())
    }

    #[test]
    fn a_yes_is_repeated_up_to_the_block_before_the_deadline_and_not_at_it() {
        let answers = Answers::default();
        let key = saying_yes(3, DEADLINE, &answers);
        assert_eq!(look(&answers, 249), (vec![], vec![key]), "below it");
        assert!(answers.was_sent(key.0, key.1));
        assert!(answers.awaits_payment(Duration::from_secs(60)));

        assert_eq!(look(&answers, 250), (vec![key], vec![]), "at it");
        assert_eq!(look(&answers, 250), (vec![], vec![]), "that is said once");
        assert_eq!(
            look(&answers, 249),
            (vec![], vec![]),
            "a block that is taken back does not bring it back"
        );
        assert!(!answers.awaits_payment(Duration::from_secs(60)), "the phone need not stay awake for it");
        assert!(!answers.was_sent(key.0, key.1), "what was on its way meanwhile begins nothing anew");
    }

    #[test]
    fn a_phone_that_comes_after_the_deadline_says_nothing() {
        for height in [250, 251, u32::MAX] {
            let answers = Answers::default();
            let key = saying_yes(3, DEADLINE, &answers);
            assert_eq!(look(&answers, height), (vec![key], vec![]), "{height}");
        }
    }

    #[test]
    fn each_payer_of_an_invoice_has_its_own_deadline() {
        let answers = Answers::default();
        let early = saying_yes(3, DEADLINE, &answers);
        let late = saying_yes(4, DEADLINE.plus(1), &answers);
        assert_eq!(look(&answers, 250), (vec![early], vec![late]));
        assert_eq!(look(&answers, 251), (vec![late], vec![]));
    }
}
