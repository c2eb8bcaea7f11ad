//! One step of one or more holds, inside the ordered writer: load, step, save, outbox.

use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use protocol::deadline;
use protocol::hold::{Effect, FailCause, Hold, HoldEvent, HoldOutcome, Part, PartState, step};
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use storage::{Commit, Tx};

use super::differences::DifferenceKind;
use super::routes::Routes;
use super::{PaymentNode, Payments, lock};
use crate::limits::ServerLimit;
use crate::store::wakes::{self, NewWake};
use crate::store::{StoreError, damage, holds, parts, pending};

/// Seconds that a block takes, for turning block deadlines into push expiries.
pub(super) const BLOCK_SECS: u64 = 600;

/// A wake is worth sending at least this long.
const WAKE_SECS_MIN: u64 = 3_600;

/// Which holds an event is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Select {
    /// One hold.
    Hold(i64),
    /// The hold that a part came under.
    Part(InterceptId),
    /// The live holds that a pid releases.
    PidHash(PidHash),
    /// A payer's live holds.
    LiveOf(PublicKey),
}

/// A stepped and stored hold, and what is to be done now that it is durable.
#[derive(Clone, Debug)]
pub(super) struct Stepped {
    pub(super) payer: PublicKey,
    pub(super) pid_hash: PidHash,
    pub(super) forward: Vec<Part>,
    pub(super) fail: Vec<(Part, FailCause)>,
    pub(super) ended: Option<HoldOutcome>,
    pub(super) woke: bool,
    /// A part that LDK has resolved, and that the row says nobody has decided on.
    pub(super) unasked: Option<(DifferenceKind, Part)>,
    /// Why the event did not apply, if it did not.
    pub(super) refused: Option<protocol::hold::StepError>,
    /// The bound that failed an HTLC.
    pub(super) over: Option<ServerLimit>,
}

impl Stepped {
    pub(super) fn nothing(payer: PublicKey, pid_hash: PidHash) -> Self {
        Self {
            payer,
            pid_hash,
            forward: Vec::new(),
            fail: Vec::new(),
            ended: None,
            woke: false,
            unasked: None,
            refused: None,
            over: None,
        }
    }
}

/// What a step needs besides the transaction.
#[derive(Clone)]
pub(super) struct StepContext {
    pub(super) node: Arc<dyn PaymentNode>,
    pub(super) routes: Arc<Mutex<Routes>>,
    pub(super) now_unix: u64,
}

impl Payments {
    pub(super) fn step_context(&self) -> StepContext {
        StepContext { node: self.node.clone(), routes: self.routes.clone(), now_unix: self.clock.now_unix() }
    }

    /// Queues the step in this call, so that it is durable no later than LDK's next write. The commit must be acted on:
    /// see [`Payments::act_on`].
    pub(super) fn submit_step(
        &self,
        name: &'static str,
        select: Select,
        event: HoldEvent,
    ) -> Commit<Vec<Stepped>, StoreError> {
        let context = self.step_context();
        self.db.submit_required(name, move |tx| {
            Box::pin(async move {
                let mut stepped = Vec::new();
                for hold_id in selected(tx, select).await? {
                    stepped.extend(step_in(tx, &context, hold_id, event.clone()).await?);
                }
                Ok(stepped)
            })
        })
    }
}

async fn selected(tx: &mut Tx, select: Select) -> Result<Vec<i64>, StoreError> {
    Ok(match select {
        Select::Hold(hold_id) => vec![hold_id],
        Select::Part(id) => match parts::hold_of(tx, id).await.map_err(StoreError::from) {
            Ok(hold_id) => hold_id.into_iter().collect(),
            Err(error) if error.is_of_a_row() => {
                damage::stumbled("hold_part", id.to_string(), &error);
                Vec::new()
            }
            Err(error) => return Err(error),
        },
        Select::PidHash(pid_hash) => holds::live_ids_by_pid_hash(tx, pid_hash).await?,
        Select::LiveOf(payer) => holds::live_ids_of(tx, payer).await?,
    })
}

/// Steps one hold and stores it with its outbox rows. A hold whose rows cannot be read is left alone and reported: nothing of
/// it is forwarded, and its HTLCs are failed back as those of no hold (see [`super::audit`]).
pub(super) async fn step_in(
    tx: &mut Tx,
    context: &StepContext,
    hold_id: i64,
    event: HoldEvent,
) -> Result<Option<Stepped>, StoreError> {
    let before = match holds::load(tx, hold_id).await {
        Ok(Some(before)) => before,
        Ok(None) => return Ok(None),
        Err(error) if error.is_of_a_row() => {
            damage::stumbled("hold", hold_id.to_string(), &error);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let terms = &before.hold.group().terms;
    let (payer, pid_hash) = (terms.payer, terms.pid_hash);
    let height = context.node.cautious_height();
    let mut stepped =
        Stepped { unasked: unasked(&before.hold, &event, height), ..Stepped::nothing(payer, pid_hash) };
    let first = match step(before.hold.clone(), event, height) {
        Ok(first) => first,
        Err(refusal) => {
            stepped.refused = Some(refusal);
            return Ok(Some(stepped));
        }
    };
    let mut hold = first.hold;
    let mut effects = first.effects;
    if effects.contains(&Effect::CheckRoutes) {
        let carriable = lock(&context.routes).carriable(&*context.node, &hold);
        // Stepped in the same transaction: a release costs one commit of ours.
        if let Ok(second) = step(hold.clone(), HoldEvent::Carriable { parts: carriable }, height) {
            hold = second.hold;
            effects.extend(second.effects);
        }
    }
    holds::save(tx, &before, &hold, context.now_unix).await?;
    for effect in effects {
        match effect {
            Effect::CheckRoutes => {}
            Effect::Forward { parts } => {
                stepped.forward.extend(parts.iter().filter_map(|id| find(&hold, *id)));
                let mut routes = lock(&context.routes);
                routes.release(&parts);
                routes.reserve(&*context.node, &stepped.forward);
            }
            Effect::Fail { part, cause } => stepped.fail.extend(find(&hold, part).map(|part| (part, cause))),
            Effect::Wake { reason } => {
                let wake = NewWake {
                    node_id: payer,
                    reason,
                    group: pid_hash.0,
                    expires_at_unix: context.now_unix + wake_secs(&hold, height),
                    now_unix: context.now_unix,
                };
                stepped.woke |= wakes::ensure_open(tx, &wake).await?;
            }
            Effect::EndWakes { reason } => wakes::end(tx, payer, pid_hash.0, reason).await?,
            Effect::DropPending => pending::drop_for(tx, hold_id).await?,
            Effect::Ended(outcome) => stepped.ended = Some(outcome),
        }
    }
    Ok(Some(stepped))
}

/// In the writer's transaction the row is what it is: a part that is held here was neither released nor failed by us. At the
/// deadline LDK may fail it before we do.
fn unasked(hold: &Hold, event: &HoldEvent, height: BlockHeight) -> Option<(DifferenceKind, Part)> {
    let (id, kind) = match event {
        HoldEvent::PartClaimed(id) => (*id, DifferenceKind::ClaimedUnreleased),
        HoldEvent::PartFailedBack(id) if height < hold.group().terms.deadline => {
            (*id, DifferenceKind::FailedUnasked)
        }
        _ => return None,
    };
    find(hold, id).filter(|part| part.state == PartState::Held).map(|part| (kind, part))
}

fn find(hold: &Hold, id: InterceptId) -> Option<Part> {
    hold.group().parts.iter().find(|part| part.intercept_id == id).cloned()
}

/// Until LDK would close the payer's channel over the part that runs out first.
fn wake_secs(hold: &Hold, height: BlockHeight) -> u64 {
    hold.group()
        .parts
        .iter()
        .filter(|part| part.waits_for_payer())
        .filter_map(|part| part.inbound_expiry)
        .map(|expiry| u64::from(deadline::settle_window(expiry, height)) * BLOCK_SECS)
        .min()
        .unwrap_or_default()
        .max(WAKE_SECS_MIN)
}
