//! One bitcoind, over JSON-RPC.

use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::STANDARD;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, Network, OutPoint, Transaction};
use lightning_block_sync::gossip::UtxoSource;
use lightning_block_sync::http::{HttpClientError, HttpError, JsonResponse};
use lightning_block_sync::rpc::{RpcClient, RpcClientError};
use lightning_block_sync::{BlockData, BlockHeaderData, BlockSource, BlockSourceResult};
use serde_json::{Value, json};

use crate::config::BitcoindConfig;
use crate::error::NodeError;

/// The chain source of a node.
pub(crate) struct ChainClient {
    rpc: RpcClient,
    url: String,
}

impl ChainClient {
    pub(crate) fn new(config: &BitcoindConfig) -> Self {
        let credentials = STANDARD.encode(format!("{}:{}", config.rpc_user, config.rpc_password));
        let url = config.rpc_url.clone();
        Self { rpc: RpcClient::new(&credentials, url.clone()), url }
    }

    pub(crate) async fn call(&self, method: &str, params: &[Value]) -> Result<Value, RpcClientError> {
        self.rpc.call_method::<JsonResponse>(method, params).await.map(|response| response.0)
    }

    /// Checks that bitcoind answers and is on `network`.
    pub(crate) async fn check(&self, network: Network) -> Result<(), NodeError> {
        let info = self.call("getblockchaininfo", &[]).await.map_err(|error| match error {
            RpcClientError::Http(HttpClientError::Http(HttpError { status_code: 401 | 403, .. })) => {
                NodeError::BitcoindRefuses { url: self.url.clone() }
            }
            error => self.error(error),
        })?;
        let actual = chain_of(&info);
        if actual == network.to_core_arg() {
            Ok(())
        } else {
            Err(NodeError::WrongChain { expected: network, actual: actual.to_owned() })
        }
    }

    pub(crate) fn error(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NodeError {
        NodeError::Bitcoind { url: self.url.clone(), source: source.into() }
    }

    /// `estimatesmartfee`, in satoshi per 1000 weight units; `None` when bitcoind has no estimate.
    pub(crate) async fn estimate_sat_per_kw(&self, blocks: u16) -> Result<Option<u32>, RpcClientError> {
        Ok(sat_per_kw(&self.call("estimatesmartfee", &[json!(blocks)]).await?))
    }

    /// Broadcasts `transactions`, as a package when there is more than one.
    pub(crate) async fn broadcast(&self, transactions: &[Transaction]) -> Result<(), RpcClientError> {
        if let [transaction] = transactions {
            self.call("sendrawtransaction", &[json!(serialize_hex(transaction))]).await?;
            return Ok(());
        }
        let package: Vec<_> = transactions.iter().map(serialize_hex).collect();
        self.call("submitpackage", &[json!(package)]).await.map(drop)
    }
}

/// The chain in an answer to `getblockchaininfo`.
pub(crate) fn chain_of(answer: &Value) -> &str {
    answer.get("chain").and_then(Value::as_str).unwrap_or("an unknown chain")
}

/// The rate in an answer to `estimatesmartfee`, which names BTC per 1000 virtual bytes.
pub(crate) fn sat_per_kw(answer: &Value) -> Option<u32> {
    let btc_per_kvb = answer.get("feerate").and_then(Value::as_f64)?;
    Some((btc_per_kvb * 100_000_000.0 / 4.0).ceil() as u32)
}

impl BlockSource for ChainClient {
    fn get_header<'a>(
        &'a self,
        header_hash: &'a BlockHash,
        height_hint: Option<u32>,
    ) -> impl Future<Output = BlockSourceResult<BlockHeaderData>> + Send + 'a {
        self.rpc.get_header(header_hash, height_hint)
    }

    fn get_block<'a>(
        &'a self,
        header_hash: &'a BlockHash,
    ) -> impl Future<Output = BlockSourceResult<BlockData>> + Send + 'a {
        self.rpc.get_block(header_hash)
    }

    fn get_best_block<'a>(
        &'a self,
    ) -> impl Future<Output = BlockSourceResult<(BlockHash, Option<u32>)>> + Send + 'a {
        self.rpc.get_best_block()
    }
}

impl UtxoSource for ChainClient {
    fn get_block_hash_by_height<'a>(
        &'a self,
        block_height: u32,
    ) -> impl Future<Output = BlockSourceResult<BlockHash>> + Send + 'a {
        self.rpc.get_block_hash_by_height(block_height)
    }

    fn is_output_unspent<'a>(
        &'a self,
        outpoint: OutPoint,
    ) -> impl Future<Output = BlockSourceResult<bool>> + Send + 'a {
        self.rpc.is_output_unspent(outpoint)
    }
}
