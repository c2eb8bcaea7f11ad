//! `GET /v1/lsp`

use axum::Json;
use axum::extract::State;
use notifier::GatewayKind;
use protocol::api::Problem;
use protocol::api::public::LspInfo;

use super::PublicState;

/// Whom a device registers with.
#[utoipa::path(
    get,
    path = "/v1/lsp",
    operation_id = "lsp",
    tag = "devices",
    responses(
        (status = 200, description = "Whom a device registers with", body = LspInfo),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(State(state): State<PublicState>) -> Json<LspInfo> {
    // What is set over Lightning cannot be registered here.
    let platforms = state.inner.waker.platforms().into_iter().filter(|kind| *kind != GatewayKind::Lsps5);
    let platforms = platforms.map(|kind| kind.to_string()).collect();
    Json(LspInfo { node_id: state.inner.node.node_id(), platforms })
}
