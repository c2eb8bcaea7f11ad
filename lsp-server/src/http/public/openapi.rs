//! `GET /v1/openapi.json`

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The document, made once.
static DOCUMENT: LazyLock<Result<String, String>> =
    LazyLock::new(|| super::routes().split_for_parts().1.to_pretty_json().map_err(|error| error.to_string()));

/// What the endpoints do not say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "lightning-rod: public API",
        description = "Phones register here to be woken, and monitoring asks how the LSP is.\n\nBodies are JSON, ids hex, times seconds since 1970.",
    ),
    modifiers(&NodeSignature),
)]
pub(super) struct Document;

/// How owners sign.
struct NodeSignature;

impl Modify for NodeSignature {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let description = "`LightningRod <node id>.<challenge>.<signature>`: the challenge from `POST /v1/challenge`, the \
                           signature as docs/wallet.md says. Good for one request.";
        let value = ApiKeyValue::with_description(header::AUTHORIZATION.as_str(), description);
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("node_signature", SecurityScheme::ApiKey(ApiKey::Header(value)));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("The setting notify.secret of the server.")).build();
        components.add_security_scheme("notify_secret", SecurityScheme::Http(bearer));
    }
}

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
