//! Paying: asynchronously, through a hold at the LSP, or in the ordinary way.

mod cancel;
mod drive;
mod holds;
mod negotiate;
mod ordinary;
mod pending;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lightning_types::payment::PaymentHash;
use node::Seed;
use protocol::ids::{Pid, PidHash};
use protocol::units::Msat;
use protocol::wire::PayeeRefusal;

pub use cancel::Cancelled;

use crate::error::WalletError;
use crate::step::Step;
use crate::store::payments::{self, Begun, Payment, PaymentKind, PaymentState};
use crate::{Core, Wallet};

/// How long a payment is held by default, in blocks: a day.
pub const HOLD_BLOCKS: u32 = 144;

/// How often what is waited for is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(200);

/// What the first byte of the context of a `payment_pending`'s reply path says; the payment hash follows.
pub(crate) const CONTEXT_PENDING: u8 = 2;

/// How a payment should go.
#[derive(Clone, Copy, Debug)]
pub struct PayOptions {
    /// How many blocks the LSP may hold it, from now: 1 to 1,008.
    pub hold_blocks: u32,
    /// Give it up unless it goes out in at least so many parts.
    pub parts_min: usize,
    /// The most that routing may cost; LDK's limit by default.
    pub fee_max: Option<Msat>,
}

impl Default for PayOptions {
    fn default() -> Self {
        Self { hold_blocks: HOLD_BLOCKS, parts_min: 1, fee_max: None }
    }
}

impl Wallet {
    /// Pays an invoice whose payee may be offline: asks the LSP for a hold, pays into it, and hands the news for the payee over to
    /// the LSP. When this returns, the phone may go offline. A payment of the same invoice that was interrupted is taken up again.
    ///
    /// # Errors
    /// When nothing was paid, the error says why. [`WalletError::TakesTooLong`] means that [`Wallet::wake`] goes on with it.
    pub async fn pay_async(&self, invoice: &str, options: PayOptions) -> Result<Payment, WalletError> {
        let core = &self.core;
        let invoice = negotiate::parse(invoice, core.config.network)?;
        let payment_hash = invoice.payment_hash();
        core.online().await?;
        core.settle_earlier_attempt(payment_hash).await?;
        let new = core.negotiate(&invoice, &options).await?;
        if !core.is_begun(payment_hash).await? {
            core.check_funds(new.amount).await?;
        }
        let begun =
            core.database.submit("begin_payment", move |tx| Box::pin(payments::begin(tx, new))).await?;
        storage::crash_point!("payment_begun");
        match begun {
            Begun::Known(known) if known.state == PaymentState::Settled => {
                return Err(WalletError::AlreadyPaid);
            }
            Begun::Known(known) if known.kind == PaymentKind::Ordinary => {
                return Err(WalletError::InProgress);
            }
            Begun::Known(_) | Begun::Fresh(_) => {}
        }
        let payment = core.drive(payment_hash, &options).await?;
        core.outcome(payment)
    }
}

/// What releases the hold. A wallet that was reinstalled from its seed finds it again.
fn derive_pid(seed: &Seed, payment_hash: PaymentHash, attempt: u32) -> Pid {
    Pid(seed.derive("pid", &[&payment_hash.0, &attempt.to_be_bytes()]))
}

impl Core {
    fn pid(&self, payment: &Payment) -> Pid {
        derive_pid(&self.seed, payment.payment_hash, payment.attempt)
    }

    /// What the LSP knows of it.
    pub(crate) fn pid_hash(&self, payment: &Payment) -> PidHash {
        self.pid(payment).hash()
    }

    /// The payment as it is stored now.
    async fn payment(&self, payment_hash: PaymentHash) -> Result<Payment, WalletError> {
        self.find_payment(payment_hash).await?.ok_or(WalletError::UnknownPayment)
    }

    async fn find_payment(&self, payment_hash: PaymentHash) -> Result<Option<Payment>, WalletError> {
        self.database
            .read("payment", move |tx| Box::pin(async move { Ok(payments::get(tx, payment_hash).await?) }))
            .await
    }

    /// Goes on from one state to the next, durably. An event that came first wins.
    async fn advance(
        &self,
        payment_hash: PaymentHash,
        from: PaymentState,
        to: PaymentState,
    ) -> Result<bool, WalletError> {
        let commit = self
            .database
            .submit("advance_payment", move |tx| Box::pin(payments::advance(tx, payment_hash, from, to)));
        Ok(commit.await?)
    }

    /// Gives the payment up; what is in flight of it comes back by a cancellation.
    async fn give_up(&self, payment_hash: PaymentHash, reason: String) -> Result<(), WalletError> {
        tracing::warn!(%payment_hash, reason, "the payment is given up");
        let commit = self.database.submit("cancel_payment", move |tx| {
            Box::pin(async move { payments::set_cancelling(tx, payment_hash, &reason).await })
        });
        commit.await?;
        Ok(())
    }

    /// Nothing of the payment is in flight, and nothing will be.
    pub(crate) async fn fail(&self, payment_hash: PaymentHash, reason: String) -> Result<(), WalletError> {
        let stored = reason.clone();
        let commit = self.database.submit("fail_payment", move |tx| {
            Box::pin(async move { payments::set_failed(tx, payment_hash, &stored).await })
        });
        if commit.await? {
            self.emit(Step::Failed { payment_hash, reason });
        }
        Ok(())
    }

    /// A payment of this invoice is under way, or done: its money may be in flight.
    async fn is_begun(&self, payment_hash: PaymentHash) -> Result<bool, WalletError> {
        let payment = self.find_payment(payment_hash).await?;
        Ok(payment.is_some_and(|payment| payment.state != PaymentState::Failed))
    }

    /// An earlier attempt that is being cancelled has to end first: its hold would catch the new payment.
    async fn settle_earlier_attempt(self: &Arc<Self>, payment_hash: PaymentHash) -> Result<(), WalletError> {
        let earlier = self.find_payment(payment_hash).await?;
        if earlier.is_some_and(|payment| payment.state == PaymentState::Cancelling) {
            self.drive(payment_hash, &PayOptions::default()).await?;
        }
        // The next attempt has another pid.
        self.withdraw_due().await
    }

    /// A payment that failed, as an error.
    fn outcome(&self, payment: Payment) -> Result<Payment, WalletError> {
        if payment.state == PaymentState::Failed {
            let reason = payment.reason.unwrap_or_else(|| "unknown".to_owned());
            return Err(WalletError::Failed { reason });
        }
        Ok(payment)
    }

    /// One payment is driven by one task at a time.
    fn drive_lock(&self, payment_hash: PaymentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        driven.retain(|_, lock| Arc::strong_count(lock) > 1);
        driven.entry(payment_hash).or_default().clone()
    }

    /// The payee will not take it. Its word releases the hold, the payee fails the HTLCs, and LDK says that it failed.
    pub(crate) async fn refused_by_payee(
        &self,
        payment_hash: PaymentHash,
        reason: PayeeRefusal,
    ) -> Result<(), WalletError> {
        let commit = self.database.submit("payee_refused", move |tx| {
            Box::pin(async move {
                let text = format!("refused by the payee: {reason}");
                payments::note_reason(tx, payment_hash, &text).await
            })
        });
        if commit.await? {
            self.emit(Step::RefusedByPayee { payment_hash, reason: reason.to_string() });
        }
        Ok(())
    }
}
