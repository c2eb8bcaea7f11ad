//! `GET /v1/holds/check`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::HoldsCheck;

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// Compares the database with LDK, both ways, and says what they did not agree on since the start.
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<HoldsCheck>, AdminError> {
    Ok(Json(server.check_holds().await?))
}
