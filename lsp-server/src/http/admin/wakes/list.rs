//! `GET /v1/wakes`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hex::DisplayHex;
use protocol::api::admin::WakeView;

use crate::http::admin::LISTED_MAX;
use crate::http::admin::error::AdminError;
use crate::server::Server;
use crate::store::wakes::{self, WakeRow};

/// The open wakes, in order of arrival.
#[utoipa::path(
    get,
    path = "/v1/wakes",
    operation_id = "list_wakes",
    tag = "wakes",
    responses(
        (status = 200, description = "Open wakes, in order of arrival", body = Vec<WakeView>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<Vec<WakeView>>, AdminError> {
    let wakes =
        server.database().read("admin_wakes", |tx| Box::pin(wakes::list_open(tx, LISTED_MAX))).await?;
    Ok(Json(wakes.into_iter().map(view).collect()))
}

fn view(wake: WakeRow) -> WakeView {
    WakeView {
        wake_id: wake.wake_id.map(|id| id.to_lower_hex_string()),
        node_id: wake.node_id,
        reason: wake.reason,
        opened_at: wake.opened_at,
        expires_at: wake.expires_at,
        attempts: wake.attempts,
        due_at: wake.due_at,
    }
}
