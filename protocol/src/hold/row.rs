//! The hold as rows: one of its own, and one for each part.

use lightning::types::payment::PaymentHash;

use super::part::{FailCause, Part, PartState, PartStateTag};
use super::{Group, Hold, HoldOutcome, HoldTerms};
use crate::codes::coded_enum;

coded_enum! {
    /// The text of a hold row's state column. [`FailCause`] is the column beside it.
    pub enum HoldStateTag ("hold state") {
        /// [`Hold::Waiting`]
        Waiting = "waiting",
        /// [`Hold::Unblocked`]
        Unblocked = "unblocked",
        /// [`Hold::Failing`]
        Failing = "failing",
        /// [`HoldOutcome::Settled`]
        Settled = "settled",
        /// [`HoldOutcome::Failed`]
        Failed = "failed",
        /// [`HoldOutcome::Unused`]
        Unused = "unused",
    }
}

impl HoldStateTag {
    /// Whether the hold has ended.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Settled | Self::Failed | Self::Unused)
    }
}

/// The rows of a hold contradict each other. Fail closed: neither forward nor fail its parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A failure without a cause, or a cause without a failure.
    #[error("hold state {tag} does not go with cause {cause:?}")]
    HoldCause {
        /// The state column.
        tag: HoldStateTag,
        /// The cause column.
        cause: Option<FailCause>,
    },
    /// As [`Self::HoldCause`], for a part.
    #[error("part state {tag} does not go with cause {cause:?}")]
    PartCause {
        /// The state column.
        tag: PartStateTag,
        /// The cause column.
        cause: Option<FailCause>,
    },
    /// A hold names at least one hash.
    #[error("a hold without payment hashes")]
    NoHashes,
    /// The hashes are not those that the hold was granted with.
    #[error("a hold with other payment hashes than it was granted with")]
    OtherHashes,
    /// A part pays a hash that its hold does not name.
    #[error("a part pays {0}, which its hold does not name")]
    ForeignPart(PaymentHash),
    /// A part stands where no part of a hold in this state can.
    #[error("a part that is {part} under a hold that is {hold}")]
    PartUnderHold {
        /// The part's state column.
        part: PartStateTag,
        /// The hold's state column.
        hold: HoldStateTag,
    },
}

impl Hold {
    /// Rebuilds a hold from its row and those of its parts, in order of arrival.
    pub fn from_row(
        terms: HoldTerms,
        tag: HoldStateTag,
        cause: Option<FailCause>,
        parts: Vec<Part>,
    ) -> Result<Self, RowError> {
        if terms.payment_hashes.is_empty() {
            return Err(RowError::NoHashes);
        }
        for part in &parts {
            if !terms.payment_hashes.contains(&part.payment_hash) {
                return Err(RowError::ForeignPart(part.payment_hash));
            }
            let impossible = match tag {
                HoldStateTag::Waiting => part.state == PartState::Releasing,
                HoldStateTag::Unblocked => false,
                HoldStateTag::Failing => part.state == PartState::Held,
                HoldStateTag::Settled | HoldStateTag::Failed | HoldStateTag::Unused => part.is_live(),
            };
            if impossible {
                return Err(RowError::PartUnderHold { part: part.state.tag(), hold: tag });
            }
        }
        let group = Group { terms, parts };
        Ok(match (tag, cause) {
            (HoldStateTag::Waiting, None) => Self::Waiting(group),
            (HoldStateTag::Unblocked, None) => Self::Unblocked(group),
            (HoldStateTag::Failing, Some(cause)) => Self::Failing(group, cause),
            (HoldStateTag::Settled, None) => Self::Ended(group, HoldOutcome::Settled),
            (HoldStateTag::Failed, Some(cause)) => Self::Ended(group, HoldOutcome::Failed(cause)),
            (HoldStateTag::Unused, None) => Self::Ended(group, HoldOutcome::Unused),
            (tag, cause) => return Err(RowError::HoldCause { tag, cause }),
        })
    }

    /// The state column of the hold's row.
    pub fn tag(&self) -> HoldStateTag {
        match self {
            Self::Waiting(_) => HoldStateTag::Waiting,
            Self::Unblocked(_) => HoldStateTag::Unblocked,
            Self::Failing(..) => HoldStateTag::Failing,
            Self::Ended(_, HoldOutcome::Settled) => HoldStateTag::Settled,
            Self::Ended(_, HoldOutcome::Failed(_)) => HoldStateTag::Failed,
            Self::Ended(_, HoldOutcome::Unused) => HoldStateTag::Unused,
        }
    }

    /// The text of [`Self::tag`].
    pub fn state_name(&self) -> &'static str {
        self.tag().as_str()
    }

    /// The cause column of the hold's row.
    pub fn cause(&self) -> Option<FailCause> {
        match self {
            Self::Failing(_, cause) | Self::Ended(_, HoldOutcome::Failed(cause)) => Some(*cause),
            Self::Waiting(_) | Self::Unblocked(_) | Self::Ended(..) => None,
        }
    }
}
