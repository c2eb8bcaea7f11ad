//! `POST /v1/holds/release`

use protocol::api::Problem;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use protocol::api::admin::ReleaseHoldRequest;

use crate::http::admin::error::{AdminError, Body};
use crate::server::Server;

/// Unblocks as if the payee had. The pid is in the body, so that no access log ever has it.
#[utoipa::path(
    post,
    path = "/v1/holds/release",
    operation_id = "release_hold",
    tag = "holds",
    request_body = ReleaseHoldRequest,
    responses(
        (status = 204, description = "Unblocked"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Body(request): Body<ReleaseHoldRequest>,
) -> Result<StatusCode, AdminError> {
    server.release_hold(request.pid).await?;
    tracing::info!(pid_hash = %request.pid.hash(), "the operator released a hold");
    Ok(StatusCode::NO_CONTENT)
}
