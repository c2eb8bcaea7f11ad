//! An HTLC has arrived and LDK asks what to do with it.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning_types::payment::PaymentHash;
use node::{InterceptedHtlc, PendingInboundHtlc, Replay};
use protocol::deadline;
use protocol::hold::{FailCause, HoldEvent, Part, PartState};
use protocol::ids::PidHash;
use protocol::units::Msat;
use storage::{ReadTx, Tx};

use super::differences::DifferenceKind;
use super::step::{Select, StepContext, Stepped, step_in};
use super::{PaymentLimits, Payments, lock};
use crate::limits::ServerLimit;
use crate::store::StoreError;
use crate::store::holds::{self, Blind, HoldRow, PayerUsage};
use crate::store::parts::{self, HeldUsage};

/// An HTLC that comes this many blocks after an ended hold's deadline is a payment of its own.
const LATE_PART_BLOCKS: u32 = 6;

/// Who sent an intercepted HTLC, and the hold that it falls under.
pub(super) struct Held {
    pub(super) hold_id: i64,
    pub(super) payer: PublicKey,
    pub(super) pid_hash: PidHash,
    pub(super) part: Part,
}

impl Payments {
    /// Holds the HTLC if its payer has a hold on it, else lets it go. Answers Ok only when the part is queued to be stored,
    /// or LDK has taken the forward; if the store cannot say whether there is a hold, LDK is told to ask again. An HTLC under a hold
    /// whose rows cannot be read is left alone.
    ///
    /// # Errors
    /// [`Replay`] when the database does not answer.
    pub async fn on_intercepted(self: &Arc<Self>, htlc: InterceptedHtlc) -> Result<(), Replay> {
        let (payment_hash, intercept_id) = (htlc.payment_hash, htlc.intercept_id);
        let candidates = self
            .db
            .read("holds_naming", move |tx| Box::pin(candidates(tx, payment_hash, intercept_id)))
            .await;
        let Candidates { rows, blind } = match candidates {
            Ok(candidates) => candidates,
            // Asking again would hold up every other event for as long as the row stays as it is.
            Err(error) if StoreError::is_of_a_row(&error) => {
                self.leave_alone(&htlc, &crate::error::with_causes(&error));
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "cannot look for a hold; LDK asks again");
                return Err(Replay);
            }
        };
        match self.held_by(&htlc, &rows) {
            Some(held) if is_other(&held.part, &htlc) => {
                let (id, detail) = (held.part.intercept_id, "LDK told of it with other contents".to_owned());
                self.note(DifferenceKind::ContentsDiffer, id.to_string(), detail);
                self.step_and_act(
                    "part_contradicted",
                    Select::Hold(held.hold_id),
                    HoldEvent::PartContradicted(id),
                );
            }
            Some(held) => self.hold(held),
            None if self.may_be_of_a_damaged_hold(&htlc, blind) => {
                self.leave_alone(&htlc, "a payment hash of its payer's hold cannot be read");
            }
            None if self.is_of_a_forgotten_hold(&htlc, &rows) => {
                self.leave_alone(&htlc, "its payer's hold was granted, and is not in the database any more");
            }
            None if self.is_off_its_channel(&htlc, &rows) => self.fail(&htlc),
            None => self.let_go(htlc),
        }
        Ok(())
    }

    /// Its channel has closed since LDK told of it, and somebody has a hold on its payment hash: nobody can say whether it was the
    /// payer's.
    fn is_off_its_channel(&self, htlc: &InterceptedHtlc, candidates: &[HoldRow]) -> bool {
        candidates.iter().any(|row| row.hold.outcome().is_none())
            && !self.node.has_inbound_htlc(htlc.intercept_id)
    }

    fn fail(&self, htlc: &InterceptedHtlc) {
        let (intercept_id, payment_hash) = (htlc.intercept_id, htlc.payment_hash);
        tracing::warn!(%intercept_id, %payment_hash, "an HTLC that may be under a hold is not forwarded: its channel is closed");
        if let Err(error) = self.node.fail_intercepted(intercept_id) {
            tracing::debug!(%intercept_id, %error, "LDK had failed it");
        }
        self.node.flush_forwards();
    }

    /// Nobody forwards an HTLC that may be under a hold which cannot be read: it is failed back, at the latest by LDK.
    fn leave_alone(&self, htlc: &InterceptedHtlc, why: &str) {
        let detail = format!("an HTLC for {} is not forwarded: {why}", htlc.payment_hash);
        self.note(DifferenceKind::UnreadableHold, htlc.intercept_id.to_string(), detail);
    }

    fn held_by(&self, htlc: &InterceptedHtlc, candidates: &[HoldRow]) -> Option<Held> {
        candidates.iter().find_map(|row| {
            let hold = &row.hold;
            let terms = &hold.group().terms;
            let held =
                |part| Held { hold_id: row.hold_id, payer: terms.payer, pid_hash: terms.pid_hash, part };
            // LDK tells of a part again at every start.
            if let Some(part) = hold.group().parts.iter().find(|part| part.intercept_id == htlc.intercept_id)
            {
                return Some(held(part.clone()));
            }
            let deadline = terms.deadline;
            let was_for_it = deadline::part_fits(deadline, htlc.outgoing_expiry, deadline::MARGIN)
                && self.node.height() < deadline.plus(LATE_PART_BLOCKS);
            if hold.outcome().is_some() && !was_for_it {
                return None;
            }
            let inbound = self.on_channel_of(terms.payer, htlc)?;
            Some(held(part(htlc, &inbound)))
        })
    }

    /// Whether its payer has a live hold with a payment hash that nobody knows any more, by now or at the last look at all of
    /// them: this HTLC's, maybe.
    fn may_be_of_a_damaged_hold(&self, htlc: &InterceptedHtlc, mut blind: Vec<Blind>) -> bool {
        blind.extend(lock(&self.blind).iter());
        self.is_of_any(htlc, &blind)
    }

    /// Whether its payer has a live hold with its payment hash that the database does not know any more.
    fn is_of_a_forgotten_hold(&self, htlc: &InterceptedHtlc, found: &[HoldRow]) -> bool {
        self.is_of_any(htlc, &self.promised.forgotten(htlc.payment_hash, found))
    }

    fn is_of_any(&self, htlc: &InterceptedHtlc, holds: &[Blind]) -> bool {
        let height = self.node.height();
        let is_for_it = |hold: &Blind| height < hold.deadline.plus(LATE_PART_BLOCKS);
        holds.iter().any(|hold| is_for_it(hold) && self.on_channel_of(hold.payer, htlc).is_some())
    }

    /// LDK's event names no source: the HTLC is the payer's if one of its channels has it.
    fn on_channel_of(&self, payer: PublicKey, htlc: &InterceptedHtlc) -> Option<PendingInboundHtlc> {
        let pending = self.node.pending_inbound_htlcs(payer);
        pending.into_iter().find(|pending| pending.intercept_id == htlc.intercept_id)
    }

    fn hold(self: &Arc<Self>, held: Held) {
        let part = &held.part;
        let _span = tracing::info_span!("hold", pid_hash = %held.pid_hash, payer = %held.payer).entered();
        lock(&self.routes).tell(part.intercept_id);
        lock(&self.known_parts).insert(part.intercept_id);
        let (intercept_id, payment_hash) = (part.intercept_id, part.payment_hash);
        tracing::info!(%intercept_id, %payment_hash, amount = %part.inbound_amount, "an HTLC under a hold");
        storage::crash_point!("before_htlc_queued");
        let context = self.step_context();
        let limits = self.limits.clone();
        let commit = self.db.submit_required("part_intercepted", move |tx| {
            Box::pin(async move {
                let (hold_id, id) = (held.hold_id, held.part.intercept_id);
                match admit(tx, &context, &limits, held).await {
                    Ok(stepped) => Ok(stepped.into_iter().collect()),
                    // Nobody forwards it: LDK tells of it again at the next start, or fails it in time.
                    Err(error) if error.is_of_a_row() => {
                        tracing::error!(hold_id, intercept_id = %id, error = &error as &dyn std::error::Error,
                            "an HTLC is left alone");
                        Ok(Vec::new())
                    }
                    Err(error) => Err(error),
                }
            })
        });
        storage::crash_point!("htlc_queued");
        self.act_on(commit);
    }
}

/// Whether LDK's HTLC is another than the part that was stored under its id.
fn is_other(part: &Part, htlc: &InterceptedHtlc) -> bool {
    part.payment_hash != htlc.payment_hash
        || part.inbound_amount != htlc.inbound_amount
        || part.outbound_amount != htlc.outbound_amount
        || part.outgoing_expiry != htlc.outgoing_expiry
        || part.next_hop_scid != htlc.next_hop_scid
}

/// What the store says of an HTLC.
struct Candidates {
    /// Holds that it may be under.
    rows: Vec<HoldRow>,
    /// Payers whose HTLCs may be under a hold without anybody being able to tell.
    blind: Vec<Blind>,
}

async fn candidates(
    tx: &mut ReadTx,
    payment_hash: PaymentHash,
    intercept_id: InterceptId,
) -> Result<Candidates, StoreError> {
    let mut rows = holds::naming(tx, payment_hash).await?;
    // A part stays with the hold that it came under, even when its payer made a newer one since, or the hash is lost.
    if let Some(hold_id) = parts::hold_of(tx, intercept_id).await?
        && rows.iter().all(|row| row.hold_id != hold_id)
    {
        let gone = StoreError::Column { table: "hold_part", column: "hold_id" };
        rows.insert(0, holds::load(tx, hold_id).await?.ok_or(gone)?);
    }
    Ok(Candidates { rows, blind: holds::blind(tx).await? })
}

fn part(htlc: &InterceptedHtlc, inbound: &PendingInboundHtlc) -> Part {
    Part {
        intercept_id: htlc.intercept_id,
        payment_hash: htlc.payment_hash,
        inbound_channel_id: inbound.channel_id,
        inbound_htlc_id: inbound.htlc_id,
        inbound_amount: htlc.inbound_amount,
        outbound_amount: htlc.outbound_amount,
        inbound_expiry: Some(inbound.expiry),
        outgoing_expiry: htlc.outgoing_expiry,
        next_hop_scid: htlc.next_hop_scid,
        state: PartState::Held,
    }
}

/// Puts an HTLC under its hold, or fails it if a bound forbids it. One that LDK tells of again is not judged again.
pub(super) async fn admit(
    tx: &mut Tx,
    context: &StepContext,
    limits: &PaymentLimits,
    held: Held,
) -> Result<Option<Stepped>, StoreError> {
    let Held { hold_id, payer, pid_hash, part } = held;
    if lock(&context.routes).is_released(part.intercept_id) {
        // What was held a moment ago is on its way: held again, it could go a second time.
        tracing::warn!(intercept_id = %part.intercept_id, "LDK tells again of an HTLC that was released meanwhile");
        return Ok(None);
    }
    if parts::hold_of(tx, part.intercept_id).await?.is_some() {
        return step_in(tx, context, hold_id, HoldEvent::PartIntercepted(part)).await;
    }
    if parts::count_of(tx, hold_id).await? >= limits.parts_per_hold_max {
        // No row: that is what is bounded. LDK tells of it again if it does not hear of it.
        let over = Some(ServerLimit::PartsPerHold);
        let fail = vec![(part, FailCause::OverLimit)];
        return Ok(Some(Stepped { fail, over, ..Stepped::nothing(payer, pid_hash) }));
    }
    let of_payer = holds::usage(tx, payer).await?;
    let in_all = parts::held_in_all(tx).await?;
    let over = over_limit(limits, &of_payer, &in_all, &part);
    let event = match over {
        Some(ServerLimit::HoldPartMsat) => HoldEvent::PartRefused { part, cause: FailCause::TooSmall },
        Some(_) => HoldEvent::PartRefused { part, cause: FailCause::OverLimit },
        None => HoldEvent::PartIntercepted(part),
    };
    let stepped = step_in(tx, context, hold_id, event).await?;
    Ok(stepped.map(|stepped| Stepped { over, ..stepped }))
}

fn over_limit(
    limits: &PaymentLimits,
    of_payer: &PayerUsage,
    in_all: &HeldUsage,
    part: &Part,
) -> Option<ServerLimit> {
    let with_part = |msat: u64| Msat(msat.saturating_add(part.inbound_amount.0));
    if part.inbound_amount < limits.hold_part_min {
        Some(ServerLimit::HoldPartMsat)
    } else if of_payer.held_htlcs >= limits.held_htlcs_per_peer_max {
        Some(ServerLimit::HeldHtlcsPerPeer)
    } else if with_part(of_payer.held_msat) > limits.held_per_peer_max {
        Some(ServerLimit::HeldMsatPerPeer)
    } else if in_all.htlcs >= limits.held_htlcs_max {
        Some(ServerLimit::HeldHtlcs)
    } else if with_part(in_all.msat) > limits.held_max {
        Some(ServerLimit::HeldMsat)
    } else {
        None
    }
}
