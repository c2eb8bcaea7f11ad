//! `POST /v1/node/address`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::NewAddress;

use crate::server::Server;

/// A fresh on-chain address, to fund channels from.
#[utoipa::path(
    post,
    path = "/v1/node/address",
    operation_id = "new_address",
    tag = "node",
    responses(
        (status = 200, description = "A fresh on-chain address", body = NewAddress),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Json<NewAddress> {
    Json(NewAddress { address: server.node().new_address().to_string() })
}
