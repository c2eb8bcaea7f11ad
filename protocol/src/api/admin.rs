//! The local admin API of `lsp-server`: what its CLI asks, and what is answered.
//!
//! HTTP over the Unix socket `admin.sock` in the server's data directory, which its owner alone may enter. Bodies are
//! JSON; ids are hex, times seconds since 1970, amounts and heights as their field says. Errors are [`Problem`]s.
//!
//! [`Problem`]: super::Problem

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use serde::{Deserialize, Serialize};

use super::text::{hex32, hex32_list, own, own_option};
use crate::hold::{FailCause, Hold, HoldStateTag, Part, PartState, PartStateTag};
use crate::ids::{Pid, PidHash};
use crate::units::{BlockHeight, Msat};
use crate::wake::WakeReason;

/// `GET /v1/node`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeInfo {
    /// The node's public key.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// Its name in the graph.
    pub alias: String,
    /// The chain that it is on.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub network: Network,
    /// The best height that the node has processed.
    pub height: BlockHeight,
    /// bitcoind's best height; absent when it does not answer.
    pub chain_height: Option<BlockHeight>,
    /// Where it takes Lightning connections.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub listen: Vec<SocketAddr>,
    /// The addresses that others are told.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub announced_addresses: Vec<SocketAddr>,
    /// Peers connected now.
    pub peers: usize,
    /// Channels, usable or not.
    pub channels: usize,
    /// Channels that can carry a payment now.
    pub channels_usable: usize,
    /// In channels, reserve included, HTLCs in flight excluded.
    pub lightning_balance_msat: Msat,
    /// On chain, and free to fund a channel.
    pub on_chain_spendable_sat: u64,
    /// On chain, with what is not confirmed yet.
    pub on_chain_total_sat: u64,
    /// What an operator should look at now, in words; nothing when all is well.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// The database's work since the start.
    pub database: DatabaseWork,
    /// The program's version.
    pub version: String,
}

/// What the ordered writer did since the server started. Writes over commits is what one fsync serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatabaseWork {
    /// Batches committed, each with one fsync.
    pub commits: u64,
    /// The server's own transactions.
    pub transactions: u64,
    /// LDK's writes.
    pub kv_writes: u64,
    /// Bytes of LDK's writes.
    pub kv_bytes: u64,
}

/// `POST /v1/node/address`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAddress {
    /// A fresh on-chain address of the node.
    pub address: String,
}

/// `POST /v1/node/connect`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectRequest {
    /// The peer's node id.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub peer: PublicKey,
    /// `host:port`.
    pub address: String,
}

/// `GET /v1/channels`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChannelView {
    /// LDK's channel id.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub channel_id: ChannelId,
    /// The other end.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub peer: PublicKey,
    /// The funding output, once it exists.
    #[serde(with = "own_option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub funding: Option<OutPoint>,
    /// The real short channel id, once confirmed.
    pub short_channel_id: Option<u64>,
    /// Capacity, in satoshi.
    pub capacity_sat: u64,
    /// Ours, reserve included, HTLCs in flight excluded.
    pub balance_msat: Msat,
    /// What can be sent now.
    pub outbound_capacity_msat: Msat,
    /// What can be received now.
    pub inbound_capacity_msat: Msat,
    /// The peer is connected, and the channel ready.
    pub is_usable: bool,
    /// `channel_ready` was exchanged.
    pub is_ready: bool,
    /// In the public graph.
    pub is_announced: bool,
    /// Being closed.
    pub is_shutting_down: bool,
    /// HTLCs of the peer that are not resolved.
    pub pending_inbound_htlcs: usize,
    /// HTLCs of ours that are not resolved.
    pub pending_outbound_htlcs: usize,
}

/// `POST /v1/channels`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenChannelRequest {
    /// A connected peer.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub peer: PublicKey,
    /// Capacity, in satoshi.
    pub capacity_sat: u64,
    /// How much of it is the peer's from the start.
    #[serde(default)]
    pub push_msat: Msat,
    /// Whether the channel becomes public. Phones' channels must not: nothing is held for an announced channel.
    #[serde(default)]
    pub announce: bool,
}

/// Answer to [`OpenChannelRequest`]. The funding transaction follows once the peer has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenChannelResponse {
    /// The temporary id: another one takes its place with the funding.
    #[serde(with = "hex32")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub channel_id: ChannelId,
}

/// `POST /v1/channels/{channel_id}/close`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloseChannelRequest {
    /// Alone, by broadcasting the commitment, instead of together with the peer.
    #[serde(default)]
    pub force: bool,
}

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

/// `GET /v1/devices`: a phone that can be woken. Its push token is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceView {
    /// The server's name for it.
    pub device_id: String,
    /// Whose it is.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// The push gateway that serves it.
    pub platform: String,
    /// When it was registered, or last registered again.
    pub registered_at: u64,
}

/// `GET /v1/mailbox`: a message that waits for an offline peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MailboxView {
    /// The server's name for it; later ones are larger.
    pub message_id: i64,
    /// Whom it waits for.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub recipient: PublicKey,
    /// The peer that delivered it, which proves nothing about who wrote it.
    #[serde(with = "own_option", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub previous_hop: Option<PublicKey>,
    /// Its length.
    pub bytes: u64,
    /// When it came.
    pub received_at: u64,
}

/// `GET /v1/wakes`: one open reason for one phone to come online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WakeView {
    /// The opaque id that its pushes carry; absent before the first one.
    #[serde(default)]
    pub wake_id: Option<String>,
    /// Who is woken.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// Why.
    #[serde(with = "own")]
    pub reason: WakeReason,
    /// When it was asked for.
    pub opened_at: u64,
    /// When it becomes pointless.
    pub expires_at: u64,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the next one is due.
    pub due_at: u64,
}

/// `GET /v1/notifications`: a notification that another service asked for. Neither its token nor what it says is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NotificationView {
    /// The server's name for it.
    pub notification_id: String,
    /// Its `notification_type`.
    pub template: String,
    /// The push service.
    pub platform: String,
    /// `open`, `accepted`, `refused` or `expired`.
    pub state: String,
    /// When it was asked for.
    pub opened_at: u64,
    /// When it is of no use any more.
    pub expires_at: u64,
    /// When it is pushed next; none if it is over.
    pub due_at: Option<u64>,
    /// Pushes so far.
    pub attempts: u32,
    /// What the push service's last answer means: `accepted`, `retry`, `token_dead`, `configuration`, `bad_payload`.
    pub verdict: Option<String>,
    /// More about it.
    pub why: Option<String>,
    /// How long the push service took, in milliseconds.
    pub answered_ms: Option<u64>,
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
