//! `POST /api/v1/notify/{secret}`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use protocol::api::Problem;

use super::body::Body;
use super::notify::{NotifyQuery, NotifyRequest, answer};
use super::{Patience, PublicState};

/// As without the secret in the path, for callers that can be given a URL and nothing else. Proxies may log it.
#[utoipa::path(
    post,
    path = "/api/v1/notify/{secret}",
    operation_id = "notify_by_url",
    tag = "notify",
    params(("secret" = String, Path, description = "The setting notify.secret"), NotifyQuery),
    request_body = NotifyRequest,
    responses(
        (status = 200, description = "It is on disk, and pushed until the provider takes or refuses it or its time is over; for an invoice.request without a reply_url, the phone's answer"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn handle(
    State(state): State<PublicState>,
    Path(secret): Path<String>,
    Extension(patience): Extension<Patience>,
    query: Result<Query<NotifyQuery>, QueryRejection>,
    Body(body): Body<NotifyRequest>,
) -> Response {
    answer(&state, Some(&secret), &patience, query, body).await
}
