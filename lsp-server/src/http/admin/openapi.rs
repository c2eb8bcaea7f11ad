//! `GET /v1/openapi.json`

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;

/// The document, made once.
static DOCUMENT: LazyLock<Result<String, String>> =
    LazyLock::new(|| super::routes().split_for_parts().1.to_pretty_json().map_err(|error| error.to_string()));

/// What the endpoints do not say of themselves.
#[derive(OpenApi)]
#[openapi(info(
    title = "lightning-rod: admin API",
    description = "The operator's API, on the Unix socket `admin.sock` in the server's data directory.\n\nBodies are JSON, ids hex, times seconds since 1970.",
))]
pub(super) struct Document;

/// This document, generated from the code that serves the API.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "openapi",
    tag = "monitoring",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value)),
)]
pub(super) async fn handle() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

/// The document as it is served.
pub fn document() -> &'static str {
    DOCUMENT.as_deref().unwrap_or("{}")
}
