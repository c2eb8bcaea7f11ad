//! `GET /v1/mailbox`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::MailboxView;

use super::LISTED_MAX;
use super::error::AdminError;
use crate::server::Server;

/// The messages that wait, in order of arrival.
#[utoipa::path(
    get,
    path = "/v1/mailbox",
    operation_id = "list_mailbox",
    tag = "mailbox",
    responses(
        (status = 200, description = "Messages, in order of arrival", body = Vec<MailboxView>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<Vec<MailboxView>>, AdminError> {
    Ok(Json(server.mailbox().list(LISTED_MAX).await?))
}
