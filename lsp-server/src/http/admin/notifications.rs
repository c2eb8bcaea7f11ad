//! `GET /v1/notifications`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::Problem;
use protocol::api::admin::NotificationView;

use super::LISTED_MAX;
use super::error::AdminError;
use crate::server::Server;
use crate::store::notifications;

/// The newest notifications that other services asked for, and what came of them.
#[utoipa::path(
    get,
    path = "/v1/notifications",
    operation_id = "list_notifications",
    tag = "notifications",
    responses(
        (status = 200, description = "Notifications, the newest first", body = Vec<NotificationView>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(
    State(server): State<Arc<Server>>,
) -> Result<Json<Vec<NotificationView>>, AdminError> {
    let newest = server
        .database()
        .read("admin_notifications", |tx| Box::pin(notifications::newest(tx, LISTED_MAX)))
        .await?;
    Ok(Json(newest))
}
