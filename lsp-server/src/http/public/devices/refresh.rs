//! `PUT /v1/devices/{device_id}`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use protocol::api::Problem;
use protocol::api::owner::{OwnerAction, RefreshDeviceRequest, refresh_subject};
use protocol::api::public::RegisterDeviceResponse;

use super::{DeviceError, device_id, target};
use crate::http::public::PublicState;
use crate::http::public::body::Body;
use crate::http::public::owner::authorize;
use crate::store::{devices, wakes};

/// Gives a device of the node's another token; its id stays. Answers once that is on disk; what waits for the node is pushed
/// at once.
#[utoipa::path(
    put,
    path = "/v1/devices/{device_id}",
    operation_id = "refresh_device",
    tag = "devices",
    params(("device_id" = String, Path, description = "The server's name for the device: 32 hex digits")),
    request_body = RefreshDeviceRequest,
    responses(
        (status = 200, description = "The device has another token, and that is on disk", body = RegisterDeviceResponse),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("node_signature" = [])),
)]
pub(crate) async fn handle(
    State(state): State<PublicState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(request): Body<RefreshDeviceRequest>,
) -> Result<Json<RegisterDeviceResponse>, DeviceError> {
    let subject = refresh_subject(&id, &request.target());
    let owner = authorize(&state.inner, &headers, OwnerAction::RefreshDevice, &subject)?;
    let device_id = device_id(&id)?;
    let (node_id, now_unix) = (owner.node_id, owner.answered.now_unix);
    let target = target(&state.inner, request.target(), now_unix)?;
    let target = state.inner.waker.tokens().seal_target(device_id, &node_id, &target);
    let limits = state.inner.limits;
    state
        .inner
        .database
        .submit("refresh_device", move |tx| {
            Box::pin(async move {
                owner.use_challenge(tx, &limits).await??;
                devices::of_owner(tx, node_id, device_id).await?.ok_or(DeviceError::NotFound)?;
                devices::refresh(tx, device_id, &target, now_unix).await.map_err(|error| {
                    if error.is_unique_violation() { DeviceError::TokenTaken } else { error.into() }
                })?;
                wakes::rearm(tx, node_id, now_unix).await?;
                Ok::<_, DeviceError>(())
            })
        })
        .await?;
    storage::crash_point!("refresh_stored");
    state.inner.waker.nudge();
    tracing::info!(%node_id, device = %device_id, "a device has another token");
    Ok(Json(RegisterDeviceResponse { device_id: id, durable: true }))
}
