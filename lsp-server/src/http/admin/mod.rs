//! The operator's API, on a Unix socket in the data directory: whoever may open the socket may do everything.
//!
//! One endpoint per file; [`protocol::api::admin`] has the types.

mod channels;
mod devices;
mod error;
mod holds;
mod mailbox;
mod node;
mod socket;
mod wakes;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;

pub use error::AdminError;
pub use socket::bind;

use crate::limits::{self, ServerLimit};
use crate::server::Server;

/// The longest request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The most entries of one list.
const LISTED_MAX: u32 = 1_000;

/// Requests under way at once.
const REQUESTS_MAX: usize = 64;

/// Every endpoint.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/node", get(node::info::handle))
        .route("/v1/node/address", post(node::address::handle))
        .route("/v1/node/connect", post(node::connect::handle))
        .route("/v1/channels", get(channels::list::handle).post(channels::open::handle))
        .route("/v1/channels/{channel_id}/close", post(channels::close::handle))
        .route("/v1/holds", get(holds::list::handle))
        .route("/v1/holds/check", get(holds::check::handle))
        .route("/v1/holds/release", post(holds::release::handle))
        .route("/v1/holds/{pid_hash}", get(holds::show::handle))
        .route("/v1/holds/{pid_hash}/cancel", post(holds::cancel::handle))
        .route("/v1/devices", get(devices::list::handle))
        .route("/v1/devices/{device_id}", delete(devices::remove::handle))
        .route("/v1/mailbox", get(mailbox::handle))
        .route("/v1/wakes", get(wakes::list::handle))
        .route("/v1/wakes/{id}", get(wakes::show::handle))
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
