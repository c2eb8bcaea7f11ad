//! A chain source that can be held back.
//!
//! LDK closes a channel when an HTLC that it offered is three blocks past its expiry and still there. A phone that slept
//! through that may find its LSP ready to fail the HTLC back: it has to hear the LSP first, and those blocks after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use lightning_block_sync::gossip::UtxoSource;
use lightning_block_sync::{BlockData, BlockHeaderData, BlockSource, BlockSourceResult};

use super::ChainClient;

/// Blocks past its expiry at which LDK closes the channel of an outbound HTLC (its `LATENCY_GRACE_PERIOD_BLOCKS`).
const LDK_CLOSE_BLOCKS: u32 = 3;

/// How long a reestablished LSP may take to remove an HTLC that has expired.
const REMOVAL_WAIT: Duration = Duration::from_secs(20);

/// How long an LSP that is out of reach is waited for once the chain is [`BEHIND_BLOCKS_MAX`] ahead.
const REACH_WAIT: Duration = Duration::from_secs(60);

/// How far the chain may run ahead without a time limit. Whoever looks away for longer than a `to_self_delay` could be
/// cheated; phones have 144 blocks and more.
const BEHIND_BLOCKS_MAX: u32 = 72;

/// bitcoind's best chain, cut off at a height that can be moved.
pub(crate) struct PatientChain {
    client: Arc<ChainClient>,
    height_max: AtomicU32,
}

impl PatientChain {
    /// The whole chain.
    pub(crate) fn new(client: Arc<ChainClient>) -> Self {
        Self { client, height_max: AtomicU32::new(u32::MAX) }
    }

    /// Ends the chain at `height`, or at bitcoind's tip.
    pub(crate) fn hold_at(&self, height: Option<u32>) {
        self.height_max.store(height.unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl BlockSource for PatientChain {
    fn get_header<'a>(
        &'a self,
        header_hash: &'a BlockHash,
        height_hint: Option<u32>,
    ) -> impl Future<Output = BlockSourceResult<BlockHeaderData>> + Send + 'a {
        self.client.get_header(header_hash, height_hint)
    }

    fn get_block<'a>(
        &'a self,
        header_hash: &'a BlockHash,
    ) -> impl Future<Output = BlockSourceResult<BlockData>> + Send + 'a {
        self.client.get_block(header_hash)
    }

    async fn get_best_block(&self) -> BlockSourceResult<(BlockHash, Option<u32>)> {
        let (tip, height) = self.client.get_best_block().await?;
        let height_max = self.height_max.load(Ordering::Relaxed);
        if height.is_none_or(|height| height <= height_max) {
            return Ok((tip, height));
        }
        Ok((self.client.get_block_hash_by_height(height_max).await?, Some(height_max)))
    }
}

/// The last height that LDK can see without closing a channel for one of these HTLCs of ours; not below `seen`, the one
/// that it has seen. `None` without HTLCs.
pub(crate) fn safe_height(expiries: impl Iterator<Item = u32>, seen: u32) -> Option<u32> {
    expiries.min().map(|expiry| expiry.saturating_add(LDK_CLOSE_BLOCKS - 1).max(seen))
}

/// How long the chain has been held back, and for whom.
pub(crate) struct Patience {
    started: Instant,
    reestablished: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, reestablished: None }
    }

    /// Whether to hold back at `safe` while bitcoind is at `tip`.
    pub(crate) fn holds(&mut self, safe: u32, tip: u32, reestablished: bool, now: Instant) -> bool {
        if !reestablished {
            self.reestablished = None;
        }
        if tip <= safe {
            self.started = now;
            self.reestablished = reestablished.then_some(now);
            return false;
        }
        if reestablished {
            let since = *self.reestablished.get_or_insert(now);
            return now.duration_since(since) < REMOVAL_WAIT;
        }
        tip - safe <= BEHIND_BLOCKS_MAX || now.duration_since(self.started) < REACH_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_expiry_counts_and_what_was_seen_is_not_unseen() {
        assert_eq!(safe_height([].into_iter(), 100), None);
        assert_eq!(safe_height([120, 110].into_iter(), 100), Some(112));
        assert_eq!(safe_height([110].into_iter(), 115), Some(115));
    }

    #[test]
    fn an_lsp_is_waited_for_until_it_has_removed_the_htlc_or_will_not() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start);
        assert!(!patience.holds(112, 112, false, start), "nothing to hold back yet");
        assert!(patience.holds(112, 113, false, after(1)));
        assert!(patience.holds(112, 112 + BEHIND_BLOCKS_MAX, false, after(10_000)), "half a day is fine");
        assert!(patience.holds(112, 150, true, after(10_001)));
        assert!(patience.holds(112, 150, true, after(10_020)));
        assert!(!patience.holds(112, 150, true, after(10_021)), "the LSP had its time");
    }

    #[test]
    fn an_lsp_that_is_gone_is_not_waited_for_for_ever() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let tip = 112 + BEHIND_BLOCKS_MAX + 1;
        assert!(patience.holds(112, tip, false, start + Duration::from_secs(59)));
        assert!(!patience.holds(112, tip, false, start + Duration::from_secs(60)));
    }
}
