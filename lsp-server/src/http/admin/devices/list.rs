//! `GET /v1/devices`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::DeviceView;

use crate::http::admin::LISTED_MAX;
use crate::http::admin::error::AdminError;
use crate::server::Server;
use crate::store::devices::{self, Device};

/// The devices, the latest registration first.
#[utoipa::path(
    get,
    path = "/v1/devices",
    operation_id = "list_devices",
    tag = "devices",
    responses(
        (status = 200, description = "Devices, the latest registration first", body = Vec<DeviceView>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Result<Json<Vec<DeviceView>>, AdminError> {
    let devices =
        server.database().read("admin_devices", |tx| Box::pin(devices::list(tx, LISTED_MAX))).await?;
    Ok(Json(devices.into_iter().map(view).collect()))
}

fn view(device: Device) -> DeviceView {
    DeviceView {
        device_id: device.device_id.to_string(),
        node_id: device.node_id,
        platform: device.target.kind.to_string(),
        registered_at: device.registered_at,
    }
}
