//! Asking bitcoind how it does, beside the task that follows its blocks: that one waits for a bitcoind that hangs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{ChainClient, ChainReport};
use crate::Node;
use crate::clock::{Clock, SystemClock};

/// How often bitcoind is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl ChainClient {
    /// What bitcoind says of the chain; `None` if it does not, or not in time.
    async fn report(&self) -> Option<ChainReport> {
        let asked = async {
            let chain = self.call("getblockchaininfo", &[]).await.ok()?;
            let network = self.call("getnetworkinfo", &[]).await.ok()?;
            let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64);
            let height = |key| number(&chain, key).and_then(|height| u32::try_from(height).ok());
            Some(ChainReport {
                blocks: height("blocks")?,
                headers: height("headers")?,
                tip: chain.get("bestblockhash")?.as_str()?.to_owned(),
                tip_time: number(&chain, "time"),
                is_syncing: chain.get("initialblockdownload").and_then(Value::as_bool).unwrap_or(false),
                connections: number(&network, "connections"),
            })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok().flatten()
    }
}

impl Node {
    /// Asks for ever, and says once when the chain cannot be relied on, and when it can again.
    pub(crate) async fn watch_chain(self: Arc<Self>) {
        loop {
            let report = self.client.report().await;
            let height = self.height();
            let changed = self.chain_watch.observe(report.as_ref(), height, SystemClock.now_unix());
            match changed.map(|health| health.trouble) {
                Some(Some(trouble)) => tracing::error!(
                    %height,
                    chain_height = ?report.map(|report| report.blocks),
                    trouble = trouble.as_str(),
                    "the chain cannot be relied on: {trouble}"
                ),
                Some(None) => tracing::info!(%height, "the chain can be relied on again"),
                None => {}
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
}
