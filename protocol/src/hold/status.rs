//! What the payer is told of its hold.

use super::part::{FailCause, PartState};
use super::{Group, Hold, HoldOutcome};
use crate::units::Msat;
use crate::wire::{HashStatus, HoldStateCode, HoldStatus};

impl Hold {
    /// The hold as `payment_status_reply` tells it. `pending_in_care` says whether the LSP keeps the payer's payment_pending.
    pub fn status(&self, pending_in_care: bool) -> HoldStatus {
        let group = self.group();
        let hashes = group.terms.payment_hashes.iter().map(|&payment_hash| {
            let amounts = group
                .parts
                .iter()
                .filter(|part| part.payment_hash == payment_hash && self.counts(part.state))
                .map(|part| part.inbound_amount);
            HashStatus {
                payment_hash,
                held_parts: u16::try_from(amounts.clone().count()).unwrap_or(u16::MAX),
                held: amounts.sum::<Msat>(),
            }
        });
        HoldStatus {
            pid_hash: group.terms.pid_hash,
            state: self.status_code(),
            deadline: group.terms.deadline,
            pending_in_care,
            hashes: hashes.collect(),
        }
    }

    /// The hold's state as the payer is told.
    pub fn status_code(&self) -> HoldStateCode {
        match self {
            Self::Waiting(group) if group.has_held() => HoldStateCode::Held,
            Self::Waiting(_) => HoldStateCode::Waiting,
            Self::Unblocked(group) if group.has_held() => HoldStateCode::Unblocked,
            Self::Unblocked(group) => released(group).unwrap_or(if group.is_live() {
                HoldStateCode::Failed
            } else {
                HoldStateCode::Unblocked
            }),
            Self::Failing(group, cause) => released(group).unwrap_or_else(|| failed(*cause)),
            Self::Ended(_, HoldOutcome::Settled) => HoldStateCode::Settled,
            Self::Ended(_, HoldOutcome::Failed(cause)) => failed(*cause),
            Self::Ended(_, HoldOutcome::Unused) => HoldStateCode::Expired,
        }
    }

    /// Whether a part counts among those that the LSP has. While the payer decides by it whether it may leave, a part that
    /// was failed alone does not; once all of them fail, those count that the payer must still come for.
    fn counts(&self, part: PartState) -> bool {
        match part {
            PartState::Held | PartState::Releasing | PartState::Claimed => true,
            PartState::Failing(_) | PartState::FailedBack(_) => matches!(self, Self::Failing(..)),
            PartState::Settled | PartState::Failed(_) => false,
        }
    }
}

/// What the payer is told of a group of which something was released.
fn released(group: &Group) -> Option<HoldStateCode> {
    let any = |state| group.parts.iter().any(|part| part.state == state);
    if any(PartState::Claimed) || any(PartState::Settled) {
        Some(HoldStateCode::Claimed)
    } else if any(PartState::Releasing) {
        Some(HoldStateCode::Released)
    } else {
        None
    }
}

fn failed(cause: FailCause) -> HoldStateCode {
    match cause {
        FailCause::Cancelled => HoldStateCode::Cancelled,
        FailCause::Expired => HoldStateCode::Expired,
        _ => HoldStateCode::Failed,
    }
}
