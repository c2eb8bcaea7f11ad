//! What a payee takes. No IO.

use lightning::ln::channelmanager::PaymentId;
use protocol::units::Msat;
use protocol::wire::PayeeRefusal;

use crate::store::invoices::Invoice;
use crate::store::pending::{Pending, PendingState};

/// How long a refusal is remembered, in seconds. The payment that was refused comes within seconds, or never.
pub(super) const REFUSAL_SECS: u64 = 600;

/// How far LDK lets block time run past an invoice's expiry, in seconds (`ln/inbound_payment.rs`).
const BLOCK_TIME_GRACE_SECS: u64 = 7_200;

/// The time by which an invoice's expiry is judged: LDK goes by block time, and fails a payment that we had said yes to.
pub(super) fn judged_at(now_unix: u64, block_time_unix: u64) -> u64 {
    now_unix.max(block_time_unix.saturating_sub(BLOCK_TIME_GRACE_SECS))
}

/// Whether a payment that is held for us should come.
pub(super) fn answer(invoice: Option<&Invoice>, amount: Msat, now_unix: u64) -> Result<(), PayeeRefusal> {
    let invoice = invoice.ok_or(PayeeRefusal::UnknownHash)?;
    if invoice.paid.is_some() {
        Err(PayeeRefusal::AlreadyPaid)
    } else if now_unix >= invoice.expires_at {
        Err(PayeeRefusal::InvoiceExpired)
    } else if amount != invoice.amount {
        Err(PayeeRefusal::WrongAmount)
    } else {
        Ok(())
    }
}

/// A payment that is here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    pub(super) amount: Msat,
    /// LDK's name for its parts.
    pub(super) payment_id: Option<PaymentId>,
}

/// What becomes of a payment that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is ours.
    Take,
    /// No invoice of ours asks for it.
    NotOurs,
    /// It was paid before.
    PaidBefore,
    /// Less than the invoice asks for, or more than twice that (BOLT 4).
    WrongAmount,
    /// We told the payer that we would not take it.
    WasRefused,
}

/// Whether to take a payment that is here. LDK has checked the payment secret, and the invoice's expiry against block time.
pub(super) fn claim(
    invoice: Option<&Invoice>,
    pending: &[Pending],
    payment: Inbound,
    now_unix: u64,
) -> Claim {
    let Inbound { amount, payment_id } = payment;
    let Some(invoice) = invoice else { return Claim::NotOurs };
    if invoice.paid.is_some() {
        return Claim::PaidBefore;
    }
    if amount < invoice.amount || amount.0 > invoice.amount.0.saturating_mul(2) {
        return Claim::WrongAmount;
    }
    // One payer's refusal must not cost another one its payment: a yes to anybody counts for more.
    let accepted = pending.iter().any(|pending| pending.state == PendingState::Unblocking);
    let refused = pending.iter().any(|pending| {
        pending.state == PendingState::Refused
            && match pending.refused_payment {
                // LDK shows it again after a crash before it had failed it.
                Some(refused) => payment_id == Some(refused),
                None => now_unix < pending.received_at.saturating_add(REFUSAL_SECS),
            }
    });
    if refused && !accepted { Claim::WasRefused } else { Claim::Take }
}
