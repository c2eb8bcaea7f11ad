//! An asynchronous payment, step by step. Each step is stored before the next one is taken, so that whatever ends the
//! process, [`Core::drive`] goes on where it was.
//!
//! Whether HTLCs went out is what LDK says, not what is stored: LDK's channel manager is durable before an HTLC leaves, and it
//! refuses a second payment with the same id for as long as it knows the first.

use std::sync::Arc;
use std::time::Duration;

use lightning_types::payment::PaymentHash;
use node::{NodeError, OwnPayment, PayRequest};
use protocol::deadline::{MARGIN, final_cltv_delta};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::{BlockAnswer, HoldStateCode, HoldStatus, RefusalReason};
use tokio::time::{Instant, sleep};

use super::{POLL, PayOptions, negotiate};
use crate::Core;
use crate::error::WalletError;
use crate::step::Step;
use crate::store::payments::{self, Payment, PaymentKind, PaymentState};

/// How long gossip about the route may be missing.
const ROUTE_WAIT: Duration = Duration::from_secs(15);

/// How long the LSP may take to see that an earlier attempt's HTLCs have left our channels.
const EARLIER_WAIT: Duration = Duration::from_secs(5);

/// How long the LSP may take to hold what was paid.
const HOLD_WAIT: Duration = Duration::from_secs(30);

/// How long the LSP may take to take `payment_pending` into its care.
const CARE_WAIT: Duration = Duration::from_secs(30);

/// How long LDK's event may take to follow what LDK knows already.
const EVENT_WAIT: Duration = Duration::from_secs(5);

/// How often `payment_pending` is sent while it is not in the LSP's care.
const PENDING_REPEAT: Duration = Duration::from_secs(3);

/// Attempts whose pid a wallet before this one may have used.
const ATTEMPTS_MAX: u32 = 32;

/// Whether the LSP holds all that is in flight: as many parts as we sent, with every millisatoshi of them.
pub(super) fn all_parts_held(
    status: &HoldStatus,
    payment_hash: PaymentHash,
    amount: Msat,
    (parts, in_flight): (usize, Msat),
) -> bool {
    let held = status.hashes.iter().find(|status| status.payment_hash == payment_hash);
    status.state == HoldStateCode::Held
        && parts > 0
        && in_flight >= amount
        && held.is_some_and(|held| usize::from(held.held_parts) == parts && held.held == in_flight)
}

/// Blocks to add to the invoice's final CLTV delta, so that the payment can still arrive if it is released at `deadline`.
pub(super) fn extra_blocks(deadline: BlockHeight, height: BlockHeight, invoice_min_final: u32) -> u32 {
    final_cltv_delta(height.blocks_until(deadline), invoice_min_final, MARGIN) - invoice_min_final
}

impl Core {
    /// Takes the payment as far as it goes: into the LSP's care, or to its end.
    pub(crate) async fn drive(
        self: &Arc<Self>,
        payment_hash: PaymentHash,
        options: &PayOptions,
    ) -> Result<Payment, WalletError> {
        let lock = self.drive_lock(payment_hash);
        let _driving = lock.lock().await;
        loop {
            let payment = self.payment(payment_hash).await?;
            if payment.kind == PaymentKind::Ordinary {
                return Ok(payment);
            }
            match payment.state {
                PaymentState::Blocking => self.block(&payment).await?,
                PaymentState::Blocked => self.send(&payment, options).await?,
                PaymentState::Paying => self.await_held(&payment, options).await?,
                PaymentState::Held => self.hand_over(&payment).await?,
                PaymentState::Cancelling => self.cancel_hold(&payment).await?,
                PaymentState::InCare | PaymentState::Settled | PaymentState::Failed => return Ok(payment),
            }
        }
    }

    async fn block(&self, payment: &Payment) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        let requested = payment.requested_deadline.unwrap_or_default();
        if self.node.height() >= requested {
            return self.give_up(payment_hash, "its deadline passed before it began".to_owned()).await;
        }
        let patient_until = Instant::now() + EARLIER_WAIT;
        let answer = loop {
            match self.ask_block(self.pid_hash(payment), payment_hash, requested).await {
                Ok(BlockAnswer::Refused { reason: RefusalReason::HashAlreadyHeld, .. })
                    if payment.attempt > 0 && Instant::now() < patient_until =>
                {
                    self.cancel_earlier_holds(payment).await?;
                    sleep(POLL).await;
                }
                Ok(answer) => break answer,
                Err(error @ (WalletError::NoAnswer { .. } | WalletError::UnexpectedAnswer)) => {
                    // The LSP may have granted it all the same; a hold that nobody asks for must not catch a later payment.
                    self.give_up(payment_hash, error.to_string()).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        };
        storage::crash_point!("ack_received");
        match answer {
            BlockAnswer::Accepted { deadline } if deadline > requested => {
                self.give_up(payment_hash, WalletError::UnexpectedAnswer.to_string()).await?;
                Err(WalletError::UnexpectedAnswer)
            }
            BlockAnswer::Accepted { deadline } => {
                let commit = self.database.submit("grant_payment", move |tx| {
                    Box::pin(payments::set_granted(tx, payment_hash, deadline))
                });
                if commit.await? {
                    storage::crash_point!("grant_stored");
                    self.emit(Step::Blocked { payment_hash, deadline });
                }
                Ok(())
            }
            BlockAnswer::Refused { reason: RefusalReason::PidReused, .. }
                if payment.attempt < ATTEMPTS_MAX =>
            {
                let commit = self
                    .database
                    .submit("next_attempt", move |tx| Box::pin(payments::set_next_attempt(tx, payment_hash)));
                commit.await?;
                Ok(())
            }
            BlockAnswer::Refused { reason, text } => {
                self.fail(payment_hash, format!("the LSP refuses to hold it: {reason}")).await?;
                Err(WalletError::BlockRefused { reason, text })
            }
        }
    }

    async fn send(&self, payment: &Payment, options: &PayOptions) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        if self.node.own_payment(payment_hash).is_none() {
            if let Err(reason) = self.send_to_ldk(payment, options).await? {
                return self.give_up(payment_hash, reason).await;
            }
            let (parts, _) = self.node.outbound_parts(payment_hash);
            // With none at all there was no way for it after all: see [`Core::await_held`].
            if (1..options.parts_min).contains(&parts) {
                let reason = format!("it went out in {parts} parts, not in {}", options.parts_min);
                return self.give_up(payment_hash, reason).await;
            }
        }
        self.advance(payment_hash, PaymentState::Blocked, PaymentState::Paying).await?;
        Ok(())
    }

    /// Hands the payment to LDK. The inner error says why nothing was sent.
    async fn send_to_ldk(
        &self,
        payment: &Payment,
        options: &PayOptions,
    ) -> Result<Result<(), String>, WalletError> {
        let invoice = negotiate::parse(&payment.bolt11, self.config.network)?;
        let deadline = payment.deadline.unwrap_or_default();
        if self.node.height() >= deadline {
            return Ok(Err("its deadline passed before it was paid".to_owned()));
        }
        let invoice_min_final = u32::try_from(invoice.min_final_cltv_expiry_delta()).unwrap_or(u32::MAX);
        self.advance(payment.payment_hash, PaymentState::Blocked, PaymentState::Paying).await?;
        self.emit(Step::Paying { payment_hash: payment.payment_hash });
        let mut request = PayRequest {
            invoice,
            amount: None,
            extra_final_cltv_blocks: 0,
            // A hold that is failed back says nothing about the route, and LDK must not pay a second time by itself.
            retries: 0,
            fee_max: options.fee_max,
        };
        let give_up_at = Instant::now() + ROUTE_WAIT;
        loop {
            // Somebody may have cancelled it meanwhile.
            if self.payment(payment.payment_hash).await?.state != PaymentState::Paying {
                return Ok(Ok(()));
            }
            request.extra_final_cltv_blocks = extra_blocks(deadline, self.node.height(), invoice_min_final);
            storage::crash_point!("before_pay");
            let handed_over = self.node.pay(&request);
            storage::crash_point!("pay_told");
            match handed_over {
                Ok(()) | Err(NodeError::DuplicatePayment) => return Ok(Ok(())),
                Err(NodeError::NoRoute) if Instant::now() < give_up_at => sleep(POLL).await,
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    async fn await_held(&self, payment: &Payment, options: &PayOptions) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        let pid_hash = self.pid_hash(payment);
        let give_up_at = Instant::now() + HOLD_WAIT;
        while Instant::now() < give_up_at {
            if self.payment(payment_hash).await?.state != PaymentState::Paying {
                return Ok(());
            }
            match self.node.own_payment(payment_hash) {
                Some(OwnPayment::Pending) => {}
                // Its event is on the way.
                Some(OwnPayment::Abandoned) if self.node.outbound_parts(payment_hash).0 == 0 => {
                    sleep(POLL).await;
                    continue;
                }
                Some(OwnPayment::Fulfilled) => return self.await_event(payment_hash).await,
                Some(OwnPayment::Abandoned) => {
                    return self.give_up(payment_hash, "a part of it failed".to_owned()).await;
                }
                None => return self.resend(payment, options).await,
            }
            let in_flight = self.node.outbound_parts(payment_hash);
            let statuses = self.ask_status(Some(pid_hash)).await?;
            let Some(status) = statuses.iter().find(|status| status.pid_hash == pid_hash) else {
                return self.give_up(payment_hash, "the LSP has forgotten the hold".to_owned()).await;
            };
            if all_parts_held(status, payment_hash, payment.amount, in_flight) {
                storage::crash_point!("held_seen");
                if self.advance(payment_hash, PaymentState::Paying, PaymentState::Held).await? {
                    storage::crash_point!("held_stored");
                    self.emit(Step::Held { payment_hash, parts: in_flight.0 });
                }
                return Ok(());
            }
            match status.state {
                HoldStateCode::Unblocked
                | HoldStateCode::Released
                | HoldStateCode::Claimed
                | HoldStateCode::Settled => {
                    // The payee knows already.
                    self.advance(payment_hash, PaymentState::Paying, PaymentState::InCare).await?;
                    return Ok(());
                }
                // What the LSP fails comes as LDK's event.
                _ => sleep(POLL).await,
            }
        }
        self.give_up(payment_hash, "the LSP did not hold every part in time".to_owned()).await
    }

    /// LDK does not know the payment. Either its end is on the way to us as an event, or nothing of it was sent, since the process or
    /// each first hop was gone: then it is sent now, if the LSP still waits for it.
    async fn resend(&self, payment: &Payment, options: &PayOptions) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        sleep(POLL).await;
        if self.payment(payment_hash).await?.state != PaymentState::Paying {
            return Ok(());
        }
        let pid_hash = self.pid_hash(payment);
        let statuses = self.ask_status(Some(pid_hash)).await?;
        let status = statuses.iter().find(|status| status.pid_hash == pid_hash);
        if status.is_none_or(|status| status.state != HoldStateCode::Waiting) {
            return self.give_up(payment_hash, "the LSP does not wait for it any more".to_owned()).await;
        }
        match self.send_to_ldk(payment, options).await? {
            Ok(()) => Ok(()),
            Err(reason) => self.give_up(payment_hash, reason).await,
        }
    }

    async fn await_event(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        let give_up_at = Instant::now() + EVENT_WAIT;
        while Instant::now() < give_up_at {
            if self.payment(payment_hash).await?.state.is_final() {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(WalletError::TakesTooLong { what: "the end of a payment" })
    }

    async fn hand_over(&self, payment: &Payment) -> Result<(), WalletError> {
        let payment_hash = payment.payment_hash;
        let pid_hash = self.pid_hash(payment);
        let invoice = negotiate::parse(&payment.bolt11, self.config.network)?;
        let give_up_at = Instant::now() + CARE_WAIT;
        let mut send_at = Instant::now();
        while Instant::now() < give_up_at {
            if self.payment(payment_hash).await?.state != PaymentState::Held {
                return Ok(());
            }
            if Instant::now() >= send_at {
                storage::crash_point!("before_pending_sent");
                self.send_pending(payment, &invoice)?;
                storage::crash_point!("pending_sent");
                send_at = Instant::now() + PENDING_REPEAT;
            }
            let statuses = self.ask_status(Some(pid_hash)).await?;
            let status = statuses.iter().find(|status| status.pid_hash == pid_hash);
            let waits = status.is_some_and(|status| {
                !status.pending_in_care
                    && matches!(status.state, HoldStateCode::Waiting | HoldStateCode::Held)
            });
            if !waits {
                storage::crash_point!("care_seen");
                if self.advance(payment_hash, PaymentState::Held, PaymentState::InCare).await? {
                    storage::crash_point!("care_stored");
                    self.emit(Step::PendingInCare { payment_hash });
                }
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(WalletError::TakesTooLong { what: "handing the payee's message over to the LSP" })
    }
}
