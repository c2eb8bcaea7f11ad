//! What the operator is told when something is refused.

use axum::extract::FromRequest;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use node::NodeError;
use storage::StorageError;

use crate::error::ServerError;
use crate::http::problem::problem;
use crate::store::StoreError;

/// Errors of every admin endpoint.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The server refused, or failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The body is not what the endpoint takes.
    #[error(transparent)]
    Body(#[from] JsonRejection),
    /// The query is not what the endpoint takes.
    #[error(transparent)]
    Query(#[from] QueryRejection),
    /// A part of the path is no id of its kind.
    #[error("expected {expected} in the path")]
    Id {
        /// Which kind.
        expected: &'static str,
    },
    /// Nothing has this id.
    #[error("there is no such {what}: list them to see what there is")]
    NotFound {
        /// Which kind of thing.
        what: &'static str,
    },
    /// Too many requests are under way.
    #[error("too many requests are under way: try again")]
    Busy,
    /// No endpoint is there: the CLI is of another version than the server.
    #[error("the server does not know this call: is the CLI of another version?")]
    UnknownPath,
}

impl AdminError {
    fn class(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Body(_) | Self::Query(_) | Self::Id { .. } => {
                (StatusCode::BAD_REQUEST, "bad_request", "The request is malformed")
            }
            Self::NotFound { .. } | Self::Server(ServerError::NoSuchHold) => {
                (StatusCode::NOT_FOUND, "not_found", "There is no such thing")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path", "There is no such call"),
            Self::Server(ServerError::Hold(_)) => {
                (StatusCode::CONFLICT, "hold_state", "The hold does not allow it now")
            }
            Self::Server(ServerError::Node(
                NodeError::Refused { .. } | NodeError::OnChain { .. } | NodeError::Address { .. },
            )) => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "The node refused"),
            Self::Server(ServerError::Node(NodeError::Connect { .. })) => {
                (StatusCode::BAD_GATEWAY, "peer_unreachable", "The peer did not answer")
            }
            Self::Server(ServerError::Node(
                NodeError::Bitcoind { .. } | NodeError::BitcoindRefuses { .. },
            )) => (StatusCode::BAD_GATEWAY, "bitcoind_unreachable", "bitcoind did not answer"),
            Self::Server(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "The server failed"),
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.class();
        let detail = crate::error::with_causes(&self);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%detail, kind, "an admin request failed");
        }
        problem(status, kind, title, detail)
    }
}

impl From<NodeError> for AdminError {
    fn from(error: NodeError) -> Self {
        Self::Server(error.into())
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Server(error.into())
    }
}

impl From<StorageError> for AdminError {
    fn from(error: StorageError) -> Self {
        Self::Server(error.into())
    }
}

/// A JSON body, whose rejection is a problem like any other.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(AdminError))]
pub(super) struct Body<T>(pub(super) T);

#[cfg(test)]
mod tests {
    use axum::body::{Body as HttpBody, to_bytes};
    use axum::http::Request;
    use protocol::api::Problem;
    use protocol::api::admin::ReleaseHoldRequest;
    use protocol::hold::StepError;

    use super::*;

    async fn read(response: Response) -> Problem {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let status = response.status();
        let problem: Problem =
            serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap();
        assert_eq!(problem.status, status.as_u16());
        problem
    }

    #[tokio::test]
    async fn errors_have_a_status_a_kind_and_their_causes() {
        let cases = [
            (ServerError::NoSuchHold, 404, "not_found", "no hold has this pid"),
            (ServerError::Hold(StepError::CancelTooLate), 409, "hold_state", "too late to cancel"),
            (
                ServerError::Node(NodeError::Bitcoind {
                    url: "http://127.0.0.1:1".to_owned(),
                    source: "connection refused".into(),
                }),
                502,
                "bitcoind_unreachable",
                "connection refused",
            ),
            (ServerError::Storage(StorageError::Stopped), 500, "failed", "the database has stopped"),
        ];
        for (error, status, kind, detail) in cases {
            let problem = read(AdminError::from(error).into_response()).await;
            assert_eq!((problem.status, problem.kind.as_str()), (status, kind));
            assert!(problem.detail.contains(detail), "{}", problem.detail);
        }
    }

    #[tokio::test]
    async fn a_bad_body_is_a_problem_that_does_not_repeat_the_pid() {
        for body in [r#"{"pid":"abab"}"#, r#"{"pid":"#, r#"{"pin":"abab"}"#] {
            let request = Request::post("/").header("content-type", "application/json");
            let request = request.body(HttpBody::from(body)).unwrap();
            let Err(error) = Body::<ReleaseHoldRequest>::from_request(request, &()).await else {
                panic!("{body} was taken");
            };
            let problem = read(error.into_response()).await;
            assert_eq!((problem.status, problem.kind.as_str()), (400, "bad_request"));
            assert!(!problem.detail.contains("abab"), "{}", problem.detail);
        }
    }
}
