//! One held HTLC.

use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::RowError;
use crate::codes::coded_enum;
use crate::deadline;
use crate::units::{BlockHeight, Msat};

/// An HTLC that came from the payer under a hold. With MPP a hold has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// LDK's name of the HTLC while it is intercepted; ours for its whole life.
    pub intercept_id: InterceptId,
    /// The hash that it pays; one of the hold's.
    pub payment_hash: PaymentHash,
    /// The payer's channel that it arrived on.
    pub inbound_channel_id: ChannelId,
    /// Its number on that channel (BOLT 2 `id` of `update_add_htlc`).
    pub inbound_htlc_id: u64,
    /// What the payer offered.
    pub inbound_amount: Msat,
    /// What the onion says to forward.
    pub outbound_amount: Msat,
    /// The height at which it expires on the payer's channel, where known.
    pub inbound_expiry: Option<BlockHeight>,
    /// The `outgoing_cltv_value` of the onion: absolute, so every block held is one that the later hops lose.
    pub outgoing_expiry: BlockHeight,
    /// The channel that the onion names as the next one.
    pub next_hop_scid: u64,
    /// Where it stands. [`super::step()`] alone decides it; what an arriving part says here is ignored.
    pub state: PartState,
}

/// Where a part stands.
///
/// What LDK reports about money (claimed, failed, off the channel) overrides what was decided here: LDK takes an
/// intercepted HTLC out of its own map exactly once, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// Intercepted, and nothing is decided.
    Held,
    /// Its release is decided. LDK may or may not have been told.
    Releasing,
    /// The preimage was seen downstream. The payer must come to take the HTLC off its channel.
    Claimed,
    /// Its failure is decided. LDK may or may not have been told.
    Failing(FailCause),
    /// LDK has failed it. The payer must come to take the HTLC off its channel.
    FailedBack(FailCause),
    /// Off the payer's channel with the payee paid: terminal.
    Settled,
    /// Off the payer's channel with the payer's money back: terminal.
    Failed(FailCause),
}

coded_enum! {
    /// Why a part, and with it a hold, failed.
    pub enum FailCause ("fail cause") {
        /// The payer cancelled.
        Cancelled = "cancelled",
        /// The payee refused.
        Refused = "refused",
        /// The deadline came.
        Expired = "expired",
        /// The part came with too few blocks left after the deadline for its later hops.
        TooLate = "too_late",
        /// The part is smaller than the LSP can claim on chain.
        TooSmall = "too_small",
        /// The LSP holds as much as it may.
        OverLimit = "over_limit",
        /// A payer's channel that carries a held part closes or shuts down.
        PayerChannelClosing = "payer_channel_closing",
        /// The part came when the hold had already been settled.
        HoldEnded = "hold_ended",
        /// It was released, and a later hop or the payee failed it.
        Downstream = "downstream",
        /// What the LSP stored of a part is not what LDK has.
        Contradicted = "contradicted",
        /// LDK failed it, or no longer has it, and nothing here had decided so.
        Vanished = "vanished",
    }
}

coded_enum! {
    /// [`PartState`] without its cause: the text of a row's state column.
    pub enum PartStateTag ("part state") {
        /// [`PartState::Held`]
        Held = "held",
        /// [`PartState::Releasing`]
        Releasing = "releasing",
        /// [`PartState::Claimed`]
        Claimed = "claimed",
        /// [`PartState::Failing`]
        Failing = "failing",
        /// [`PartState::FailedBack`]
        FailedBack = "failed_back",
        /// [`PartState::Settled`]
        Settled = "settled",
        /// [`PartState::Failed`]
        Failed = "failed",
    }
}

impl Part {
    /// Whether the part leaves its later hops enough blocks under this deadline.
    pub(super) fn fits(&self, deadline: BlockHeight) -> bool {
        deadline::part_fits(deadline, self.outgoing_expiry, deadline::MARGIN)
    }

    /// Whether the HTLC is (or may be) still on the payer's channel.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, PartState::Settled | PartState::Failed(_))
    }

    /// Whether the payee has, or may come to have, the money: from here on a cancel is too late.
    pub(super) fn is_committed(&self) -> bool {
        matches!(self.state, PartState::Releasing | PartState::Claimed | PartState::Settled)
    }

    /// Whether the payer must come online for the HTLC to leave its channel.
    pub fn waits_for_payer(&self) -> bool {
        matches!(self.state, PartState::Claimed | PartState::Failing(_) | PartState::FailedBack(_))
    }

    /// The preimage was seen: it outranks everything. A part that had been written off is off its channel already.
    pub(super) fn claimed(self) -> Self {
        let state = match self.state {
            PartState::Settled | PartState::Failed(_) => PartState::Settled,
            _ => PartState::Claimed,
        };
        Self { state, ..self }
    }

    /// LDK has failed the HTLC towards the payer. A claim is never undone by it.
    pub(super) fn failed_back(self) -> Self {
        let state = match self.state {
            PartState::Held => PartState::FailedBack(FailCause::Vanished),
            PartState::Releasing => PartState::FailedBack(FailCause::Downstream),
            PartState::Failing(cause) => PartState::FailedBack(cause),
            state => state,
        };
        Self { state, ..self }
    }

    /// The HTLC has left the payer's channel with the preimage.
    pub(super) fn settled(self) -> Self {
        Self { state: PartState::Settled, ..self }
    }

    /// The HTLC has left the payer's channel, and its own state says how.
    pub(super) fn off_channel(self) -> Self {
        let state = match self.state {
            PartState::Claimed | PartState::Settled => PartState::Settled,
            PartState::Held => PartState::Failed(FailCause::Vanished),
            PartState::Releasing => PartState::Failed(FailCause::Downstream),
            PartState::Failing(cause) | PartState::FailedBack(cause) | PartState::Failed(cause) => {
                PartState::Failed(cause)
            }
        };
        Self { state, ..self }
    }
}

impl PartState {
    /// The state column of the part's row.
    pub fn tag(self) -> PartStateTag {
        match self {
            Self::Held => PartStateTag::Held,
            Self::Releasing => PartStateTag::Releasing,
            Self::Claimed => PartStateTag::Claimed,
            Self::Failing(_) => PartStateTag::Failing,
            Self::FailedBack(_) => PartStateTag::FailedBack,
            Self::Settled => PartStateTag::Settled,
            Self::Failed(_) => PartStateTag::Failed,
        }
    }

    /// The cause column of the part's row.
    pub fn cause(self) -> Option<FailCause> {
        match self {
            Self::Failing(cause) | Self::FailedBack(cause) | Self::Failed(cause) => Some(cause),
            Self::Held | Self::Releasing | Self::Claimed | Self::Settled => None,
        }
    }

    /// Rebuilds a state from its two columns.
    pub fn from_row(tag: PartStateTag, cause: Option<FailCause>) -> Result<Self, RowError> {
        Ok(match (tag, cause) {
            (PartStateTag::Held, None) => Self::Held,
            (PartStateTag::Releasing, None) => Self::Releasing,
            (PartStateTag::Claimed, None) => Self::Claimed,
            (PartStateTag::Settled, None) => Self::Settled,
            (PartStateTag::Failing, Some(cause)) => Self::Failing(cause),
            (PartStateTag::FailedBack, Some(cause)) => Self::FailedBack(cause),
            (PartStateTag::Failed, Some(cause)) => Self::Failed(cause),
            (tag, cause) => return Err(RowError::PartCause { tag, cause }),
        })
    }
}
