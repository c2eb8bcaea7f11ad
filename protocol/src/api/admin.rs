//! The local admin API of `lsp-server`: what its CLI asks, and what is answered.
//!
//! HTTP over the Unix socket `admin.sock` in the server's data directory, which its owner alone may enter. Bodies are
//! JSON; ids are hex, times seconds since 1970, amounts and heights as their field says. Errors are [`Problem`]s.
//!
//! [`Problem`]: super::Problem

mod holds;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint};
use lightning::ln::types::ChannelId;
use serde::{Deserialize, Serialize};

pub use holds::*;

use super::text::{hex32, own, own_option};
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
    /// The number of its arrival, among all that came.
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
