//! `DELETE /v1/devices/{device_id}`

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::api::Problem;
use protocol::api::owner::OwnerAction;

use super::{DeviceError, device_id};
use crate::http::public::PublicState;
use crate::http::public::owner::authorize;
use crate::store::devices;

/// Forgets a device of the node's. Answers once that is on disk.
#[utoipa::path(
    delete,
    path = "/v1/devices/{device_id}",
    operation_id = "remove_device",
    tag = "devices",
    params(("device_id" = String, Path, description = "The server's name for the device: 32 hex digits")),
    responses(
        (status = 204, description = "Forgotten, and on disk"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("node_signature" = [])),
)]
pub(crate) async fn handle(
    State(state): State<PublicState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, DeviceError> {
    let owner = authorize(&state.inner, &headers, OwnerAction::RemoveDevice, &id)?;
    let device_id = device_id(&id)?;
    let node_id = owner.node_id;
    let limits = state.inner.limits;
    state
        .inner
        .database
        .submit("remove_own_device", move |tx| {
            Box::pin(async move {
                owner.use_challenge(tx, &limits).await??;
                devices::of_owner(tx, node_id, device_id).await?.ok_or(DeviceError::NotFound)?;
                devices::remove(tx, device_id).await?;
                Ok::<_, DeviceError>(())
            })
        })
        .await?;
    storage::crash_point!("removal_stored");
    tracing::info!(%node_id, device = %device_id, "a device was removed by its owner");
    Ok(StatusCode::NO_CONTENT)
}
