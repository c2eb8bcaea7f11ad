//! `GET /v1/lsp`

use axum::Json;
use axum::extract::State;
use protocol::api::public::LspInfo;

use super::PublicState;

/// Whom a device registers with.
pub(super) async fn handle(State(state): State<PublicState>) -> Json<LspInfo> {
    let platforms = state.inner.waker.platforms().iter().map(ToString::to_string).collect();
    Json(LspInfo { node_id: state.inner.node.node_id(), platforms })
}
