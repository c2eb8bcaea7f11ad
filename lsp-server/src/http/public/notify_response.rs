//! `POST /api/v1/response/{id}`

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::api::Problem;

use super::PublicState;
use crate::http::problem::problem;

/// A phone's answer to a notification, for the caller that waits for it. Whoever has the URL is the phone: it is in the
/// notification's `reply_url` and nowhere else.
#[utoipa::path(
    post,
    path = "/api/v1/response/{id}",
    operation_id = "notify_response",
    tag = "notify",
    params(("id" = String, Path, description = "As it stands in the notification's reply_url")),
    request_body(content = String, content_type = "text/plain", description = "Handed to the caller as it is"),
    responses(
        (status = 200, description = "The caller has it"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(
    State(state): State<PublicState>,
    Path(id): Path<String>,
    answer: String,
) -> Response {
    match id.parse() {
        Ok(id) if state.inner.notifications.answer(id, answer) => StatusCode::OK.into_response(),
        _ => {
            let detail = "nobody waits for this answer, or not any more".to_owned();
            problem(StatusCode::NOT_FOUND, "not_found", "The answer is not waited for", detail)
        }
    }
}
