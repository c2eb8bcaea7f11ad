//! The public HTTP API: phones register here to be woken, and monitoring asks how the LSP is.
//!
//! It stands in the open internet: bodies, time and requests under way are bounded, and nothing is written for a request
//! that is not signed.

mod body;
mod challenge;
mod challenges;
mod devices;
mod health;
mod info;
mod notify;
mod notify_by_url;
mod notify_response;
mod openapi;
mod owner;
mod ready;
#[cfg(test)]
mod tests;
mod wakes;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bitcoin::secp256k1::PublicKey;
use futures::future::BoxFuture;
use node::{ChainTrouble, Node, NodeError};
use protocol::units::BlockHeight;
use storage::Database;
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::openapi::document;

use self::challenges::Challenges;
use self::ready::ChainView;
use crate::clock::Clock;
use crate::damage::Damage;
use crate::http::problem::problem;
use crate::limits::{self, ServerLimit};
use crate::notify::Notifications;
use crate::store::devices::DeviceLimits;
use crate::wake::Waker;

/// The longest body, in bytes: a token of 2,048 bytes, all of it escaped, and the rest.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The longest that a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a caller waits for a phone's answer. No connection is idle for longer than 30 s.
const REPLY_TIMEOUT: Duration = Duration::from_secs(25);

/// A request whose answer somebody else has to give asks for more time than it has.
#[derive(Clone, Default)]
struct Patience(Arc<AtomicBool>);

impl Patience {
    fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the public API asks of the node.
pub trait PublicNode: Send + Sync + 'static {
    /// The LSP's public key.
    fn node_id(&self) -> PublicKey;

    /// Fresh random bytes.
    fn random_bytes(&self) -> [u8; 32];

    /// The peer has a channel here.
    fn has_channel(&self, peer: PublicKey) -> bool;

    /// The best height that the node has processed.
    fn height(&self) -> BlockHeight;

    /// Why the chain cannot be relied on, if it cannot.
    fn chain_trouble(&self) -> Option<ChainTrouble>;

    /// bitcoind's best height.
    fn chain_height(&self) -> BoxFuture<'_, Result<BlockHeight, NodeError>>;
}

impl PublicNode for Node {
    fn node_id(&self) -> PublicKey {
        Self::node_id(self)
    }

    fn random_bytes(&self) -> [u8; 32] {
        Self::random_bytes(self)
    }

    fn has_channel(&self, peer: PublicKey) -> bool {
        Self::has_channel(self, peer)
    }

    fn height(&self) -> BlockHeight {
        Self::height(self)
    }

    fn chain_trouble(&self) -> Option<ChainTrouble> {
        self.chain_health().trouble
    }

    fn chain_height(&self) -> BoxFuture<'_, Result<BlockHeight, NodeError>> {
        Box::pin(Self::chain_height(self))
    }
}

/// What the endpoints share.
#[derive(Clone)]
pub struct PublicState {
    inner: Arc<Inner>,
    damage: Option<Arc<Damage>>,
}

struct Inner {
    database: Database,
    node: Arc<dyn PublicNode>,
    waker: Arc<Waker>,
    notifications: Arc<Notifications>,
    limits: DeviceLimits,
    clock: Arc<dyn Clock>,
    challenges: Challenges,
    chain: ChainView,
    requests: Semaphore,
}

impl PublicState {
    /// The state of an API that registers devices in `database` and wakes them through `waker`, and has at most
    /// `requests_max` requests under way.
    pub fn new(
        database: Database,
        node: Arc<dyn PublicNode>,
        waker: Arc<Waker>,
        notifications: Arc<Notifications>,
        limits: DeviceLimits,
        requests_max: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let challenges = Challenges::new(node.random_bytes());
        let chain = ChainView::default();
        let requests = Semaphore::new(requests_max);
        let inner =
            Inner { database, node, waker, notifications, limits, clock, challenges, chain, requests };
        Self { inner: Arc::new(inner), damage: None }
    }

    /// As it was, and `GET /health` tells what `damage` has found.
    #[must_use]
    pub fn telling_of(self, damage: Arc<Damage>) -> Self {
        Self { damage: Some(damage), ..self }
    }
}

/// Every endpoint, each with its part of the document.
fn routes() -> OpenApiRouter<PublicState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(health::handle))
        .routes(routes!(ready::handle))
        .routes(routes!(openapi::handle))
        .routes(routes!(info::handle))
        .routes(routes!(challenge::handle))
        .routes(routes!(devices::list::handle, devices::register::handle))
        .routes(routes!(devices::refresh::handle, devices::remove::handle))
        .routes(routes!(devices::test::handle))
        .routes(routes!(wakes::handle))
        .routes(routes!(notify::handle))
        .routes(routes!(notify_by_url::handle))
        .routes(routes!(notify_response::handle))
}

/// The public API's routes.
pub fn router(state: PublicState) -> Router {
    Router::from(routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(state.clone(), bounded))
        .with_state(state)
}

async fn unknown_path() -> Response {
    let detail = "see the API's documentation for the paths that there are".to_owned();
    problem(StatusCode::NOT_FOUND, "not_found", "There is no such path", detail)
}

async fn wrong_method() -> Response {
    let detail = "the path exists, but not for this method".to_owned();
    problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Wrong method", detail)
}

/// Bounds the requests under way and the time of each.
async fn bounded(State(state): State<PublicState>, mut request: Request, next: Next) -> Response {
    let Ok(_place) = state.inner.requests.try_acquire() else {
        limits::refused(ServerLimit::HttpRequests, None);
        let detail = "too many requests are under way: try again in a second".to_owned();
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "busy", "The server is busy", detail);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    let patience = Patience::default();
    request.extensions_mut().insert(patience.clone());
    let clock = &*state.inner.clock;
    let mut answer = pin!(next.run(request));
    let mut answered = within(clock, REQUEST_TIMEOUT, &mut answer).await;
    if answered.is_none() && patience.is_asked_for() {
        answered = within(clock, REPLY_TIMEOUT, &mut answer).await;
    }
    match answered {
        Some(response) => response,
        None => {
            limits::refused(ServerLimit::HttpRequestSeconds, None);
            let detail = format!("it was not done within {} seconds", REQUEST_TIMEOUT.as_secs());
            problem(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long", detail)
        }
    }
}

/// What `future` gives within a time, if it does.
async fn within<T>(clock: &dyn Clock, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(limit) => None,
    }
}
