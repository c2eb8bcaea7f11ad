//! `POST /v1/node/address`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::NewAddress;

use crate::server::Server;

/// A fresh on-chain address, to fund channels from.
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Json<NewAddress> {
    Json(NewAddress { address: server.node().new_address().to_string() })
}
