//! `DELETE /v1/devices/{device_id}`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::http::admin::error::AdminError;
use crate::server::Server;
use crate::store::devices::{self, DeviceId};

/// Forgets a device. Its phone may register again.
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
