//! `POST /api/v1/notify`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::api::Problem;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::{Patience, PublicState, REPLY_TIMEOUT, within};
use crate::http::problem::problem;
use crate::notify::{NotifyError, Taken};

/// Whom a notification is for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NotifyQuery {
    /// `ios` or `android`.
    platform: String,
    /// What the push service knows the phone by: FCM's registration token, or an iPhone's own device token in hex.
    token: String,
    /// Handed to the phone's app as it is.
    app_data: Option<String>,
}

/// What the phone is told: a `template`, or an `event` that means one, with its data. docs/operations.md lists them.
#[derive(Deserialize, ToSchema)]
pub(super) struct NotifyRequest {
    /// `payment_received`, `tx_confirmed`, `address_txs_confirmed`, `lnurlpay_info`, `lnurlpay_invoice`, `lnurlpay_verify`,
    /// `swap_updated` or `invoice_request`.
    template: Option<String>,
    /// `swap.update` or `invoice.request`.
    event: Option<String>,
    /// What the template asks for.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// The scheme of the `Authorization` header.
const SCHEME: &str = "Bearer ";

impl IntoResponse for NotifyError {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        let (status, kind, title) = match &self {
            Self::Off => (StatusCode::NOT_FOUND, "notify_off", "There is no such service here"),
            Self::Secret => (StatusCode::UNAUTHORIZED, "unauthorized", "The request has not the secret"),
            Self::NoReplyUrl => {
                (StatusCode::BAD_REQUEST, "no_reply_url", "There is no place for the phone's answer")
            }
            Self::Platform => (StatusCode::BAD_REQUEST, "unknown_platform", "The platform is not served"),
            Self::Token(_) => (StatusCode::BAD_REQUEST, "token_refused", "The token cannot be used"),
            Self::Template(_) => {
                (StatusCode::BAD_REQUEST, "unknown_notification", "The body is no notification")
            }
            Self::TooManyForToken(_) | Self::TooManyRequests(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many", "There are too many notifications")
            }
            Self::Full | Self::TooManyWait => (StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy"),
            Self::Storage(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "a notification is not kept");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server cannot store it now")
            }
        };
        let mut response = problem(status, kind, title, detail);
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
        }
        response
    }
}

/// Keeps a notification for a phone, and answers once it is on disk: the interface of breez/notify, for who knows the secret.
#[utoipa::path(
    post,
    path = "/api/v1/notify",
    operation_id = "notify",
    tag = "notify",
    params(NotifyQuery),
    request_body = NotifyRequest,
    responses(
        (status = 200, description = "It is on disk, and pushed until the provider takes or refuses it or its time is over; for an invoice.request without a reply_url, the phone's answer"),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
    security(("notify_secret" = [])),
)]
pub(super) async fn handle(
    State(state): State<PublicState>,
    query: Result<Query<NotifyQuery>, QueryRejection>,
    headers: HeaderMap,
    Extension(patience): Extension<Patience>,
    Body(body): Body<NotifyRequest>,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret = authorization.and_then(|value| value.strip_prefix(SCHEME));
    answer(&state, secret, &patience, query, body).await
}

pub(super) async fn answer(
    state: &PublicState,
    secret: Option<&str>,
    patience: &Patience,
    query: Result<Query<NotifyQuery>, QueryRejection>,
    body: NotifyRequest,
) -> Response {
    let Query(NotifyQuery { platform, token, app_data }) = match query {
        Ok(query) => query,
        Err(rejection) => {
            let title = "The query cannot be read";
            return problem(StatusCode::BAD_REQUEST, "bad_request", title, rejection.body_text());
        }
    };
    let body = serde_json::json!({ "template": body.template, "event": body.event, "data": body.data });
    let taken = state.inner.notifications.take(secret, (&platform, &token, app_data), &body).await;
    let reply = match taken {
        Ok(Taken { reply: None, .. }) => return StatusCode::OK.into_response(),
        Ok(Taken { reply: Some(reply), .. }) => reply,
        Err(error) => return error.into_response(),
    };
    patience.ask();
    match within(&*state.inner.clock, REPLY_TIMEOUT, reply.received()).await {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        None => {
            let detail = format!("the phone did not answer within {} seconds", REPLY_TIMEOUT.as_secs());
            problem(StatusCode::GATEWAY_TIMEOUT, "no_answer", "The phone does not answer", detail)
        }
    }
}
