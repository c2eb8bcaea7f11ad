//! `DELETE /v1/devices/{device_id}`

use protocol::api::Problem;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::http::admin::error::AdminError;
use crate::server::Server;
use crate::store::devices::{self, DeviceId};

/// Forgets a device. Its phone may register again.
#[utoipa::path(
    delete,
    path = "/v1/devices/{device_id}",
    operation_id = "remove_device",
    tag = "devices",
    params(("device_id" = String, Path, description = "The server's name for the device: 32 hex digits")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    Path(device_id): Path<String>,
) -> Result<StatusCode, AdminError> {
    let device_id: DeviceId =
        device_id.parse().map_err(|_| AdminError::Id { expected: "a device id of 32 hex digits" })?;
    let removed =
        server.database().submit("remove_device", move |tx| Box::pin(devices::remove(tx, device_id))).await?;
    if !removed {
        return Err(AdminError::NotFound { what: "device" });
    }
    tracing::info!(%device_id, "the operator removed a device");
    Ok(StatusCode::NO_CONTENT)
}
