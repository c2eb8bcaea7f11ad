//! `GET /v1/mailbox`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::MailboxView;

use super::LISTED_MAX;
use super::error::AdminError;
use crate::server::Server;

/// The messages that wait, in order of arrival.
pub(super) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<Vec<MailboxView>>, AdminError> {
    Ok(Json(server.mailbox().list(LISTED_MAX).await?))
}
