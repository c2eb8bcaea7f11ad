//! What payers ask of us: block, cancel, status.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use node::{Channel, ReplyTo};
use protocol::deadline::{self, DeadlineError};
use protocol::hold::{HoldEvent, HoldTerms};
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use protocol::wire::{
    BlockAnswer, HOLD_STATUSES_MAX, HoldStatus, Message, PaymentBlock, PaymentBlockAck, PaymentCancel,
    PaymentStatus, PaymentStatusReply, RefusalReason,
};
use storage::{ReadTx, Tx};

use super::step::Select;
use super::{PaymentLimits, Payments};
use crate::limits::{self, ServerLimit};
use crate::logging::STRANGERS;
use crate::store::holds::{self, HoldRow};
use crate::store::{StoreError, pending};

impl Payments {
    /// Answers one message of a payer. Others than these are none of an LSP's business.
    pub async fn on_request(self: &Arc<Self>, message: Message, reply_to: Option<ReplyTo>) {
        let Some(reply_to) = reply_to else {
            tracing::debug!("a request without a reply path");
            return;
        };
        let answer = match message {
            Message::PaymentBlock(block) => Some(Message::PaymentBlockAck(self.block(&block).await)),
            Message::PaymentCancel(cancel) => self.cancel(&cancel).await,
            Message::PaymentStatus(status) => self.status(&status).await,
            _ => None,
        };
        storage::crash_point!("before_request_answered");
        if let Some(answer) = answer
            && let Err(error) = self.node.reply(reply_to, answer)
        {
            tracing::info!(%error, "an answer could not be sent; the payer asks again");
        }
        storage::crash_point!("request_answered");
    }

    /// Grants or refuses a hold. What is acknowledged is durable.
    async fn block(&self, block: &PaymentBlock) -> PaymentBlockAck {
        let answer = if block.verify(&self.node.node_id()).is_err() {
            Err(RefusalReason::BadSignature.into())
        } else {
            let answer = match self.judge(block) {
                Ok(granted) => self.store_block(block, granted).await,
                Err(refusal) => self.granted_before(block).await.map(|granted| granted.ok_or(refusal)),
            };
            answer.unwrap_or_else(|error| {
                tracing::error!(%error, "a block request could not be stored");
                Err(RefusalReason::Unavailable.into())
            })
        };
        let (pid_hash, payer) = (block.pid_hash, block.payer);
        storage::crash_point!("block_stored");
        match &answer {
            Ok(deadline) => tracing::info!(%pid_hash, %payer, %deadline, "hold granted"),
            Err(Refusal { reason, limit }) => {
                tracing::info!(target: STRANGERS, %pid_hash, %payer, %reason, "hold refused");
                if let Some(limit) = limit {
                    limits::refused(*limit, Some(payer));
                }
            }
        }
        let answer = match answer {
            Ok(deadline) => BlockAnswer::Accepted { deadline },
            Err(Refusal { reason, .. }) => BlockAnswer::Refused { reason, text: self.refusal_text(reason) },
        };
        PaymentBlockAck { pid_hash, answer }
    }

    /// What can be said of a new request without the database.
    fn judge(&self, block: &PaymentBlock) -> Grant {
        // Deadlines are heights: whoever does not know the height can promise none.
        if self.node.chain_trouble().is_some() {
            return Err(RefusalReason::Unavailable.into());
        }
        let channels = self.node.channels_with(block.payer);
        if !channels.iter().any(Channel::is_confirmed) {
            return Err(RefusalReason::NoChannel.into());
        }
        if channels.iter().any(|channel| channel.is_announced) {
            return Err(RefusalReason::ChannelAnnounced.into());
        }
        bounded_hashes(block.payment_hashes.len(), self.limits.hashes_per_hold_max)?;
        deadline::grant(block.deadline, self.node.height(), self.limits.hold).map_err(|error| match error {
            DeadlineError::TooSoon { .. } => RefusalReason::DeadlineTooSoon.into(),
            _ => RefusalReason::DeadlineTooLate.into(),
        })
    }

    /// What was granted to this very request before: the answer stands, whatever the height, the chain or the channels are by
    /// now. Reads only: who is refused costs no write.
    async fn granted_before(&self, block: &PaymentBlock) -> Result<Option<BlockHeight>, StoreError> {
        let (payer, pid_hash) = (block.payer, block.pid_hash);
        let known =
            self.db.read("hold_of_payer", move |tx| Box::pin(holds::find(tx, payer, pid_hash))).await?;
        Ok(known.and_then(|known| repeated(&known, &block.payment_hashes, block.deadline)))
    }

    pub(super) async fn store_block(
        &self,
        block: &PaymentBlock,
        granted: BlockHeight,
    ) -> Result<Grant, StoreError> {
        let terms = HoldTerms {
            payer: block.payer,
            pid_hash: block.pid_hash,
            payment_hashes: block.payment_hashes.clone(),
            deadline: granted,
        };
        let requested = block.deadline;
        let now_unix = self.clock.now_unix();
        let (limits, promised) = (self.limits.clone(), terms.clone());
        let grant = self
            .db
            .submit("block", move |tx| {
                Box::pin(async move { grant_in(tx, &limits, &terms, requested, now_unix).await })
            })
            .await?;
        if grant.is_ok() {
            self.promised.grant(&promised);
        }
        Ok(grant)
    }

    /// For the payer's eyes, where the reason alone says little.
    fn refusal_text(&self, reason: RefusalReason) -> Option<String> {
        let trouble = self.node.chain_trouble().filter(|_| reason == RefusalReason::Unavailable)?;
        Some(format!("nothing new is held while the chain cannot be relied on ({})", trouble.as_str()))
    }

    async fn cancel(self: &Arc<Self>, cancel: &PaymentCancel) -> Option<Message> {
        cancel.verify(&self.node.node_id()).ok()?;
        let (payer, pid_hash) = (cancel.payer, cancel.pid_hash);
        match self.cancel_hold(payer, pid_hash).await {
            Ok(holds) => Some(Message::PaymentStatusReply(PaymentStatusReply::new(holds))),
            Err(error) => {
                tracing::error!(%pid_hash, %error, "a cancel could not be stored");
                None
            }
        }
    }

    /// Cancels a hold unless it is released already; answers what became of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_hold(
        self: &Arc<Self>,
        payer: PublicKey,
        pid_hash: PidHash,
    ) -> Result<Vec<HoldStatus>, StoreError> {
        self.writable()?;
        let found =
            self.db.read("hold_of_payer", move |tx| Box::pin(holds::find(tx, payer, pid_hash))).await?;
        if let Some(row) = found {
            let stepped = self.submit_step("cancel", Select::Hold(row.hold_id), HoldEvent::Cancelled).await?;
            storage::crash_point!("cancel_stored");
            stepped.into_iter().for_each(|stepped| self.act(stepped, None));
        }
        self.db
            .read("hold_status", move |tx| {
                Box::pin(async move {
                    let rows: Vec<_> = holds::find(tx, payer, pid_hash).await?.into_iter().collect();
                    statuses(tx, &rows).await
                })
            })
            .await
    }

    pub(super) async fn status(&self, status: &PaymentStatus) -> Option<Message> {
        status.verify(&self.node.node_id()).ok()?;
        let (payer, pid_hash) = (status.payer, status.pid_hash);
        let holds = self
            .db
            .read("hold_status", move |tx| {
                Box::pin(async move {
                    let rows = match pid_hash {
                        Some(pid_hash) => holds::find(tx, payer, pid_hash).await?.into_iter().collect(),
                        None => holds::of_payer(tx, payer, HOLD_STATUSES_MAX as u32 + 1).await?,
                    };
                    statuses(tx, &rows).await
                })
            })
            .await;
        match holds {
            Ok(holds) => Some(Message::PaymentStatusReply(PaymentStatusReply::new(holds))),
            Err(error) => {
                let error: StoreError = error;
                tracing::error!(%error, "a status could not be read");
                None
            }
        }
    }
}

async fn statuses(tx: &mut ReadTx, rows: &[HoldRow]) -> Result<Vec<HoldStatus>, StoreError> {
    let mut statuses = Vec::with_capacity(rows.len());
    for row in rows {
        statuses.push(row.hold.status(pending::is_kept(tx, row.hold_id).await?));
    }
    Ok(statuses)
}

/// What was granted, if `known` was granted to the same request.
fn repeated(known: &HoldRow, payment_hashes: &[PaymentHash], requested: BlockHeight) -> Option<BlockHeight> {
    let granted = &known.hold.group().terms;
    let same = granted.payment_hashes == payment_hashes && known.requested_deadline == requested;
    same.then_some(granted.deadline)
}

/// The deadline that is granted, or why none is.
pub(super) type Grant = Result<BlockHeight, Refusal>;

/// Why a hold is refused, and which bound did it, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: RefusalReason,
    pub(super) limit: Option<ServerLimit>,
}

impl Refusal {
    fn over(reason: RefusalReason, limit: ServerLimit) -> Self {
        Self { reason, limit: Some(limit) }
    }
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, limit: None }
    }
}

/// So many payment hashes share one hold.
fn bounded_hashes(hashes: usize, max: usize) -> Result<(), Refusal> {
    if hashes > max {
        return Err(Refusal::over(RefusalReason::TooManyHashes, ServerLimit::HashesPerHold));
    }
    Ok(())
}

/// (payer, pid_hash) is unique as long as it is remembered: the same request gets the same answer, any other is refused.
pub(super) async fn grant_in(
    tx: &mut Tx,
    limits: &PaymentLimits,
    terms: &HoldTerms,
    requested: BlockHeight,
    now_unix: u64,
) -> Result<Grant, StoreError> {
    if let Some(known) = holds::find(tx, terms.payer, terms.pid_hash).await? {
        let granted = repeated(&known, &terms.payment_hashes, requested);
        return Ok(granted.ok_or(RefusalReason::PidReused.into()));
    }
    for payment_hash in &terms.payment_hashes {
        if holds::any_live_naming(tx, terms.payer, *payment_hash).await? {
            return Ok(Err(RefusalReason::HashAlreadyHeld.into()));
        }
    }
    if holds::usage(tx, terms.payer).await?.holds >= limits.holds_per_peer_max {
        return Ok(Err(Refusal::over(RefusalReason::TooManyHolds, ServerLimit::HoldsPerPeer)));
    }
    if holds::count_of(tx, terms.payer).await? >= limits.holds_kept_per_peer_max {
        return Ok(Err(Refusal::over(RefusalReason::TooManyHolds, ServerLimit::HoldsKeptPerPeer)));
    }
    if holds::count_live(tx).await? >= limits.holds_max {
        // Not the payer's doing: another time it may be granted.
        return Ok(Err(Refusal::over(RefusalReason::Unavailable, ServerLimit::Holds)));
    }
    holds::insert(tx, terms, requested, now_unix).await?;
    Ok(Ok(terms.deadline))
}
