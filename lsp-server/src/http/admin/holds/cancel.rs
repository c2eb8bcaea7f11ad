//! `POST /v1/holds/{pid_hash}/cancel`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::error::ServerError;
use crate::http::admin::error::AdminError;
use crate::server::Server;

/// Fails a hold back to its payer, unless it is released already.
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
