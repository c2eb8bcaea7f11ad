//! `POST /v1/node/connect`

use protocol::api::Problem;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use protocol::api::admin::ConnectRequest;

use crate::http::admin::error::{AdminError, Body};
use crate::server::Server;

/// Connects to a peer, and remembers where it is.
#[utoipa::path(
    post,
    path = "/v1/node/connect",
    operation_id = "connect",
    tag = "node",
    request_body = ConnectRequest,
    responses(
        (status = 204, description = "Connected"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Body(request): Body<ConnectRequest>,
) -> Result<StatusCode, AdminError> {
    server.node().connect(request.peer, &request.address).await?;
    Ok(StatusCode::NO_CONTENT)
}
