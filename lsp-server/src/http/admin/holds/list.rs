//! `GET /v1/holds`

use protocol::api::Problem;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use protocol::api::admin::{HoldSummary, ListHoldsQuery};

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// The live holds; with `ended=true` those that are over too.
#[utoipa::path(
    get,
    path = "/v1/holds",
    operation_id = "list_holds",
    tag = "holds",
    params(ListHoldsQuery),
    responses(
        (status = 200, description = "Holds, the newest first", body = Vec<HoldSummary>),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    query: Result<Query<ListHoldsQuery>, QueryRejection>,
) -> Result<Json<Vec<HoldSummary>>, AdminError> {
    let Query(query) = query?;
    Ok(Json(server.holds(query.ended).await?))
}
