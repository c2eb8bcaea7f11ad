//! `GET /v1/devices`

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use protocol::api::Problem;
use protocol::api::owner::{OwnDevice, OwnDevices, OwnerAction};

use super::DeviceError;
use crate::http::public::PublicState;
use crate::http::public::owner::authorize;
use crate::store::devices::{self, Device};

/// The node's own devices.
#[utoipa::path(
    get,
    path = "/v1/devices",
    operation_id = "list_devices",
    tag = "devices",
    responses(
        (status = 200, description = "The node's devices", body = OwnDevices),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("node_signature" = [])),
)]
pub(crate) async fn handle(
    State(state): State<PublicState>,
    headers: HeaderMap,
) -> Result<Json<OwnDevices>, DeviceError> {
    let owner = authorize(&state.inner, &headers, OwnerAction::ListDevices, "")?;
    let now_unix = owner.answered.now_unix;
    let limits = state.inner.limits;
    let devices = state
        .inner
        .database
        .submit("list_own_devices", move |tx| {
            Box::pin(async move {
                owner.use_challenge(tx, &limits).await??;
                Ok::<_, DeviceError>(devices::of_node(tx, owner.node_id).await?)
            })
        })
        .await?;
    Ok(Json(OwnDevices { devices: devices.into_iter().map(|device| view(device, now_unix)).collect() }))
}

fn view(device: Device, now_unix: u64) -> OwnDevice {
    OwnDevice {
        device_id: device.device_id.to_string(),
        platform: device.target.kind.to_string(),
        registered_at: device.registered_at,
        paused_until: (device.paused_until > now_unix).then_some(device.paused_until),
    }
}
