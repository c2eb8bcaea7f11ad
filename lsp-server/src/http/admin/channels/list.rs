//! `GET /v1/channels`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use node::Channel;
use protocol::api::admin::ChannelView;

use crate::server::Server;

/// Every channel.
#[utoipa::path(
    get,
    path = "/v1/channels",
    operation_id = "list_channels",
    tag = "channels",
    responses(
        (status = 200, description = "Every channel", body = Vec<ChannelView>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Json<Vec<ChannelView>> {
    Json(server.node().channels().into_iter().map(view).collect())
}

fn view(channel: Channel) -> ChannelView {
    ChannelView {
        channel_id: channel.channel_id,
        peer: channel.peer,
        funding: channel.funding,
        short_channel_id: channel.short_channel_id,
        capacity_sat: channel.capacity_sat,
        balance_msat: channel.balance,
        outbound_capacity_msat: channel.outbound_capacity,
        inbound_capacity_msat: channel.inbound_capacity,
        is_usable: channel.is_usable,
        is_ready: channel.is_ready,
        is_announced: channel.is_announced,
        is_shutting_down: channel.is_shutting_down,
        pending_inbound_htlcs: channel.pending_inbound_htlcs,
        pending_outbound_htlcs: channel.pending_outbound_htlcs,
    }
}
