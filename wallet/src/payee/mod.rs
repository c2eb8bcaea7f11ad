//! Being paid: invoices, and the answers to payers whose payments are held.

mod answers;
mod decide;
#[cfg(test)]
mod tests;

use std::sync::Weak;
use std::time::Duration;

use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use node::{IncomingMessage, InvoiceRequest, NodeError, Replay, ReplyTo};
use protocol::path::payee_unblock_path;
use protocol::units::Msat;
use protocol::wire::{Message, PayeeRefusal, PaymentPending, PaymentRefused, PaymentUnblock};
use tokio::sync::mpsc;

pub(crate) use answers::{Answers, run_answers};
use decide::Claim;

use crate::error::WalletError;
use crate::handler::{is_payees_answer, payment_of_context};
use crate::step::Step;
use crate::store::invoices::{self, Invoice};
use crate::store::pending::{self, Pending, PendingState};
use crate::{Core, Wallet};

/// How long an invoice is good by default, in seconds: 14 days, since a hold must not outlast it.
pub const INVOICE_EXPIRY_SECS: u32 = 14 * 24 * 60 * 60;

/// How long an invoice waits for a channel that can be used.
const CHANNEL_WAIT: Duration = Duration::from_secs(10);

impl Wallet {
    /// Makes an invoice that can be paid while this wallet is offline: it carries the feature bit. `expiry_secs` is
    /// [`INVOICE_EXPIRY_SECS`] by default.
    ///
    /// # Errors
    /// When there is no channel to be paid on, the amount is zero, or the description longer than 639 bytes.
    pub async fn create_invoice(
        &self,
        amount: Msat,
        description: &str,
        expiry_secs: Option<u32>,
    ) -> Result<Invoice, WalletError> {
        let core = &self.core;
        if amount == Msat(0) {
            return Err(NodeError::Invoice("an invoice must ask for more than nothing".to_owned()).into());
        }
        let expiry_secs = expiry_secs.unwrap_or(INVOICE_EXPIRY_SECS);
        // The LSP's terms, which the route hint repeats, come with the channel's `channel_update`.
        let channels = || core.node.channels();
        let known = || channels().is_empty() || channels().iter().any(|channel| channel.is_usable);
        core.until(CHANNEL_WAIT, known).await;
        let bolt11 = core.node.create_invoice(&InvoiceRequest {
            amount: Some(amount),
            description: description.to_owned(),
            expiry_secs,
            asynchronous: true,
        })?;
        storage::crash_point!("invoice_made");
        let created_at = bolt11.duration_since_epoch().as_secs();
        let invoice = Invoice {
            payment_hash: bolt11.payment_hash(),
            bolt11: bolt11.to_string(),
            amount,
            description: description.to_owned(),
            created_at,
            expires_at: created_at + u64::from(expiry_secs),
            paid: None,
        };
        let row = invoice.clone();
        core.database
            .submit("insert_invoice", move |tx| Box::pin(async move { invoices::insert(tx, &row).await }))
            .await?;
        storage::crash_point!("invoice_stored");
        Ok(invoice)
    }
}

/// Takes the messages that are no answers to questions, one after the other.
pub(crate) async fn run_messages(core: Weak<Core>, mut messages: mpsc::Receiver<IncomingMessage>) {
    while let Some(incoming) = messages.recv().await {
        let Some(core) = core.upgrade() else { return };
        if let Err(error) = core.take(incoming).await {
            tracing::warn!(%error, "a message could not be answered");
        }
        core.touch();
    }
}

impl Core {
    async fn take(&self, incoming: IncomingMessage) -> Result<(), WalletError> {
        let payment = incoming.context.as_deref().and_then(payment_of_context);
        match (incoming.message, payment) {
            (Message::PaymentPending(pending), None) => {
                self.answer_pending(pending, incoming.reply_to).await?;
            }
            (Message::PaymentRefused(refused), Some(payment_hash)) => {
                self.refused_by_payee(payment_hash, refused.reason).await?;
            }
            // It came while we are online: the LSP has read what it needs from the path.
            (message, _) if is_payees_answer(&message) => tracing::debug!("the payee has answered"),
            _ => tracing::debug!("a message that is not for a wallet was dropped"),
        }
        Ok(())
    }

    /// Says yes or no to a payer. What is said is stored before it is said.
    async fn answer_pending(
        &self,
        pending: PaymentPending,
        reply_to: Option<ReplyTo>,
    ) -> Result<(), WalletError> {
        let payment_hash = pending.payment_hash;
        let pid_hash = pending.pid.hash();
        storage::crash_point!("pending_received");
        if self.node.height() >= pending.deadline {
            // It waited too long, or the payer has taken the payment back.
            tracing::debug!("a payment_pending came after its deadline");
            self.answers.forget_one(payment_hash, pid_hash);
            self.database
                .submit("pending_expired", move |tx| {
                    Box::pin(pending::set_expired(tx, payment_hash, pid_hash))
                })
                .await?;
            return Ok(());
        }
        let Some(reply_to) = self.way_back(&pending, reply_to)? else {
            tracing::debug!("a payment_pending came without a way to answer");
            return Ok(());
        };
        let (invoice, known) = self
            .database
            .read("invoice_of_pending", move |tx| {
                Box::pin(async move {
                    let known = pending::get(tx, payment_hash, pid_hash).await?;
                    Ok::<_, WalletError>((invoices::get(tx, payment_hash).await?, known))
                })
            })
            .await?;
        let known = known.map(|known| known.state);
        if known == Some(PendingState::Arrived) {
            // Sent before the payer's LSP knew that we are paid.
            return Ok(());
        }
        let answer = decide::answer(
            invoice.as_ref(),
            pending.amount,
            decide::judged_at(self.clock.now_unix(), self.node.block_time_unix()),
        );
        // Nothing is kept of what names no invoice of ours: LDK fails such a payment by itself.
        if invoice.is_some() && answer != Err(PayeeRefusal::AlreadyPaid) {
            let row = Pending {
                payment_hash,
                pid_hash,
                deadline: pending.deadline,
                state: if answer.is_ok() { PendingState::Unblocking } else { PendingState::Refused },
                reply_to: reply_to.encode(),
                received_at: self.clock.now_unix(),
                refused_payment: None,
            };
            let kept = self
                .database
                .submit("put_pending", move |tx| Box::pin(async move { pending::put(tx, &row).await }))
                .await?;
            if !kept {
                // Anybody who has the invoice can say that he pays it. The payer's LSP sends the real one's message again,
                // and it is answered each time, for as long as it does.
                tracing::warn!("too many payers say that they pay one invoice; this one is answered once");
                let answer: Message = match answer {
                    Ok(()) => PaymentUnblock { payment_hash }.into(),
                    Err(reason) => PaymentRefused { payment_hash, reason }.into(),
                };
                self.node.reply(reply_to, answer)?;
                return Ok(());
            }
            storage::crash_point!("pending_stored");
        }
        if known != Some(PendingState::Unblocking) {
            self.emit(Step::PendingReceived {
                payment_hash,
                amount_msat: pending.amount,
                deadline: pending.deadline,
            });
        }
        match answer {
            Ok(()) => {
                self.answers.insert(payment_hash, pid_hash, pending.deadline, reply_to, Duration::ZERO);
                self.repeat_answers().await;
            }
            Err(reason) => {
                self.answers.forget_one(payment_hash, pid_hash);
                storage::crash_point!("before_refusal_sent");
                self.node.reply(reply_to, PaymentRefused { payment_hash, reason }.into())?;
                storage::crash_point!("refusal_sent");
                self.emit(Step::Refused { payment_hash, reason: reason.to_string() });
            }
        }
        Ok(())
    }

    /// The payer's reply path, or one of our own making if that is wanted and the payer has said who it is.
    fn way_back(
        &self,
        pending: &PaymentPending,
        reply_to: Option<ReplyTo>,
    ) -> Result<Option<ReplyTo>, WalletError> {
        let Some((payer, payer_lsp)) = pending.payer_and_lsp.filter(|_| self.config.build_unblock_path)
        else {
            return Ok(reply_to);
        };
        let own_lsp = Some(self.config.lsp.node_id);
        match payee_unblock_path(&self.node.session_key()?, own_lsp, payer_lsp, payer, pending.pid) {
            Ok(path) => Ok(Some(ReplyTo::along(&path)?)),
            Err(error) => {
                tracing::warn!(%error, "the way back could not be built; the payer's own is taken");
                Ok(reply_to)
            }
        }
    }

    /// LDK has all parts of a payment to us. Runs in LDK's event handler.
    pub(crate) async fn claim_or_refuse(
        &self,
        payment_hash: PaymentHash,
        payment_id: Option<PaymentId>,
        amount: Msat,
        preimage: Option<PaymentPreimage>,
    ) -> Result<(), Replay> {
        let read = self
            .database
            .read("invoice_of_payment", move |tx| {
                Box::pin(async move {
                    let pending = pending::of_invoice(tx, payment_hash).await?;
                    Ok::<_, WalletError>((invoices::get(tx, payment_hash).await?, pending))
                })
            })
            .await;
        let (invoice, pending) = read.map_err(|error| {
            tracing::error!(%error, "a payment cannot be judged");
            Replay
        })?;
        let claim = decide::claim(
            invoice.as_ref(),
            &pending,
            decide::Inbound { amount, payment_id },
            self.clock.now_unix(),
        );
        match (claim, preimage) {
            (Claim::Take, Some(preimage)) => {
                self.answers.forget(payment_hash);
                storage::crash_point!("before_claim");
                self.node.claim(preimage);
                storage::crash_point!("claim_told");
            }
            (claim, _) => {
                tracing::warn!(%payment_hash, %amount, ?claim, "a payment is refused");
                if let Some(payment_id) = payment_id {
                    drop(self.database.submit_required("set_refused_payment", move |tx| {
                        Box::pin(pending::set_refused_payment(tx, payment_hash, payment_id))
                    }));
                }
                storage::crash_point!("before_payment_refused");
                self.node.refuse_payment(payment_hash);
                storage::crash_point!("payment_refused");
            }
        }
        Ok(())
    }
}
