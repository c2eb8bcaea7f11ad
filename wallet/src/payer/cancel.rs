//! Giving a payment up.

use std::sync::Arc;
use std::time::Duration;

use lightning_types::payment::PaymentHash;
use protocol::wire::HoldStateCode;
use tokio::time::{Instant, sleep};

use super::{POLL, PayOptions};
use crate::error::WalletError;
use crate::store::payments::{self, Payment, PaymentKind, PaymentState};
use crate::{Core, Wallet};

/// How long the money may take to come back once the LSP fails the HTLCs.
const BACK_WAIT: Duration = Duration::from_secs(20);

/// What a cancellation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancelled {
    /// Nothing of the payment is in flight.
    Done,
    /// The LSP fails the HTLCs; the money is back once this wallet has taken them off its channels.
    Underway,
}

impl Wallet {
    /// Takes a payment back while nobody has released it. Works for payments of a wallet that was reinstalled, too: the LSP
    /// still knows them.
    ///
    /// # Errors
    /// [`WalletError::TooLateToCancel`], [`WalletError::UnknownPayment`], or the LSP cannot be reached.
    pub async fn cancel(&self, payment_hash: PaymentHash) -> Result<Cancelled, WalletError> {
        let core = &self.core;
        core.online().await?;
        let Some(payment) = core.find_payment(payment_hash).await? else {
            return core.cancel_forgotten(payment_hash).await;
        };
        match payment.state {
            PaymentState::Failed => return Ok(Cancelled::Done),
            PaymentState::Settled => return Err(too_late("it is paid")),
            _ if payment.kind == PaymentKind::Ordinary => return Err(too_late("it is not held")),
            _ => core.give_up(payment_hash, "cancelled".to_owned()).await?,
        }
        storage::crash_point!("cancel_begun");
        match core.drive(payment_hash, &PayOptions::default()).await {
            Ok(payment) if payment.state == PaymentState::Failed => {
                core.withdraw_due().await?;
                Ok(Cancelled::Done)
            }
            Ok(payment) if payment.state == PaymentState::Settled => Err(too_late("it is paid")),
            Ok(_) => Err(too_late("the payee has answered")),
            Err(WalletError::TakesTooLong { .. }) => Ok(Cancelled::Underway),
            Err(error) => Err(error),
        }
    }
}

fn too_late(state: &str) -> WalletError {
    WalletError::TooLateToCancel { state: state.to_owned() }
}

/// What the LSP's answer to a cancellation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing is held any more.
    GivesBack,
    /// The payee was quicker.
    TooLate,
    /// The LSP has not decided.
    Undecided,
}

pub(super) fn answer(state: HoldStateCode) -> Answer {
    match state {
        HoldStateCode::Cancelled | HoldStateCode::Expired | HoldStateCode::Failed => Answer::GivesBack,
        HoldStateCode::Unblocked
        | HoldStateCode::Released
        | HoldStateCode::Claimed
        | HoldStateCode::Settled => Answer::TooLate,
        HoldStateCode::Waiting | HoldStateCode::Held | HoldStateCode::Unknown(_) => Answer::Undecided,
    }
}

impl Core {
    /// Tells the payees of payments that were taken back, a few times: a message may get lost, and this one is not answered. What a
    /// payee has yet to be told survives a restart.
    pub(crate) async fn withdraw_due(&self) -> Result<(), WalletError> {
        let now_unix = self.clock.now_unix();
        let due = self
            .database
            .read("withdrawals_due", move |tx| Box::pin(payments::withdrawals_due(tx, now_unix)))
            .await?;
        for payment in due {
            let (payment_hash, attempt) = (payment.payment_hash, payment.attempt);
            storage::crash_point!("before_pending_withdrawn");
            if let Err(error) = self.withdraw_pending(&payment) {
                tracing::debug!(%payment_hash, %error, "the payee cannot be told now that it is cancelled");
                continue;
            }
            storage::crash_point!("pending_withdrawn");
            self.touch();
            let commit = self.database.submit("set_withdrawn", move |tx| {
                Box::pin(payments::set_withdrawn(tx, payment_hash, attempt, now_unix))
            });
            commit.await?;
        }
        Ok(())
    }

    /// One step of [`Core::drive`]: the LSP is asked to give back what it holds.
    pub(super) async fn cancel_hold(&self, payment: &Payment) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        let give_up_at = Instant::now() + BACK_WAIT;
        while Instant::now() < give_up_at {
            if self.payment(payment_hash).await?.state != PaymentState::Cancelling {
                return Ok(());
            }
            let status = self.ask_cancel(self.pid_hash(payment)).await?;
            storage::crash_point!("cancel_answered");
            let in_flight =
                self.node.outbound_parts(payment_hash).0 > 0 || self.node.own_payment(payment_hash).is_some();
            match status.map(|status| answer(status.state)) {
                Some(Answer::Undecided) => sleep(POLL).await,
                // What was released has come back since, or LDK would know it.
                _ if !in_flight => {
                    let reason = payment.reason.clone().unwrap_or_else(|| "cancelled".to_owned());
                    return self.fail(payment_hash, reason).await;
                }
                Some(Answer::GivesBack) => return self.await_money(payment_hash, give_up_at).await,
                None | Some(Answer::TooLate) => {
                    let commit = self.database.submit("cancelled_too_late", move |tx| {
                        Box::pin(payments::set_uncancelled(tx, payment_hash))
                    });
                    commit.await?;
                    return Ok(());
                }
            }
        }
        Err(WalletError::TakesTooLong { what: "the cancellation" })
    }

    /// The HTLCs are being failed; LDK says when the last one is off our channels.
    async fn await_money(&self, payment_hash: PaymentHash, give_up_at: Instant) -> Result<(), WalletError> {
        while Instant::now() < give_up_at {
            if self.payment(payment_hash).await?.state != PaymentState::Cancelling {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(WalletError::TakesTooLong { what: "getting the money back" })
    }

    /// An earlier attempt has ended here. If its process died at the wrong moment, the LSP still waits for it.
    pub(super) async fn cancel_earlier_holds(&self, payment: &Payment) -> Result<(), WalletError> {
        let current = self.pid_hash(payment);
        for hold in self.ask_status(None).await? {
            let is_of_payment = hold.hashes.iter().any(|status| status.payment_hash == payment.payment_hash);
            if is_of_payment && hold.pid_hash != current && answer(hold.state) == Answer::Undecided {
                self.ask_cancel(hold.pid_hash).await?;
            }
        }
        Ok(())
    }

    /// Cancels what only the LSP remembers.
    async fn cancel_forgotten(self: &Arc<Self>, payment_hash: PaymentHash) -> Result<Cancelled, WalletError> {
        let holds = self.ask_status(None).await?;
        let hold = holds
            .into_iter()
            .find(|hold| hold.hashes.iter().any(|status| status.payment_hash == payment_hash))
            .ok_or(WalletError::UnknownPayment)?;
        let status = self.ask_cancel(hold.pid_hash).await?;
        match status.map(|status| answer(status.state)) {
            None => Err(WalletError::UnknownPayment),
            Some(Answer::TooLate) => Err(too_late("the payee has answered")),
            Some(Answer::Undecided) => Ok(Cancelled::Underway),
            Some(Answer::GivesBack) if self.node.outbound_parts(payment_hash).0 > 0 => {
                Ok(Cancelled::Underway)
            }
            Some(Answer::GivesBack) => Ok(Cancelled::Done),
        }
    }
}
