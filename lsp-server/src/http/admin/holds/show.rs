//! `GET /v1/holds/{pid_hash}`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use protocol::api::admin::HoldDetail;

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// The holds of this pid hash with their parts: one, unless two payers chose the same pid.
#[utoipa::path(
    get,
    path = "/v1/holds/{pid_hash}",
    operation_id = "show_hold",
    tag = "holds",
    params(("pid_hash" = String, Path, description = "SHA256 of the payment id: 64 hex digits")),
    responses(
        (status = 200, description = "The holds of this pid hash", body = Vec<HoldDetail>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(pid_hash): Path<String>,
) -> Result<Json<Vec<HoldDetail>>, AdminError> {
    let details = server.hold(super::pid_hash(&pid_hash)?).await?;
    if details.is_empty() { Err(AdminError::NotFound { what: "hold" }) } else { Ok(Json(details)) }
}
