//! `GET /health`: is the process worth keeping?

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures::future::FutureExt;
use protocol::api::public::{HealthCheck, HealthResponse};
use storage::{Database, StorageError};

use super::PublicState;

/// The longest that a healthy database takes to read one row.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// 200 while the database can be read and has not failed for good. On anything else, restarting the process is the thing
/// to do. While the database cannot be written it is not, and the check says in its detail what is.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "monitoring",
    responses(
        (status = 200, description = "The process is worth keeping", body = HealthResponse),
        (status = 503, description = "The database cannot be read, or has failed for good: restart the process", body = HealthResponse),
    ),
)]
pub(super) async fn handle(State(state): State<PublicState>) -> (StatusCode, Json<HealthResponse>) {
    let mut check = database(&state.inner.database).await;
    if check.ok {
        check.detail = trouble(&state.inner.database);
    }
    // Rows that cannot be read are set aside: a restart mends none.
    let mut checks = vec![check];
    if let Some(damage) = &state.damage {
        let found = damage.found().summary();
        let detail = found.map(|found| format!("damaged rows are set aside: {found}"));
        checks.push(HealthCheck { name: "rows".to_owned(), ok: true, detail });
    }
    answer(checks)
}

/// Why nothing can be written, if so.
pub(super) fn trouble(database: &Database) -> Option<String> {
    // Its own text names paths, which are nobody's business here: the log has them.
    database.trouble().map(|trouble| {
        format!("{}, for {} s; no new work is taken", trouble.kind(), trouble.lasted().as_secs())
    })
}

pub(super) fn answer(checks: Vec<HealthCheck>) -> (StatusCode, Json<HealthResponse>) {
    let ok = checks.iter().all(|check| check.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(HealthResponse { ok, checks }))
}

pub(super) fn check(name: &str, problem: Option<String>) -> HealthCheck {
    HealthCheck { name: name.to_owned(), ok: problem.is_none(), detail: problem }
}

pub(super) async fn database(database: &Database) -> HealthCheck {
    let read = database
        .read("health", |tx| Box::pin(async move { tx.fetch_one("SELECT 1 AS alive", &[]).await.map(drop) }));
    let problem = if let Some(failure) = database.failed().now_or_never() {
        Some(failure.to_string())
    } else {
        match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(StorageError::to_string(&error)),
            Err(_) => Some("the database does not answer".to_owned()),
        }
    };
    check("database", problem)
}
