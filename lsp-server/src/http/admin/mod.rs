//! The operator's API, on a Unix socket in the data directory: whoever may open the socket may do everything.
//!
//! One endpoint per file; [`protocol::api::admin`] has the types.

mod channels;
mod devices;
mod error;
mod holds;
mod mailbox;
mod node;
mod notifications;
mod openapi;
mod socket;
#[cfg(test)]
mod tests;
mod wakes;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use error::AdminError;
pub use openapi::document;
pub use socket::bind;

use crate::limits::{self, ServerLimit};
use crate::server::Server;

/// The longest request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The most entries of one list.
const LISTED_MAX: u32 = 1_000;

/// Requests under way at once.
const REQUESTS_MAX: usize = 64;

/// Every endpoint, each with its part of the document.
fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(openapi::handle))
        .routes(routes!(node::info::handle))
        .routes(routes!(node::address::handle))
        .routes(routes!(node::connect::handle))
        .routes(routes!(channels::list::handle, channels::open::handle))
        .routes(routes!(channels::close::handle))
        .routes(routes!(holds::list::handle))
        .routes(routes!(holds::check::handle))
        .routes(routes!(holds::release::handle))
        .routes(routes!(holds::show::handle))
        .routes(routes!(holds::cancel::handle))
        .routes(routes!(devices::list::handle))
        .routes(routes!(devices::remove::handle))
        .routes(routes!(mailbox::handle))
        .routes(routes!(notifications::handle))
        .routes(routes!(wakes::list::handle))
        .routes(routes!(wakes::show::handle))
}

/// The admin API's routes.
pub fn router(server: Arc<Server>) -> Router {
    Router::from(routes())
        .fallback(async || AdminError::UnknownPath)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(REQUESTS_MAX)), bounded))
        .with_state(server)
}

/// Bounds the requests under way: a script that runs wild must not stop the operator's own hands.
async fn bounded(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_place) = places.try_acquire() else {
        limits::refused(ServerLimit::AdminRequests, None);
        return AdminError::Busy.into_response();
    };
    next.run(request).await
}
