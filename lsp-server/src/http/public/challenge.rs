//! `POST /v1/challenge`

use axum::Json;
use axum::extract::State;
use protocol::api::Problem;
use protocol::api::public::{ChallengeRequest, ChallengeResponse};

use super::PublicState;
use super::body::Body;

/// A text for the node to sign. Nothing is stored.
#[utoipa::path(
    post,
    path = "/v1/challenge",
    operation_id = "challenge",
    tag = "devices",
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "A text for the node to sign", body = ChallengeResponse),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(
    State(state): State<PublicState>,
    Body(ChallengeRequest { node_id }): Body<ChallengeRequest>,
) -> Json<ChallengeResponse> {
    let random = state.inner.node.random_bytes();
    let (challenge, expires_at) = state.inner.challenges.make(&node_id, random, state.inner.clock.now_unix());
    Json(ChallengeResponse { challenge, expires_at })
}
