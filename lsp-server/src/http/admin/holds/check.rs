//! `GET /v1/holds/check`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::HoldsCheck;

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// Compares the database with LDK, both ways, and says what they did not agree on since the start.
#[utoipa::path(
    get,
    path = "/v1/holds/check",
    operation_id = "check_holds",
    tag = "holds",
    responses(
        (status = 200, description = "What the database and LDK do not agree on", body = HoldsCheck),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<HoldsCheck>, AdminError> {
    Ok(Json(server.check_holds().await?))
}
