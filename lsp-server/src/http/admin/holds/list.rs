//! `GET /v1/holds`

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use protocol::api::admin::{HoldSummary, ListHoldsQuery};

use crate::http::admin::error::AdminError;
use crate::server::Server;

/// The live holds; with `ended=true` those that are over too.
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    query: Result<Query<ListHoldsQuery>, QueryRejection>,
) -> Result<Json<Vec<HoldSummary>>, AdminError> {
    let Query(query) = query?;
    Ok(Json(server.holds(query.ended).await?))
}
