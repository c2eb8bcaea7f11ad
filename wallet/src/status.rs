//! What a wallet's owner sees: payments, invoices, and what the LSP says about holds.

use std::collections::HashSet;

use lightning_types::payment::PaymentHash;
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use protocol::wire::HoldStatus;
use serde::Serialize;

use crate::error::WalletError;
use crate::step::hex32;
use crate::store::invoices::{self, Invoice};
use crate::store::payments::{self, Payment, PaymentKind, PaymentState};
use crate::store::pending;
use crate::{Core, Wallet};

/// Everything at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The newest first.
    pub payments: Vec<PaymentView>,
    /// The newest first.
    pub invoices: Vec<InvoiceView>,
    /// Holds of this node at the LSP that this wallet knows nothing of: it was reinstalled. They can be cancelled by hash.
    pub unknown_holds: Vec<HoldView>,
    /// False when the LSP could not be asked: what is here is what the wallet knows by itself.
    pub lsp_answered: bool,
}

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentView {
    /// Names it.
    #[serde(serialize_with = "hex32")]
    pub payment_hash: PaymentHash,
    /// How it goes.
    pub kind: PaymentKind,
    /// How far it is.
    pub state: PaymentState,
    /// What the payee gets.
    pub amount_msat: Msat,
    /// What the route cost, once it is paid.
    pub fee_msat: Option<Msat>,
    /// The height at which the LSP gives the money back.
    pub deadline: Option<BlockHeight>,
    /// Why it failed, or is being cancelled.
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// What the LSP says.
    pub hold: Option<HoldView>,
}

/// One invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvoiceView {
    /// Names it.
    #[serde(serialize_with = "hex32")]
    pub payment_hash: PaymentHash,
    /// What it asks for.
    pub amount_msat: Msat,
    /// `open`, `paid` or `expired`.
    pub state: &'static str,
    /// A payer says that it pays this one; we said yes, and the payment has not come.
    pub is_awaited: bool,
    /// What arrived.
    pub paid_msat: Option<Msat>,
    /// Seconds since 1970.
    pub expires_at: u64,
    /// What it is for.
    pub description: String,
}

/// One hold, as the LSP tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HoldView {
    /// Names it.
    pub pid_hash: PidHash,
    /// The LSP's word for how far it is.
    pub state: &'static str,
    /// The height at which it ends.
    pub deadline: BlockHeight,
    /// The LSP takes care that the payee is told.
    pub pending_in_care: bool,
    /// HTLCs of it that are on our channels.
    pub parts: u32,
    /// Their sum.
    pub held_msat: Msat,
    /// What it may hold.
    pub payment_hashes: Vec<String>,
}

impl From<&HoldStatus> for HoldView {
    fn from(hold: &HoldStatus) -> Self {
        Self {
            pid_hash: hold.pid_hash,
            state: hold.state.as_str(),
            deadline: hold.deadline,
            pending_in_care: hold.pending_in_care,
            parts: hold.hashes.iter().map(|status| u32::from(status.held_parts)).sum(),
            held_msat: hold.hashes.iter().map(|status| status.held).sum(),
            payment_hashes: hold.hashes.iter().map(|status| status.payment_hash.to_string()).collect(),
        }
    }
}

impl PaymentView {
    fn new(payment: Payment, hold: Option<HoldView>) -> Self {
        Self {
            payment_hash: payment.payment_hash,
            kind: payment.kind,
            state: payment.state,
            amount_msat: payment.amount,
            fee_msat: payment.fee,
            deadline: payment.deadline,
            reason: payment.reason,
            created_at: payment.created_at,
            hold,
        }
    }
}

impl InvoiceView {
    fn new(invoice: Invoice, awaited: &HashSet<PaymentHash>, now_unix: u64) -> Self {
        let state = match invoice.paid {
            Some(_) => "paid",
            None if now_unix >= invoice.expires_at => "expired",
            None => "open",
        };
        Self {
            payment_hash: invoice.payment_hash,
            amount_msat: invoice.amount,
            state,
            is_awaited: awaited.contains(&invoice.payment_hash),
            paid_msat: invoice.paid.map(|(amount, _)| amount),
            expires_at: invoice.expires_at,
            description: invoice.description,
        }
    }
}

impl Wallet {
    /// The newest payments and invoices, and what the LSP says about holds; of one payment if a hash is given.
    ///
    /// # Errors
    /// When the database cannot be read, or there is nothing with that hash.
    pub async fn status(&self, payment_hash: Option<PaymentHash>) -> Result<Status, WalletError> {
        let core = &self.core;
        let (payments, invoices, pending) = core
            .database
            .read("status", |tx| {
                Box::pin(async move {
                    let pending = pending::unblocking(tx).await?;
                    Ok::<_, WalletError>((payments::list(tx).await?, invoices::list(tx).await?, pending))
                })
            })
            .await?;
        let holds = core.all_holds().await;
        let lsp_answered = holds.is_some();
        let mut holds = holds.unwrap_or_default();
        let mut views = Vec::new();
        for payment in payments {
            let pid_hash = core.pid_hash(&payment);
            let hold = holds.iter().position(|hold| hold.pid_hash == pid_hash);
            let hold = hold.map(|index| HoldView::from(&holds.swap_remove(index)));
            views.push(PaymentView::new(payment, hold));
        }
        let now_unix = core.clock.now_unix();
        let height = core.node.height();
        let awaited = pending.iter().filter(|pending| height < pending.deadline);
        let awaited: HashSet<_> = awaited.map(|pending| pending.payment_hash).collect();
        let mut status = Status {
            payments: views,
            invoices: invoices
                .into_iter()
                .map(|invoice| InvoiceView::new(invoice, &awaited, now_unix))
                .collect(),
            unknown_holds: holds.iter().map(HoldView::from).collect(),
            lsp_answered,
        };
        if let Some(payment_hash) = payment_hash {
            status.payments.retain(|payment| payment.payment_hash == payment_hash);
            status.invoices.retain(|invoice| invoice.payment_hash == payment_hash);
            status.unknown_holds.retain(|hold| hold.payment_hashes.contains(&payment_hash.to_string()));
            if status.payments.is_empty() && status.invoices.is_empty() && status.unknown_holds.is_empty() {
                return Err(WalletError::UnknownPayment);
            }
        }
        Ok(status)
    }
}

impl Core {
    /// Every hold of this node; `None` when the LSP could not be asked.
    async fn all_holds(&self) -> Option<Vec<HoldStatus>> {
        self.online().await.ok()?;
        match self.ask_status(None).await {
            Ok(holds) => Some(holds),
            Err(error) => {
                tracing::warn!(%error, "the LSP does not say what it holds");
                None
            }
        }
    }
}
