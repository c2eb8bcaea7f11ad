//! `GET /v1/node`

use protocol::api::Problem;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use protocol::api::admin::{DatabaseWork, NodeInfo};

use crate::server::Server;

/// An operator who asks how the node is must not wait for a bitcoind that hangs.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Who the node is and how it does. Answers without bitcoind too.
#[utoipa::path(
    get,
    path = "/v1/node",
    operation_id = "node_info",
    tag = "node",
    responses(
        (status = 200, description = "Who the node is and how it does", body = NodeInfo),
        (status = "default", description = "Refused, with the reason and the remedy", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn handle(State(server): State<Arc<Server>>) -> Json<NodeInfo> {
    let node = server.node();
    let config = node.config();
    let channels = node.channels();
    let balances = node.balances();
    let work = server.database().stats();
    let chain_height = tokio::time::timeout(CHAIN_TIMEOUT, node.chain_height()).await;
    Json(NodeInfo {
        node_id: node.node_id(),
        alias: config.alias.clone(),
        network: config.network,
        height: node.height(),
        chain_height: chain_height.ok().and_then(Result::ok),
        listen: config.listen.clone(),
        announced_addresses: config.announced_addresses.clone(),
        peers: node.connected_peers().len(),
        channels: channels.len(),
        channels_usable: channels.iter().filter(|channel| channel.is_usable).count(),
        lightning_balance_msat: balances.lightning,
        on_chain_spendable_sat: balances.on_chain.spendable_sat,
        on_chain_total_sat: balances.on_chain.total_sat,
        alarms: server.alarms(),
        database: DatabaseWork {
            commits: work.commits,
            transactions: work.transactions,
            kv_writes: work.kv_writes,
            kv_bytes: work.kv_bytes,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
