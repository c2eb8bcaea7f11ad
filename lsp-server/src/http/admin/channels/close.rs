//! `POST /v1/channels/{channel_id}/close`

use protocol::api::Problem;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use hex::FromHex;
use lightning::ln::types::ChannelId;
use protocol::api::admin::CloseChannelRequest;

use crate::http::admin::error::{AdminError, Body};
use crate::server::Server;

/// Closes a channel, together with its peer or alone.
#[utoipa::path(
    post,
    path = "/v1/channels/{channel_id}/close",
    operation_id = "close_channel",
    tag = "channels",
    params(("channel_id" = String, Path, description = "LDK's channel id: 64 hex digits")),
    request_body = CloseChannelRequest,
    responses(
        (status = 202, description = "It is being closed"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(channel_id): Path<String>,
    Body(request): Body<CloseChannelRequest>,
) -> Result<StatusCode, AdminError> {
    let channel_id = <[u8; 32]>::from_hex(&channel_id)
        .map(ChannelId)
        .map_err(|_| AdminError::Id { expected: "a channel id of 64 hex digits" })?;
    let channels = server.node().channels();
    let channel = channels
        .iter()
        .find(|channel| channel.channel_id == channel_id)
        .ok_or(AdminError::NotFound { what: "channel" })?;
    server.node().close_channel(channel_id, channel.peer, request.force)?;
    tracing::info!(peer = %channel.peer, %channel_id, force = request.force, "the operator closes a channel");
    Ok(StatusCode::ACCEPTED)
}
