//! Holds, and what the database and LDK do not agree on.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use serde::{Deserialize, Serialize};

use crate::api::text::{hex32, hex32_list, own, own_option};
use crate::hold::{FailCause, Hold, HoldStateTag, Part, PartState, PartStateTag};
use crate::ids::{Pid, PidHash};
use crate::units::{BlockHeight, Msat};

/// The query of `GET /v1/holds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct ListHoldsQuery {
    /// The holds that are over, too.
    #[serde(default)]
    pub ended: bool,
}

/// `GET /v1/holds`: one hold in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldSummary {
    /// The node that signed for the hold.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub payer: PublicKey,
    /// SHA256(pid).
    pub pid_hash: PidHash,
    /// Where the hold stands.
    #[serde(with = "own")]
    pub state: HoldStateTag,
    /// Why it fails or failed.
    #[serde(with = "own_option", default)]
    pub cause: Option<FailCause>,
    /// The height at which what is still held fails.
    pub deadline: BlockHeight,
    /// When the hold was granted.
    pub created_at: u64,
    /// The hashes that are held.
    #[serde(with = "hex32_list")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub payment_hashes: Vec<PaymentHash>,
    /// Parts that ever came.
    pub parts: usize,
    /// Parts that are held now.
    pub held_parts: usize,
    /// What they are worth on the payer's channels.
    pub held_msat: Msat,
    /// Whether the payer's `payment_pending` is kept here and sent again until it is answered.
    pub pending_in_care: bool,
}

/// `GET /v1/holds/{pid_hash}`: one hold with its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldDetail {
    /// The hold.
    pub summary: HoldSummary,
    /// Its parts, in order of arrival.
    pub parts: Vec<PartView>,
    /// Microseconds from the unblock's arrival until LDK was told to forward; absent if that was before the last start.
    pub release_latency_micros: Option<u64>,
}

/// One part of a [`HoldDetail`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartView {
    /// LDK's name of the HTLC while it is intercepted.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub intercept_id: InterceptId,
    /// The hash that it pays.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub payment_hash: PaymentHash,
    /// Where it stands.
    #[serde(with = "own")]
    pub state: PartStateTag,
    /// Why it fails or failed.
    #[serde(with = "own_option", default)]
    pub cause: Option<FailCause>,
    /// The payer's channel.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub inbound_channel_id: ChannelId,
    /// The HTLC's number on it.
    pub inbound_htlc_id: u64,
    /// What the payer offered.
    pub inbound_amount_msat: Msat,
    /// What is to be forwarded.
    pub outbound_amount_msat: Msat,
    /// The height at which it expires on the payer's channel, where known.
    pub inbound_expiry: Option<BlockHeight>,
    /// The height at which it expires on the next channel.
    pub outgoing_expiry: BlockHeight,
    /// The channel that the onion names as the next one.
    pub next_hop_scid: u64,
}

/// `GET /v1/holds/check`: whether the database and LDK agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldsCheck {
    /// When both were compared, just now, in seconds since 1970.
    pub checked_at: u64,
    /// Holds that have not ended.
    pub live_holds: usize,
    /// Unresolved HTLCs that LDK lists on phones' channels, held or not.
    pub pending_htlcs: usize,
    /// The differences of each kind since the server started.
    pub counts: Vec<DifferenceCount>,
    /// The newest of them, newest first.
    pub newest: Vec<DifferenceView>,
}

/// How often one kind of difference was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DifferenceCount {
    /// As the metric names it.
    pub kind: String,
    /// Since the server started.
    pub since_start: u64,
}

/// Something that the database and LDK did not agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DifferenceView {
    /// As the metric names it.
    pub kind: String,
    /// What it is about.
    pub id: String,
    /// More about it.
    pub detail: String,
    /// When it was first seen, in seconds since 1970.
    pub seen_at: u64,
}

/// `POST /v1/holds/release`: unblocks as if the payee had. `Debug` hides the pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseHoldRequest {
    /// The payment id. Nobody releases without it.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub pid: Pid,
}

impl HoldSummary {
    /// The summary of `hold`, which was granted at `created_at`, in seconds since 1970.
    pub fn new(hold: &Hold, created_at: u64, pending_in_care: bool) -> Self {
        let group = hold.group();
        Self {
            payer: group.terms.payer,
            pid_hash: group.terms.pid_hash,
            state: hold.tag(),
            cause: hold.cause(),
            deadline: group.terms.deadline,
            created_at,
            payment_hashes: group.terms.payment_hashes.clone(),
            parts: group.parts.len(),
            held_parts: group.held().count(),
            held_msat: group.held().map(|part| part.inbound_amount).sum(),
            pending_in_care,
        }
    }
}

impl HoldDetail {
    /// The detail of `hold`, which was granted at `created_at`, in seconds since 1970.
    pub fn new(hold: &Hold, created_at: u64, pending_in_care: bool) -> Self {
        Self {
            summary: HoldSummary::new(hold, created_at, pending_in_care),
            parts: hold.group().parts.iter().map(PartView::from).collect(),
            release_latency_micros: None,
        }
    }
}

impl From<&Part> for PartView {
    fn from(part: &Part) -> Self {
        let state: PartState = part.state;
        Self {
            intercept_id: part.intercept_id,
            payment_hash: part.payment_hash,
            state: state.tag(),
            cause: state.cause(),
            inbound_channel_id: part.inbound_channel_id,
            inbound_htlc_id: part.inbound_htlc_id,
            inbound_amount_msat: part.inbound_amount,
            outbound_amount_msat: part.outbound_amount,
            inbound_expiry: part.inbound_expiry,
            outgoing_expiry: part.outgoing_expiry,
            next_hop_scid: part.next_hop_scid,
        }
    }
}
