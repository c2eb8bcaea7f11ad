//! `GET /ready`: can the LSP serve phones?

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::api::public::HealthResponse;
use protocol::units::BlockHeight;
use tokio::sync::Mutex;

use super::{PublicState, health};

/// The longest that bitcoind may take to say its height.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long bitcoind's answer stands, in seconds: whoever asks us does not ask it.
const CHAIN_CACHED_SECONDS: u64 = 2;

/// How far the node may be behind bitcoind: blocks come in bursts.
const LAG_BLOCKS_MAX: u32 = 3;

/// bitcoind's last answer.
#[derive(Default)]
pub(super) struct ChainView {
    answer: Mutex<Option<(u64, Result<BlockHeight, String>)>>,
}

/// 200 while the database works and can be written, bitcoind answers, the node is level with it, and what it says can be
/// relied on.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "monitoring",
    responses(
        (status = 200, description = "Phones can be served", body = HealthResponse),
        (status = 503, description = "They cannot: the checks say why", body = HealthResponse),
    ),
)]
pub(super) async fn handle(State(state): State<PublicState>) -> (StatusCode, Json<HealthResponse>) {
    let database = health::database(&state.inner.database).await;
    let chain_height = chain_height(&state).await;
    let height = state.inner.node.height();
    let synced = match &chain_height {
        Ok(chain_height) if height.plus(LAG_BLOCKS_MAX) >= *chain_height => None,
        Ok(chain_height) => Some(format!("the node is at height {height}, bitcoind at {chain_height}")),
        Err(_) => Some("not known while bitcoind does not answer".to_owned()),
    };
    health::answer(vec![
        database,
        health::check("writable", health::trouble(&state.inner.database)),
        health::check("bitcoind", chain_height.err()),
        health::check("synced", synced),
        health::check("chain", state.inner.node.chain_trouble().map(|trouble| trouble.to_string())),
    ])
}

/// One question under way at a time; the others wait for its answer.
async fn chain_height(state: &PublicState) -> Result<BlockHeight, String> {
    let mut answer = state.inner.chain.answer.lock().await;
    let now_unix = state.inner.clock.now_unix();
    match &*answer {
        Some((at, height)) if now_unix.saturating_sub(*at) < CHAIN_CACHED_SECONDS => height.clone(),
        _ => {
            let asked = tokio::time::timeout(CHAIN_TIMEOUT, state.inner.node.chain_height()).await;
            let height = match asked {
                Ok(Ok(height)) => Ok(height),
                // The error names the RPC's URL, which is nobody's business here.
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "bitcoind does not answer");
                    Err("bitcoind does not answer; the server's log says why".to_owned())
                }
                Err(_) => Err("bitcoind takes too long to answer".to_owned()),
            };
            *answer = Some((now_unix, height.clone()));
            height
        }
    }
}
