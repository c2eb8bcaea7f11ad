//! `POST /v1/channels`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::api::admin::{OpenChannelRequest, OpenChannelResponse};

use crate::http::admin::error::{AdminError, Body};
use crate::server::Server;

/// Asks a connected peer for a channel.
#[utoipa::path(
    post,
    path = "/v1/channels",
    operation_id = "open_channel",
    tag = "channels",
    request_body = OpenChannelRequest,
    responses(
        (status = 201, description = "The peer was asked", body = OpenChannelResponse),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Body(request): Body<OpenChannelRequest>,
) -> Result<(StatusCode, Json<OpenChannelResponse>), AdminError> {
    let OpenChannelRequest { peer, capacity_sat, push_msat, announce } = request;
    let channel_id = server.node().open_channel(peer, capacity_sat, push_msat, announce)?;
    tracing::info!(%peer, %channel_id, capacity_sat, announce, "the operator opens a channel");
    Ok((StatusCode::CREATED, Json(OpenChannelResponse { channel_id })))
}
