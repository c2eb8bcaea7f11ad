//! Waking up: do everything that waits, and say when nothing is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lightning_types::payment::PaymentHash;
use protocol::push::{OpenError, OpenKey};
use protocol::wire::HoldStateCode;
use serde::Deserialize;
use tokio::time::sleep;

use crate::error::WalletError;
use crate::payer::{POLL, PayOptions};
use crate::step::Step;
use crate::store::payments::{self, Payment, PaymentKind, PaymentState};
use crate::{Core, Wallet};

/// How often the LSP is asked what became of holds.
const STATUS_INTERVAL: Duration = Duration::from_secs(3);

/// How long a wake may last.
#[derive(Clone, Copy, Debug)]
pub struct WakeLimits {
    /// Nothing came for so long: nothing more is kept for us.
    pub quiet: Duration,
    /// How long a payment that we said yes to is waited for.
    pub payment_wait: Duration,
    /// The end, whatever is left: a phone's system does not grant more.
    pub total: Duration,
}

impl Default for WakeLimits {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(3),
            payment_wait: Duration::from_secs(60),
            total: Duration::from_secs(90),
        }
    }
}

/// The body of a push. There is nothing in it that could be trusted or must be kept secret: it says that it is time to wake.
#[derive(Debug, Deserialize)]
pub(crate) struct PushBody {
    reason: String,
    id: String,
}

/// A push that was sealed to this wallet's key.
#[derive(Debug, Deserialize)]
struct SealedPush {
    /// Base64url without padding.
    sealed: String,
}

/// Anybody who knows the URL, or the key, may send one.
pub(crate) fn read_push(body: &[u8], key: &OpenKey) -> Result<PushBody, WalletError> {
    let read = |open: &[u8]| serde_json::from_slice(open).map_err(WalletError::Push);
    let Ok(SealedPush { sealed }) = serde_json::from_slice(body) else { return read(body) };
    let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| WalletError::SealedPush(OpenError))?;
    read(&key.open(&sealed).map_err(WalletError::SealedPush)?)
}

/// Why a wallet is not quiet yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Busy {
    /// Not connected, or a channel is not back.
    offline: bool,
    /// Payments are being taken up.
    resuming: bool,
    /// Something came less than [`WakeLimits::quiet`] ago.
    active: bool,
    /// A payment to us is on its way in.
    receiving: bool,
    /// The LSP gives us a preimage, or money back.
    ending: bool,
}

impl Wallet {
    /// Does what a push asks for: wakes, whatever its reason.
    ///
    /// # Errors
    /// [`WalletError::Push`] for something that is no push, [`WalletError::SealedPush`] for one that was sealed to another
    /// phone; else as [`Wallet::wake`].
    pub async fn handle_push(&self, body: &[u8], limits: WakeLimits) -> Result<bool, WalletError> {
        let push = read_push(body, &self.core.push_key())?;
        tracing::info!(reason = push.reason, id = push.id, "woken by a push");
        self.wake(limits).await
    }

    /// Connects, takes up what was interrupted, takes what the LSP kept, answers, claims, settles. True when nothing is left to
    /// do, false when [`WakeLimits::total`] came first.
    ///
    /// # Errors
    /// When the LSP cannot be reached, or the database fails.
    pub async fn wake(&self, limits: WakeLimits) -> Result<bool, WalletError> {
        let core = &self.core;
        let started = Instant::now();
        core.online().await?;
        core.emit(Step::Connected);
        let resuming = tokio::spawn(core.clone().resume());
        let mut holds = HashMap::new();
        let mut asked_at = None::<Instant>;
        loop {
            core.withdraw_due().await?;
            let open = core.open_payments().await?;
            if resuming.is_finished() && asked_at.is_none_or(|asked_at| asked_at.elapsed() >= STATUS_INTERVAL)
            {
                holds = core.states_of(&open).await;
                asked_at = Some(Instant::now());
            }
            let busy = Busy {
                offline: !core.node.is_connected(core.config.lsp.node_id) || !core.reestablished(),
                resuming: !resuming.is_finished(),
                active: core.active_at().elapsed() < limits.quiet,
                receiving: core.is_receiving(limits.payment_wait),
                ending: core.is_ending(&open, &holds),
            };
            if busy == Busy::default() {
                core.emit(Step::Quiet);
                return Ok(true);
            }
            if started.elapsed() >= limits.total {
                tracing::warn!(?busy, "not everything is done");
                resuming.abort();
                core.emit(Step::Unfinished);
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }
}

impl Wallet {
    /// Waits until no payment is on its way to this wallet, at most `limit`: whoever went online for something else may have had a
    /// payer's question, and said yes to it.
    pub async fn receive(&self, limit: Duration) {
        self.core.until(limit, || !self.core.is_receiving(limit)).await;
    }
}

impl Core {
    pub(crate) async fn open_payments(&self) -> Result<Vec<Payment>, WalletError> {
        Ok(self.database.read("open_payments", |tx| Box::pin(payments::open(tx))).await?)
    }

    /// Takes up every payment where it was left.
    async fn resume(self: Arc<Self>) {
        let open = match self.open_payments().await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "interrupted payments cannot be read");
                return;
            }
        };
        for payment in open {
            let payment_hash = payment.payment_hash;
            let outcome = match payment.kind {
                PaymentKind::Ordinary => self.check_ordinary(&payment).await,
                PaymentKind::Asynchronous => self.drive(payment_hash, &PayOptions::default()).await.map(drop),
            };
            if let Err(error) = outcome {
                tracing::warn!(%payment_hash, %error, "a payment does not go on");
            }
        }
    }

    /// What the LSP says about our holds. Those that it says nothing about are missing.
    async fn states_of(&self, open: &[Payment]) -> HashMap<PaymentHash, HoldStateCode> {
        let mut states = HashMap::new();
        for payment in open.iter().filter(|payment| payment.kind == PaymentKind::Asynchronous) {
            let pid_hash = self.pid_hash(payment);
            match self.ask_status(Some(pid_hash)).await {
                Ok(holds) => {
                    if let Some(hold) = holds.iter().find(|hold| hold.pid_hash == pid_hash) {
                        states.insert(payment.payment_hash, hold.state);
                        self.note_end(payment, hold.state).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the LSP does not say what became of a payment");
                    break;
                }
            }
        }
        states
    }

    /// A hold ended of which LDK never sent anything: so did the payment.
    async fn note_end(&self, payment: &Payment, state: HoldStateCode) {
        let failed =
            matches!(state, HoldStateCode::Cancelled | HoldStateCode::Expired | HoldStateCode::Failed);
        let payment_hash = payment.payment_hash;
        let unknown_to_ldk =
            self.node.own_payment(payment_hash).is_none() && self.node.outbound_parts(payment_hash).0 == 0;
        if payment.state == PaymentState::InCare && failed && unknown_to_ldk {
            let reason = format!("the hold is {state}");
            if let Err(error) = self.fail(payment_hash, reason).await {
                tracing::error!(%error, "the end of a payment could not be stored");
            }
        }
    }

    /// A payment to us is here in parts, is being claimed, or will come since we said yes.
    fn is_receiving(&self, payment_wait: Duration) -> bool {
        self.answers.awaits_payment(payment_wait)
            || self.node.channels().iter().any(|channel| channel.pending_inbound_htlcs > 0)
    }

    /// An HTLC of ours is about to leave our channels: it has ended downstream, or the payment has ended already.
    fn is_ending(&self, open: &[Payment], holds: &HashMap<PaymentHash, HoldStateCode>) -> bool {
        let all: usize = self.node.channels().iter().map(|channel| channel.pending_outbound_htlcs).sum();
        let mut waiting = 0;
        for payment in open {
            let parts = self.node.outbound_parts(payment.payment_hash).0;
            let ends = match holds.get(&payment.payment_hash) {
                Some(state) => has_ended(*state),
                // Nobody holds an ordinary payment: it ends any moment.
                None => payment.kind == PaymentKind::Ordinary,
            };
            if parts > 0 && ends {
                return true;
            }
            waiting += parts;
        }
        all > waiting
    }
}

/// The LSP knows the outcome, and we must take it.
fn has_ended(state: HoldStateCode) -> bool {
    match state {
        HoldStateCode::Claimed
        | HoldStateCode::Settled
        | HoldStateCode::Cancelled
        | HoldStateCode::Expired
        | HoldStateCode::Failed => true,
        HoldStateCode::Waiting
        | HoldStateCode::Held
        | HoldStateCode::Unblocked
        | HoldStateCode::Released
        | HoldStateCode::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_push_is_opened_with_the_wallets_key() {
        let key = OpenKey::derive(&[1; 32]);
        let open = br#"{"reason":"rain","id":"ab","expires_at":1790000000,"padding":"000"}"#;
        let sealed = URL_SAFE_NO_PAD.encode(key.seal_key().seal(open, [2; 32]).unwrap());
        let body = format!(r#"{{"sealed":"{sealed}"}}"#);
        assert_eq!(read_push(body.as_bytes(), &key).unwrap().reason, "rain");
        assert_eq!(read_push(open, &key).unwrap().reason, "rain");
        let other = read_push(body.as_bytes(), &OpenKey::derive(&[3; 32]));
        assert!(matches!(other, Err(WalletError::SealedPush(_))), "{other:?}");
        for body in [r#"{"sealed":""}"#, r#"{"sealed":"!"}"#, r#"{"sealed":"AAAA"}"#] {
            assert!(matches!(read_push(body.as_bytes(), &key), Err(WalletError::SealedPush(_))), "{body}");
        }
        assert!(matches!(read_push(b"{}", &key), Err(WalletError::Push(_))));
    }

    #[test]
    fn a_push_is_read_whatever_its_reason() {
        let body = br#"{"reason":"rain","id":"ab","expires_at":1790000000,"padding":"000"}"#;
        assert_eq!(serde_json::from_slice::<PushBody>(body).unwrap().reason, "rain");
        assert!(serde_json::from_slice::<PushBody>(b"{}").is_err());
    }

    #[test]
    fn a_phone_stays_awake_for_what_has_ended_and_not_for_what_is_held() {
        let ended: Vec<_> = HoldStateCode::ALL.iter().filter(|state| has_ended(**state)).collect();
        assert_eq!(
            ended,
            [
                &HoldStateCode::Claimed,
                &HoldStateCode::Settled,
                &HoldStateCode::Cancelled,
                &HoldStateCode::Expired,
                &HoldStateCode::Failed
            ]
        );
    }
}
