//! The terms of a hold and the parts that came under it.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::part::{FailCause, Part, PartState};
use super::step::Effect;
use super::{HoldOutcome, StepError};
use crate::deadline;
use crate::ids::PidHash;
use crate::units::BlockHeight;
use crate::wake::WakeReason;

/// What the LSP promised to the payer in `payment_block_ack`. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    /// The node that signed the block request. Only HTLCs from its channels are held.
    pub payer: PublicKey,
    /// SHA256(pid).
    pub pid_hash: PidHash,
    /// The hashes that are held.
    pub payment_hashes: Vec<PaymentHash>,
    /// The height, as granted, at which every held part fails.
    pub deadline: BlockHeight,
}

/// The payment group: everything under one hold, released or failed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The promise.
    pub terms: HoldTerms,
    /// Every part that ever came, in order of arrival.
    pub parts: Vec<Part>,
}

impl Group {
    /// The parts for which nothing is decided.
    pub fn held(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.state == PartState::Held)
    }

    /// Whether any part is still (or may still be) on a channel of the payer.
    pub fn is_live(&self) -> bool {
        self.parts.iter().any(Part::is_live)
    }

    /// Whether the payee has, or may come to have, some of the money.
    pub fn is_committed(&self) -> bool {
        self.parts.iter().any(Part::is_committed)
    }

    /// Whether a part was settled: the payee has money of the payer.
    pub(super) fn is_settled(&self) -> bool {
        self.parts.iter().any(|part| part.state == PartState::Settled)
    }

    pub(super) fn has(&self, id: InterceptId) -> bool {
        self.parts.iter().any(|part| part.intercept_id == id)
    }

    pub(super) fn has_held(&self) -> bool {
        self.held().next().is_some()
    }

    pub(super) fn has_held_on(&self, channel: ChannelId) -> bool {
        self.held().any(|part| part.inbound_channel_id == channel)
    }

    /// Whether every hash had a part that was fit to be released. Until then an unblock waits for late parts.
    pub(super) fn is_complete(&self) -> bool {
        let came = |hash: &PaymentHash| {
            self.parts.iter().any(|part| {
                part.payment_hash == *hash
                    && !matches!(
                        part.state.cause(),
                        Some(FailCause::TooLate | FailCause::TooSmall | FailCause::OverLimit)
                    )
            })
        };
        self.terms.payment_hashes.iter().all(came)
    }

    /// Moves one part by a transition of its own.
    pub(super) fn transit(
        mut self,
        id: InterceptId,
        transition: fn(Part) -> Part,
    ) -> Result<Self, StepError> {
        let part =
            self.parts.iter_mut().find(|part| part.intercept_id == id).ok_or(StepError::UnknownPart(id))?;
        *part = transition(part.clone());
        Ok(self)
    }

    /// Fails every part that is held; what is released stays released.
    pub(super) fn fail_held(mut self, cause: FailCause, effects: &mut Vec<Effect>) -> Self {
        for part in self.parts.iter_mut().filter(|part| part.state == PartState::Held) {
            part.state = PartState::Failing(cause);
            effects.push(Effect::Fail { part: part.intercept_id, cause });
        }
        self
    }

    /// Releases every held part if all of them can be carried, else none: the payee drops an incomplete MPP set.
    pub(super) fn release(mut self, carriable: &HashSet<InterceptId>, effects: &mut Vec<Effect>) -> Self {
        let held: Vec<_> = self.held().map(|part| part.intercept_id).collect();
        if held.is_empty() || !held.iter().all(|id| carriable.contains(id)) {
            return self;
        }
        for part in self.parts.iter_mut().filter(|part| part.state == PartState::Held) {
            part.state = PartState::Releasing;
        }
        effects.push(Effect::Forward { parts: held });
        self
    }

    /// Takes back the release of those of `parts` of which nothing more is known; `verdict` is what the hold says to any part now.
    pub(super) fn withdraw(
        mut self,
        parts: &[InterceptId],
        verdict: Result<(), FailCause>,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let is_withdrawn =
            |part: &&mut Part| part.state == PartState::Releasing && parts.contains(&part.intercept_id);
        for part in self.parts.iter_mut().filter(is_withdrawn) {
            part.state = PartState::Held;
            if let Err(cause) = verdict {
                part.state = PartState::Failing(cause);
                effects.push(Effect::Fail { part: part.intercept_id, cause });
            }
        }
        self
    }

    /// LDK holds this HTLC. `verdict` is what the hold says to any part now, `limits` what the server says to a new one.
    pub(super) fn admit(
        mut self,
        part: Part,
        verdict: Result<(), FailCause>,
        limits: Result<(), FailCause>,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, StepError> {
        if !self.terms.payment_hashes.contains(&part.payment_hash) {
            return Err(StepError::HashNotHeld(part.payment_hash));
        }
        let id = part.intercept_id;
        let fits = part.fits(self.terms.deadline);
        let decided =
            |verdict: Result<(), FailCause>| verdict.map_or_else(PartState::Failing, |()| PartState::Held);
        let known = self.parts.iter_mut().find(|known| known.intercept_id == id);
        let state = match known.as_ref().map(|known| known.state) {
            None if fits => decided(verdict.and(limits)),
            None => decided(verdict.and(Err(FailCause::TooLate))),
            // LDK still has it, so a release that was decided before a crash never happened, and a part that was
            // missing is back. It is decided anew, with the whole group, once the channels are up again.
            Some(
                PartState::Held
                | PartState::Releasing
                | PartState::FailedBack(FailCause::Vanished)
                | PartState::Failed(FailCause::Vanished),
            ) => decided(verdict),
            Some(PartState::Failing(cause) | PartState::FailedBack(cause) | PartState::Failed(cause)) => {
                PartState::Failing(cause)
            }
            // A preimage is known: LDK's own replay of the claim resolves the HTLC, and failing it would lose money.
            Some(claimed @ (PartState::Claimed | PartState::Settled)) => claimed,
        };
        match known {
            Some(known) => known.state = state,
            None => self.parts.push(Part { state, ..part }),
        }
        if let PartState::Failing(cause) = state {
            effects.push(Effect::Fail { part: id, cause });
        }
        Ok(self)
    }

    /// How a group ends that was failing for `cause`.
    pub(super) fn outcome(&self, cause: FailCause) -> HoldOutcome {
        if self.is_settled() {
            HoldOutcome::Settled
        } else if self.parts.is_empty() && cause == FailCause::Expired {
            HoldOutcome::Unused
        } else {
            HoldOutcome::Failed(cause)
        }
    }

    /// Why the first part failed, for a hold that was released and ended without being settled.
    pub(super) fn first_cause(&self) -> Option<FailCause> {
        self.parts.iter().find_map(|part| part.state.cause())
    }

    /// The wakes that the payer needs at this height, unless it is here.
    pub fn wakes(&self, now: BlockHeight) -> Vec<WakeReason> {
        let waiting = || self.parts.iter().filter(|part| part.waits_for_payer());
        let near = |expiry| deadline::settle_window(expiry, now) <= deadline::EXPIRY_SOON_BLOCKS;
        let mut wakes = Vec::new();
        if waiting().any(|part| part.state == PartState::Claimed) {
            wakes.push(WakeReason::PaymentSettled);
        }
        if waiting().any(|part| part.state != PartState::Claimed) {
            wakes.push(WakeReason::PaymentFailed);
        }
        let deadline_is_near = now >= self.terms.deadline.minus(deadline::DEADLINE_NEAR_BLOCKS);
        if (self.has_held() && deadline_is_near) || waiting().filter_map(|part| part.inbound_expiry).any(near)
        {
            wakes.push(WakeReason::ExpirySoon);
        }
        wakes
    }
}
