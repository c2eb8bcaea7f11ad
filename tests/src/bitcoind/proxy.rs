//! A JSON-RPC proxy before bitcoind that can lie about the chain.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Bitcoind;
use crate::failure::Failure;

/// Longer than anybody here waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the proxy says of the chain instead of the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing: it passes on what bitcoind says.
    #[default]
    None,
    /// The tip is what it was when the lie began, whatever comes.
    Frozen,
    /// The tip is so many blocks lower than it is, and there is no better one.
    Lower(u32),
    /// There are headers of so many blocks more than there are blocks.
    MoreHeaders(u32),
    /// The newest block is so many seconds from now.
    FromTheFuture(u64),
    /// Nothing answers.
    Gone,
}

/// A running proxy.
#[derive(Debug)]
pub struct RpcProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    upstream: String,
    lie: Lie,
    frozen: Option<Value>,
}

impl RpcProxy {
    /// Starts one before `bitcoind`.
    ///
    /// # Errors
    ///
    /// When there is no port for it.
    pub async fn start(bitcoind: &Bitcoind) -> Result<Self, Failure> {
        let failure = |source| Failure::Start { name: "the RPC proxy".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failure)?;
        let address = listener.local_addr().map_err(failure)?;
        let told = Mutex::new(Told { upstream: bitcoind.rpc_url(), lie: Lie::None, frozen: None });
        let shared = Arc::new(Shared { client: crate::http::client(TIMEOUT)?, told });
        let app = Router::new().route("/", post(answer)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the test, which drops the task.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, shared, task })
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells this lie from now on.
    pub fn lie(&self, lie: Lie) {
        let mut told = self.shared.told();
        told.lie = lie;
        told.frozen = None;
    }

    /// Asks this bitcoind from now on.
    pub fn stand_before(&self, bitcoind: &Bitcoind) {
        self.shared.told().upstream = bitcoind.rpc_url();
    }
}

impl Drop for RpcProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, headers: &HeaderMap, body: Bytes) -> Option<Value> {
        let upstream = self.told().upstream.clone();
        let mut request = self.client.post(upstream).body(body);
        if let Some(credentials) = headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION.as_str(), credentials.as_bytes());
        }
        request.send().await.ok()?.json().await.ok()
    }

    /// What is told of the chain instead of `chain`, a `getblockchaininfo`.
    async fn bend(&self, headers: &HeaderMap, mut chain: Value) -> Option<Value> {
        let lie = self.told().lie.clone();
        match lie {
            Lie::None | Lie::Gone => {}
            Lie::Frozen => return Some(self.told().frozen.get_or_insert(chain).clone()),
            Lie::Lower(blocks) => {
                let height = chain["blocks"].as_u64()?.saturating_sub(blocks.into());
                let question = json!({ "method": "getblockhash", "params": [height] });
                let hash = self.ask(headers, question.to_string().into()).await?;
                chain["bestblockhash"] = hash["result"].clone();
                chain["blocks"] = height.into();
                chain["headers"] = height.into();
            }
            Lie::MoreHeaders(blocks) => {
                chain["headers"] = (chain["headers"].as_u64()? + u64::from(blocks)).into();
            }
            Lie::FromTheFuture(secs) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
                chain["time"] = (now.as_secs() + secs).into();
            }
        }
        Some(chain)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    if shared.told().lie == Lie::Gone {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(mut answer) = shared.ask(&headers, body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if question["method"] == "getblockchaininfo"
        && let Some(chain) = shared.bend(&headers, answer["result"].clone()).await
    {
        answer["result"] = chain;
    }
    let status = if answer["error"].is_null() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
