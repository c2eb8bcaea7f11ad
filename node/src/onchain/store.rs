//! BDK's change sets in the key-value table: appended one by one, merged at load.

use std::sync::atomic::{AtomicU64, Ordering};

use bdk_wallet::ChangeSet;
use storage::Database;

use super::merge;
use crate::error::NodeError;

const NAMESPACE: &str = "on_chain_wallet";
const CHANGE_SETS: &str = "change_sets";

/// Appends BDK's change sets in call order.
pub(super) struct ChangeSets {
    database: Database,
    next: AtomicU64,
}

impl ChangeSets {
    /// Reads all of them, oldest first, and merges what has piled up into one.
    pub(super) async fn load(database: Database) -> Result<(Self, Option<ChangeSet>), NodeError> {
        let kv = database.kv();
        let mut keys = kv.list(NAMESPACE, CHANGE_SETS).await?;
        keys.sort_unstable();
        let mut merged = None;
        for key in &keys {
            let corrupt = || NodeError::Corrupt {
                what: "on-chain wallet",
                key: format!("{NAMESPACE}/{CHANGE_SETS}/{key}"),
            };
            let bytes = kv.read(NAMESPACE, CHANGE_SETS, key).await?.ok_or_else(corrupt)?;
            merge(&mut merged, serde_json::from_slice(&bytes).map_err(|_| corrupt())?);
        }
        let last = keys.last().and_then(|key| u64::from_str_radix(key, 16).ok());
        let this = Self { database, next: AtomicU64::new(last.map_or(0, |last| last + 1)) };
        if let (Some(merged), true) = (&merged, keys.len() > 1) {
            // In one queue, in this order: a crash in between leaves old sets whose merge changes nothing.
            this.append(merged);
            for key in keys {
                drop(this.database.kv().remove(NAMESPACE, CHANGE_SETS, &key));
            }
        }
        Ok((this, merged))
    }

    /// Queues `changes` behind what was queued before; durable with the writer's next commit.
    pub(super) fn append(&self, changes: &ChangeSet) {
        let key = format!("{:016x}", self.next.fetch_add(1, Ordering::Relaxed));
        match serde_json::to_vec(changes) {
            Ok(bytes) => drop(self.database.kv().write(NAMESPACE, CHANGE_SETS, &key, bytes)),
            Err(error) => tracing::error!(%error, "an on-chain wallet change cannot be written"),
        }
    }
}
