//! `GET /v1/wakes/{id}`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use hex::FromHex;
use protocol::api::ledger::WakeRecord;

use crate::http::admin::error::AdminError;
use crate::server::Server;
use crate::store::wakes::ledger::{self, Which};

/// A node's wakes that are told, the newest ones.
const WAKES_MAX: u32 = 50;

/// One wake by the id that its pushes carry, or the newest wakes of a node: why its phone did or did not ring.
#[utoipa::path(
    get,
    path = "/v1/wakes/{id}",
    operation_id = "show_wake",
    tag = "wakes",
    params(("id" = String, Path, description = "The id that a wake's pushes carry (32 hex digits), or a node id")),
    responses(
        (status = 200, description = "The wake with all its pushes, or the newest wakes of the node", body = Vec<WakeRecord>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<WakeRecord>>, AdminError> {
    let which = match (<[u8; 16]>::from_hex(&id), id.parse()) {
        (Ok(wake_id), _) => Which::Wake(wake_id),
        (_, Ok(node_id)) => Which::Node(node_id),
        _ => return Err(AdminError::Id { expected: "a wake's id of 32 hex digits, or a node id of 66" }),
    };
    let records =
        server.database().read("admin_wake", move |tx| Box::pin(ledger::find(tx, which, WAKES_MAX))).await?;
    if records.is_empty() && matches!(which, Which::Wake(_)) {
        return Err(AdminError::NotFound { what: "wake" });
    }
    Ok(Json(records))
}
