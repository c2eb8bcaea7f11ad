//! `GET /v1/holds/{pid_hash}`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use protocol::api::admin::HoldDetail;

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// The holds of this pid hash with their parts: one, unless two payers chose the same pid.
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(pid_hash): Path<String>,
) -> Result<Json<Vec<HoldDetail>>, AdminError> {
    let details = server.hold(super::pid_hash(&pid_hash)?).await?;
    if details.is_empty() { Err(AdminError::NotFound { what: "hold" }) } else { Ok(Json(details)) }
}
