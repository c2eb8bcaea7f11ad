//! The hold: the LSP's promise to keep every HTLC with certain payment hashes from one payer until unblock, cancel or
//! deadline.
//!
//! [`step()`] is the whole of it: `(hold, event, height) -> (hold, effects)`, without IO. The driver loads the hold from
//! its rows, steps it, commits it together with whatever the effects need, and then runs the effects. A crash
//! in between is made good by [`HoldEvent::Restarted`] and by LDK, which tells of every HTLC that it still holds again.
//!
//! ```text
//! Waiting ──unblocked──▶ Unblocked ──every part off the payer's channel──▶ Ended
//!    │                      │                                                ▲ │
//!    └──cancelled, refused, deadline, payer's channel closing──▶ Failing ────┘ │
//!                                                                  ▲           │
//!                                                                  └──a part──◀┘
//! ```
//!
//! - Nothing is released but from [`Hold::Unblocked`] and below the deadline, and then all that is held at once.
//! - Cancel and release race to one winner: a cancel is refused once a part is released, and what is cancelled is
//!   never released.
//! - Parts that come when the hold has failed or ended fail at once. The driver therefore steps the newest hold of
//!   (payer, hash), and an ended one counts too: to forward a late part as if there were no hold would release
//!   it without the pid.

mod group;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod model;
mod part;
mod row;
mod status;
mod step;
#[cfg(test)]
mod tests;

pub use group::{Group, HoldTerms};
pub use part::{FailCause, Part, PartState, PartStateTag};
pub use row::{HoldStateTag, RowError};
pub use step::{Effect, HoldEvent, Step, StepError, step};

use lightning::ln::channelmanager::InterceptId;

use crate::units::BlockHeight;

/// A hold, by state.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Granted; parts are held as they come.
    Waiting(Group),
    /// The pid came. Held parts go as soon as all of them can be carried; later ones on arrival.
    Unblocked(Group),
    /// Given up for this cause. Nothing is held any more; parts may still be on the payer's channel.
    Failing(Group, FailCause),
    /// Over: every part is off the payer's channel.
    Ended(Group, HoldOutcome),
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldOutcome {
    /// The payee was paid.
    Settled,
    /// The payer has its money back.
    Failed(FailCause),
    /// The deadline came and no part ever had.
    Unused,
}

impl Hold {
    /// A hold that has just been granted.
    pub fn new(terms: HoldTerms) -> Self {
        Self::Waiting(Group { terms, parts: Vec::new() })
    }

    /// The terms and the parts.
    pub fn group(&self) -> &Group {
        match self {
            Self::Waiting(group)
            | Self::Unblocked(group)
            | Self::Failing(group, _)
            | Self::Ended(group, _) => group,
        }
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<HoldOutcome> {
        match self {
            Self::Ended(_, outcome) => Some(*outcome),
            Self::Waiting(_) | Self::Unblocked(_) | Self::Failing(..) => None,
        }
    }

    fn unblocked(self, effects: &mut Vec<Effect>) -> Self {
        let hold = match self {
            Self::Waiting(group) => {
                effects.push(Effect::DropPending);
                Self::Unblocked(group)
            }
            other => other,
        };
        hold.checked_routes(effects)
    }

    /// Gives up: held parts fail, released ones run their course.
    fn failed(self, cause: FailCause, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Waiting(group) => {
                effects.push(Effect::DropPending);
                Self::Failing(group.fail_held(cause, effects), cause)
            }
            Self::Unblocked(group) => Self::Failing(group.fail_held(cause, effects), cause),
            given_up @ (Self::Failing(..) | Self::Ended(..)) => given_up,
        }
    }

    /// LDK holds this HTLC. `limits` is what the server's limits say to one that is new.
    fn admitted(
        self,
        part: Part,
        limits: Result<(), FailCause>,
        now: BlockHeight,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, StepError> {
        let in_time = self.in_time(now);
        let hold = match self {
            Self::Waiting(group) => Self::Waiting(group.admit(part, in_time, limits, effects)?),
            Self::Unblocked(group) => Self::Unblocked(group.admit(part, in_time, limits, effects)?),
            Self::Failing(group, cause) => {
                Self::Failing(group.admit(part, Err(cause), limits, effects)?, cause)
            }
            Self::Ended(group, outcome) => {
                let cause = match outcome {
                    HoldOutcome::Failed(cause) => cause,
                    HoldOutcome::Settled => FailCause::HoldEnded,
                    HoldOutcome::Unused => FailCause::Expired,
                };
                Self::Failing(group.admit(part, Err(cause), limits, effects)?, cause)
            }
        };
        Ok(hold.checked_routes(effects))
    }

    fn in_time(&self, now: BlockHeight) -> Result<(), FailCause> {
        if now < self.group().terms.deadline { Ok(()) } else { Err(FailCause::Expired) }
    }

    /// A release that did not happen is decided anew, with the whole group.
    fn withdrawn(self, parts: &[InterceptId], now: BlockHeight, effects: &mut Vec<Effect>) -> Self {
        let in_time = self.in_time(now);
        let hold = match self {
            Self::Unblocked(group) => Self::Unblocked(group.withdraw(parts, in_time, effects)),
            Self::Failing(group, cause) => Self::Failing(group.withdraw(parts, Err(cause), effects), cause),
            // Nothing is released from it.
            other @ (Self::Waiting(_) | Self::Ended(..)) => other,
        };
        hold.checked_routes(effects)
    }

    fn transit(self, id: InterceptId, transition: fn(Part) -> Part) -> Result<Self, StepError> {
        Ok(match self {
            Self::Waiting(group) => Self::Waiting(group.transit(id, transition)?),
            Self::Unblocked(group) => Self::Unblocked(group.transit(id, transition)?),
            Self::Failing(group, cause) => Self::Failing(group.transit(id, transition)?, cause),
            Self::Ended(group, outcome) => Self::Ended(group.transit(id, transition)?, outcome),
        })
    }

    fn checked_routes(self, effects: &mut Vec<Effect>) -> Self {
        if let Self::Unblocked(group) = &self
            && group.has_held()
        {
            effects.push(Effect::CheckRoutes);
        }
        self
    }

    /// Whether LDK was told of a failure before the crash is not known; telling it twice does no harm.
    fn told_again(self, effects: &mut Vec<Effect>) -> Self {
        let failing = self.group().parts.iter().filter_map(|part| match part.state {
            PartState::Failing(cause) => Some(Effect::Fail { part: part.intercept_id, cause }),
            _ => None,
        });
        effects.extend(failing);
        self
    }

    fn ended_if_over(self, now: BlockHeight) -> Self {
        match self {
            Self::Failing(group, cause) if !group.is_live() => {
                let outcome = group.outcome(cause);
                Self::Ended(group, outcome)
            }
            Self::Unblocked(group)
                if !group.is_live() && (group.is_complete() || now >= group.terms.deadline) =>
            {
                let outcome = group.outcome(group.first_cause().unwrap_or(FailCause::Expired));
                Self::Ended(group, outcome)
            }
            // A claim that comes to light after the end corrects it.
            Self::Ended(group, outcome) => {
                let outcome = if group.is_settled() { HoldOutcome::Settled } else { outcome };
                Self::Ended(group, outcome)
            }
            other => other,
        }
    }
}
