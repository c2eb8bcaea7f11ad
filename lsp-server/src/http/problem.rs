//! Error answers, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::api::{PROBLEM_CONTENT_TYPE, Problem};

/// An error answer. `kind` is a stable name for programs, `detail` says what to do.
pub fn problem(status: StatusCode, kind: &str, title: &str, detail: String) -> Response {
    let body = Problem { kind: kind.to_owned(), title: title.to_owned(), status: status.as_u16(), detail };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE))];
    (status, content_type, Json(body)).into_response()
}
