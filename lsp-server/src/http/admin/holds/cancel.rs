//! `POST /v1/holds/{pid_hash}/cancel`

use protocol::api::Problem;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::error::ServerError;
use crate::http::admin::error::AdminError;
use crate::server::Server;

/// Fails a hold back to its payer, unless it is released already.
#[utoipa::path(
    post,
    path = "/v1/holds/{pid_hash}/cancel",
    operation_id = "cancel_hold",
    tag = "holds",
    params(("pid_hash" = String, Path, description = "SHA256 of the payment id: 64 hex digits")),
    responses(
        (status = 204, description = "It is failed back"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(pid_hash): Path<String>,
) -> Result<StatusCode, AdminError> {
    let pid_hash = super::pid_hash(&pid_hash)?;
    server.cancel_hold(pid_hash).await.map_err(|error| match error {
        ServerError::NoSuchHold => AdminError::NotFound { what: "hold" },
        error => error.into(),
    })?;
    tracing::info!(%pid_hash, "the operator cancelled a hold");
    Ok(StatusCode::NO_CONTENT)
}
