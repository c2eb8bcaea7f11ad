//! `GET /v1/wakes`

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use protocol::api::Problem;
use protocol::api::ledger::WakeRecord;
use protocol::api::owner::OwnerAction;

use super::PublicState;
use super::devices::DeviceError;
use super::owner::authorize;
use crate::store::wakes::ledger::{self, Which};

/// Wakes that are told, the newest ones.
const WAKES_MAX: u32 = 50;

/// The node's own wakes, the newest first: why its phone did or did not ring.
#[utoipa::path(
    get,
    path = "/v1/wakes",
    operation_id = "list_wakes",
    tag = "devices",
    responses(
        (status = 200, description = "The node's newest wakes, the newest first", body = Vec<WakeRecord>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("node_signature" = [])),
)]
pub(super) async fn handle(
    State(state): State<PublicState>,
    headers: HeaderMap,
) -> Result<Json<Vec<WakeRecord>>, DeviceError> {
    let owner = authorize(&state.inner, &headers, OwnerAction::ListWakes, "")?;
    let limits = state.inner.limits;
    let records = state
        .inner
        .database
        .submit("list_own_wakes", move |tx| {
            Box::pin(async move {
                owner.use_challenge(tx, &limits).await??;
                Ok::<_, DeviceError>(ledger::find(tx, Which::Node(owner.node_id), WAKES_MAX).await?)
            })
        })
        .await?;
    Ok(Json(records))
}
