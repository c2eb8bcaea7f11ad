//! What can happen to a hold, and what follows.

use std::collections::HashSet;

use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::part::{FailCause, Part};
use super::{Hold, HoldOutcome};
use crate::units::BlockHeight;
use crate::wake::WakeReason;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldEvent {
    /// LDK says that it has this HTLC intercepted: it has just arrived, or LDK tells again after a restart, or it
    /// refused to forward it and kept it. Never step this once LDK has taken a forward or a failure of the part.
    PartIntercepted(Part),
    /// As [`Self::PartIntercepted`], for a part that a limit of the server forbids. A part that was accepted
    /// before is not judged again.
    PartRefused {
        /// The HTLC.
        part: Part,
        /// Which limit: [`FailCause::TooSmall`] or [`FailCause::OverLimit`].
        cause: FailCause,
    },
    /// The pid came, in an onion message from the payee.
    Unblocked,
    /// The payee said no in a way that this LSP can see.
    Refused,
    /// The payer cancelled; its signature is checked.
    Cancelled,
    /// There is a new best block.
    HeightAdvanced,
    /// These parts could all be forwarded right now, together: the sums per outgoing channel fit.
    Carriable {
        /// Their ids. Only parts that LDK has told of since the server started: of the others it is not known whether
        /// LDK still has them, and its telling of them may be on its way.
        parts: HashSet<InterceptId>,
    },
    /// A way out has closed since the release of these parts was decided. LDK was told of none of them and still has them.
    ReleaseWithdrawn {
        /// Their ids.
        parts: Vec<InterceptId>,
    },
    /// The preimage was seen downstream (LDK `PaymentForwarded`). May repeat.
    PartClaimed(InterceptId),
    /// LDK has failed the part towards the payer, and the removal waits for the payer. May repeat.
    PartFailedBack(InterceptId),
    /// The part has left the payer's channel. May repeat.
    PartOffChannel {
        /// Which part.
        id: InterceptId,
        /// Whether it left with the preimage. A part whose claim was seen counts as settled either way.
        settled: bool,
    },
    /// Reconciled: LDK has neither an intercepted nor a pending inbound HTLC of this id, on a channel or on chain.
    PartUnknownToLdk(InterceptId),
    /// Reconciled: LDK's HTLC of this id has another hash, amount or expiry than was stored. Whatever is still held fails: a
    /// part that is not what it was taken for must not be released.
    PartContradicted(InterceptId),
    /// This channel of the payer closes or shuts down.
    PayerChannelClosing(ChannelId),
    /// The server has started, and this hold was loaded. Step it before the events that LDK tells again.
    Restarted,
}

/// What the driver must do once the stepped hold is committed. Each may be asked for again, and must be idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Find out which held parts can be carried, and step [`HoldEvent::Carriable`]: now, when a next hop connects,
    /// and at each block.
    CheckRoutes,
    /// Forward these parts, all in one go. If one of them cannot go any more, step [`HoldEvent::ReleaseWithdrawn`] instead; where
    /// LDK refuses and keeps a part, [`HoldEvent::PartIntercepted`] with it.
    Forward {
        /// Every part that was held.
        parts: Vec<InterceptId>,
    },
    /// Fail this part to the payer. That LDK does not know it (any more) is no error.
    Fail {
        /// Which part.
        part: InterceptId,
        /// For the record; LDK sends the same failure for all.
        cause: FailCause,
    },
    /// See to it that the payer is woken for this reason, unless it is connected or such a wake is already scheduled.
    Wake {
        /// Why.
        reason: WakeReason,
    },
    /// Nothing is left to wake the payer for.
    EndWakes {
        /// The reason that is gone.
        reason: WakeReason,
    },
    /// Stop sending the payer's payment_pending again.
    DropPending,
    /// The hold is over. Comes again if a late part opened it again, or if a claim corrects the outcome.
    Ended(HoldOutcome),
}

/// A stepped hold. Commit the hold first, then run the effects.
#[must_use = "the stepped hold must be stored before its effects run"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The hold as it is now.
    pub hold: Hold,
    /// What to do, in this order.
    pub effects: Vec<Effect>,
}

/// The event does not apply. Nothing has changed: the stored hold still stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The part pays a hash that this hold does not name.
    #[error("payment hash {0} is not under this hold")]
    HashNotHeld(PaymentHash),
    /// No such part came under this hold.
    #[error("no part {0} under this hold")]
    UnknownPart(InterceptId),
    /// The payee has, or may come to have, the money.
    #[error("too late to cancel: the payment is released")]
    CancelTooLate,
}

/// Applies one event at height `now`. Pure: the same hold, event and height always give the same step.
///
/// The deadline comes before the event: whatever arrives with it or after it finds the hold expired.
pub fn step(hold: Hold, event: HoldEvent, now: BlockHeight) -> Result<Step, StepError> {
    let ended_before = hold.outcome();
    let wakes_before = hold.group().wakes(now);
    let ensured = match event {
        HoldEvent::Restarted => WakeReason::ALL,
        HoldEvent::HeightAdvanced => &[WakeReason::ExpirySoon],
        _ => &[],
    };
    let mut effects = Vec::new();

    let hold = hold.expired(now, &mut effects).applied(event, now, &mut effects)?.ended_if_over(now);

    let wakes = hold.group().wakes(now);
    let started = wakes.iter().filter(|reason| !wakes_before.contains(reason) || ensured.contains(reason));
    effects.extend(started.map(|&reason| Effect::Wake { reason }));
    let over = wakes_before.iter().filter(|reason| !wakes.contains(reason));
    effects.extend(over.map(|&reason| Effect::EndWakes { reason }));
    if let Some(outcome) = hold.outcome()
        && ended_before != Some(outcome)
    {
        effects.push(Effect::Ended(outcome));
    }
    Ok(Step { hold, effects })
}

impl Hold {
    /// At the deadline every part that is still held fails, unblocked or not.
    fn expired(self, now: BlockHeight, effects: &mut Vec<Effect>) -> Self {
        if now < self.group().terms.deadline {
            return self;
        }
        match self {
            Self::Waiting(_) => self.failed(FailCause::Expired, effects),
            Self::Unblocked(ref group) if group.has_held() => self.failed(FailCause::Expired, effects),
            other => other,
        }
    }

    fn applied(
        self,
        event: HoldEvent,
        now: BlockHeight,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, StepError> {
        match event {
            HoldEvent::PartIntercepted(part) => self.admitted(part, Ok(()), now, effects),
            HoldEvent::PartRefused { part, cause } => self.admitted(part, Err(cause), now, effects),
            HoldEvent::Unblocked => Ok(self.unblocked(effects)),
            HoldEvent::Refused if self.group().is_committed() => Ok(self),
            HoldEvent::Refused => Ok(self.failed(FailCause::Refused, effects)),
            HoldEvent::Cancelled if self.group().is_committed() => Err(StepError::CancelTooLate),
            HoldEvent::Cancelled => Ok(self.failed(FailCause::Cancelled, effects)),
            HoldEvent::PayerChannelClosing(channel) if self.group().has_held_on(channel) => {
                Ok(self.failed(FailCause::PayerChannelClosing, effects))
            }
            HoldEvent::PayerChannelClosing(_) => Ok(self),
            HoldEvent::HeightAdvanced => Ok(self.checked_routes(effects)),
            HoldEvent::Carriable { parts } => Ok(match self {
                Self::Unblocked(group) => Self::Unblocked(group.release(&parts, effects)),
                other => other,
            }),
            HoldEvent::ReleaseWithdrawn { parts } => Ok(self.withdrawn(&parts, now, effects)),
            HoldEvent::PartClaimed(id) => self.transit(id, Part::claimed),
            HoldEvent::PartFailedBack(id) => self.transit(id, Part::failed_back),
            HoldEvent::PartOffChannel { id, settled } => {
                self.transit(id, if settled { Part::settled } else { Part::off_channel })
            }
            HoldEvent::PartUnknownToLdk(id) => self.transit(id, Part::off_channel),
            HoldEvent::PartContradicted(id) if !self.group().has(id) => Err(StepError::UnknownPart(id)),
            HoldEvent::PartContradicted(_) => Ok(self.failed(FailCause::Contradicted, effects)),
            HoldEvent::Restarted => Ok(self.checked_routes(effects).told_again(effects)),
        }
    }
}
