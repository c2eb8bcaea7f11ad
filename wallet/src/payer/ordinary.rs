//! Plain Lightning payments, for payees that are online now.

use std::time::Duration;

use lightning_types::payment::PaymentHash;
use node::{NodeError, PayRequest};
use tokio::time::{Instant, sleep};

use super::{POLL, PayOptions, negotiate};
use crate::error::WalletError;
use crate::store::payments::{self, Begun, Payment, PaymentKind, PaymentState};
use crate::{Core, Wallet};

/// Other routes that LDK may try.
const RETRIES: u32 = 5;

/// How long gossip about the route may be missing.
const ROUTE_WAIT: Duration = Duration::from_secs(15);

/// How long the payment is waited for.
const END_WAIT: Duration = Duration::from_secs(120);

impl Wallet {
    /// Pays an invoice in the ordinary way, and waits for the end.
    ///
    /// # Errors
    /// [`WalletError::Failed`] when it failed; [`WalletError::TakesTooLong`] when it is still under way.
    pub async fn pay_ordinary(&self, invoice: &str, options: PayOptions) -> Result<Payment, WalletError> {
        let core = &self.core;
        let invoice = negotiate::parse(invoice, core.config.network)?;
        let amount = negotiate::amount(&invoice, core.clock.now_unix())?;
        core.online().await?;
        let payment_hash = invoice.payment_hash();
        core.settle_earlier_attempt(payment_hash).await?;
        if !core.is_begun(payment_hash).await? {
            core.check_funds(amount).await?;
        }
        let new = Payment {
            payment_hash,
            attempt: 0,
            kind: PaymentKind::Ordinary,
            bolt11: invoice.to_string(),
            amount,
            state: PaymentState::Paying,
            requested_deadline: None,
            deadline: None,
            preimage: None,
            fee: None,
            reason: None,
            created_at: core.clock.now_unix(),
        };
        let begun =
            core.database.submit("begin_payment", move |tx| Box::pin(payments::begin(tx, new))).await?;
        match begun {
            Begun::Known(known) if known.state == PaymentState::Settled => {
                return Err(WalletError::AlreadyPaid);
            }
            Begun::Known(_) => return Err(WalletError::InProgress),
            Begun::Fresh(_) => {}
        }
        let request = PayRequest {
            invoice,
            amount: None,
            extra_final_cltv_blocks: 0,
            retries: RETRIES,
            fee_max: options.fee_max,
        };
        let give_up_at = Instant::now() + ROUTE_WAIT;
        loop {
            storage::crash_point!("before_ordinary_pay");
            let handed_over = core.node.pay(&request);
            storage::crash_point!("ordinary_pay_told");
            match handed_over {
                Ok(()) | Err(NodeError::DuplicatePayment) => break,
                Err(NodeError::NoRoute) if Instant::now() < give_up_at => sleep(POLL).await,
                Err(error) => {
                    core.fail(payment_hash, error.to_string()).await?;
                    return Err(error.into());
                }
            }
        }
        let payment = core.await_end(payment_hash).await?;
        core.outcome(payment)
    }
}

impl Core {
    async fn await_end(&self, payment_hash: PaymentHash) -> Result<Payment, WalletError> {
        let give_up_at = Instant::now() + END_WAIT;
        while Instant::now() < give_up_at {
            let payment = self.payment(payment_hash).await?;
            if payment.state.is_final() {
                return Ok(payment);
            }
            sleep(POLL).await;
        }
        Err(WalletError::TakesTooLong { what: "the payment" })
    }

    /// After a restart: an ordinary payment that LDK never got has failed.
    pub(crate) async fn check_ordinary(&self, payment: &Payment) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        if self.node.own_payment(payment_hash).is_none() {
            // Its end may be on the way to us as an event.
            sleep(POLL).await;
            self.fail(payment_hash, "the wallet ended before it was sent".to_owned()).await?;
        }
        Ok(())
    }
}
