//! What `fuzz/` runs on a bitcoind's answers, and the replay of its corpus.

pub use crate::lsps::fuzz::{hook_notification, lsps_message};

use bitcoin::{Block, BlockHash, Transaction, Txid};
use lightning_block_sync::BlockHeaderData;
use lightning_block_sync::http::JsonResponse;
use serde_json::Value;

use crate::chain::{chain_of, sat_per_kw};

/// An answer of bitcoind, read as each of the answers that a node asks for.
pub fn bitcoind_answer(data: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(data) else { return };
    let _ = chain_of(&answer);
    let _ = sat_per_kw(&answer);
    let _: Result<BlockHeaderData, _> = JsonResponse(answer.clone()).try_into();
    let _: Result<Block, _> = JsonResponse(answer.clone()).try_into();
    let _: Result<(BlockHash, Option<u32>), _> = JsonResponse(answer.clone()).try_into();
    let _: Result<BlockHash, _> = JsonResponse(answer.clone()).try_into();
    let _: Result<Txid, _> = JsonResponse(answer.clone()).try_into();
    let _: Result<Transaction, _> = JsonResponse(answer).try_into();
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
#[test]
fn the_corpus_finds_nothing() {
    replay::corpus("bitcoind_answer", bitcoind_answer);
    replay::corpus("hook_notification", hook_notification);
    replay::corpus("lsps_message", lsps_message);
}
