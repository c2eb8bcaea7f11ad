//! Whether what bitcoind says of the chain can be relied on.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bitcoin::Network;
use protocol::units::BlockHeight;

/// How long bitcoind may be silent, in seconds, before that is trouble.
const UNREACHABLE_SECS: u64 = 10;
/// How long its tip may be below what we have seen, in seconds: a reorganisation takes a moment.
const WENT_BACK_SECS: u64 = 10;
/// How long it may lack blocks whose headers it has, or we may lack blocks that it has, or it may be without peers, in seconds.
const BEHIND_SECS: u64 = 30;
/// How many blocks either may be behind: they come in bursts.
const BEHIND_BLOCKS_MAX: u32 = 2;
/// A block's time may be so far ahead of the clock (consensus), or, with slow miners, behind it, in seconds.
const BLOCK_TIME_SPREAD_SECS: u64 = 7_200;

/// When the chain source is not to be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    /// Without a new block for so long the chain counts as stalled, in seconds; 0 for never.
    pub stall_secs: u64,
    /// So far may the newest block's time be ahead of the clock, in seconds; 0 for any time.
    pub ahead_secs_max: u64,
    /// While the chain cannot be relied on, a block is taken to come every so many seconds.
    pub block_secs_min: u64,
}

impl ChainLimits {
    /// What is usual on `network`. Blocks of regtest come when somebody makes one, at whatever time.
    pub fn of(network: Network) -> Self {
        let real = network != Network::Regtest;
        Self {
            // e^-12: without anything being wrong, about once in three years.
            stall_secs: if real { 7_200 } else { 0 },
            ahead_secs_max: if real { BLOCK_TIME_SPREAD_SECS } else { 0 },
            // A tenth faster than ten minutes, which is how far difficulty lags at most for long.
            block_secs_min: 540,
        }
    }
}

/// Why the chain cannot be relied on. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainTrouble {
    /// bitcoind does not answer, or not in time.
    Unreachable,
    /// bitcoind says itself that it is still loading the chain.
    Syncing,
    /// Its tip is below one that we have seen, and no better chain takes its place.
    WentBack,
    /// It has headers of blocks that it does not have.
    BehindHeaders,
    /// It has blocks that we cannot take over.
    NotFollowing,
    /// It has no peers, so that it hears of no block.
    NoPeers,
    /// Its newest block is from the future: its clock or ours is wrong.
    AheadOfClock,
    /// Blocks come, but from long ago: its clock or ours is wrong, or it is shown an old chain.
    BehindClock,
    /// No new block for too long.
    Stalled,
}

impl ChainTrouble {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Syncing,
        Self::WentBack,
        Self::BehindHeaders,
        Self::NotFollowing,
        Self::NoPeers,
        Self::AheadOfClock,
        Self::BehindClock,
        Self::Stalled,
    ];

    /// The name, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Syncing => "syncing",
            Self::WentBack => "went_back",
            Self::BehindHeaders => "behind_headers",
            Self::NotFollowing => "not_following",
            Self::NoPeers => "no_peers",
            Self::AheadOfClock => "ahead_of_clock",
            Self::BehindClock => "behind_clock",
            Self::Stalled => "stalled",
        }
    }
}

impl fmt::Display for ChainTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "bitcoind does not answer",
            Self::Syncing => "bitcoind is still loading the chain",
            Self::WentBack => "bitcoind's tip went back, and no better chain took its place",
            Self::BehindHeaders => "bitcoind lacks blocks whose headers it has",
            Self::NotFollowing => "bitcoind has blocks that this node could not take over",
            Self::NoPeers => "bitcoind has no peers",
            Self::AheadOfClock => "the newest block is from the future",
            Self::BehindClock => "new blocks are from long ago",
            Self::Stalled => "no new block has come for too long",
        })
    }
}

/// What bitcoind said of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainReport {
    /// Height of its tip.
    pub(crate) blocks: u32,
    /// Height of its best header.
    pub(crate) headers: u32,
    /// The tip's hash, as it writes it.
    pub(crate) tip: String,
    /// The tip's time, in seconds since 1970, if it tells.
    pub(crate) tip_time: Option<u64>,
    /// Its own word that it is loading the chain.
    pub(crate) is_syncing: bool,
    /// Its peers.
    pub(crate) connections: Option<u64>,
}

/// How the chain source does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainHealth {
    /// What is wrong, if anything is.
    pub trouble: Option<ChainTrouble>,
    /// Since when that is so, in seconds since 1970.
    pub since_unix: u64,
    /// Height of bitcoind's tip when it last answered.
    pub chain_height: Option<BlockHeight>,
    /// When its newest block came, in seconds since 1970; for the block that was there at the start, the block's own time.
    pub tip_seen_unix: Option<u64>,
}

/// What was seen of the chain source.
pub(crate) struct ChainWatch {
    network: Network,
    limits: ChainLimits,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    health: ChainHealth,
    tip: String,
    tip_time: u64,
    /// Since when each of these has been so.
    silent: Since,
    lower: Since,
    behind_headers: Since,
    not_following: Since,
    alone: Since,
}

#[derive(Default)]
struct Since(Option<u64>);

impl Since {
    /// Whether it has been so for `secs`.
    fn lasts(&mut self, is_so: bool, secs: u64, now_unix: u64) -> bool {
        if !is_so {
            self.0 = None;
            return false;
        }
        let since = *self.0.get_or_insert(now_unix);
        now_unix.saturating_sub(since) >= secs
    }
}

impl ChainWatch {
    pub(crate) fn new(network: Network, limits: ChainLimits) -> Self {
        Self { network, limits, seen: Mutex::default() }
    }

    pub(crate) fn health(&self) -> ChainHealth {
        self.lock().health
    }

    pub(crate) fn cautious_height(&self, height: BlockHeight, now_unix: u64) -> BlockHeight {
        let health = self.health();
        match (health.trouble, health.tip_seen_unix) {
            (Some(_), Some(tip_seen_unix)) => {
                let blocks = now_unix.saturating_sub(tip_seen_unix) / self.limits.block_secs_min.max(1);
                height.plus(u32::try_from(blocks).unwrap_or(u32::MAX))
            }
            _ => height,
        }
    }

    /// Takes in what bitcoind said, `None` if it was silent, while this node is at `height`. Answers what is wrong now if that
    /// has changed.
    pub(crate) fn observe(
        &self,
        report: Option<&ChainReport>,
        height: BlockHeight,
        now_unix: u64,
    ) -> Option<ChainHealth> {
        let mut seen = self.lock();
        let trouble = seen.judge(report, height, now_unix, self.network, self.limits);
        if trouble == seen.health.trouble {
            return None;
        }
        seen.health.trouble = trouble;
        seen.health.since_unix = now_unix;
        Some(seen.health)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn judge(
        &mut self,
        report: Option<&ChainReport>,
        height: BlockHeight,
        now_unix: u64,
        network: Network,
        limits: ChainLimits,
    ) -> Option<ChainTrouble> {
        if let Some(report) = report {
            self.take_tip(report, now_unix);
        }
        let unreachable = self.silent.lasts(report.is_none(), UNREACHABLE_SECS, now_unix);
        let far = |low: u32, high: u32| high > low.saturating_add(BEHIND_BLOCKS_MAX);
        // A bitcoind that is silent has not changed its mind: what was wrong before goes on.
        if let Some(report) = report {
            let (lower, lacks) = (report.blocks < height.0, far(report.blocks, report.headers));
            self.lower.lasts(lower, WENT_BACK_SECS, now_unix);
            self.behind_headers.lasts(lacks, BEHIND_SECS, now_unix);
            self.not_following.lasts(far(height.0, report.blocks), BEHIND_SECS, now_unix);
            let alone = network != Network::Regtest && report.connections == Some(0);
            self.alone.lasts(alone, BEHIND_SECS, now_unix);
        }
        let lasted = |since: &Since, secs| since.0.is_some_and(|at| now_unix.saturating_sub(at) >= secs);
        let stall = limits.stall_secs;
        let old = |at: Option<u64>, secs| at.is_some_and(|at| now_unix.saturating_sub(at) >= secs);
        let ahead =
            limits.ahead_secs_max > 0 && self.tip_time > now_unix.saturating_add(limits.ahead_secs_max);
        let long_ago =
            stall > 0 && self.tip_time > 0 && old(Some(self.tip_time), stall + BLOCK_TIME_SPREAD_SECS);
        let stalled = stall > 0 && old(self.health.tip_seen_unix, stall);
        let kinds = [
            (unreachable, ChainTrouble::Unreachable),
            (report.is_some_and(|report| report.is_syncing), ChainTrouble::Syncing),
            (lasted(&self.lower, WENT_BACK_SECS), ChainTrouble::WentBack),
            (lasted(&self.behind_headers, BEHIND_SECS), ChainTrouble::BehindHeaders),
            (lasted(&self.not_following, BEHIND_SECS), ChainTrouble::NotFollowing),
            (lasted(&self.alone, BEHIND_SECS), ChainTrouble::NoPeers),
            (ahead, ChainTrouble::AheadOfClock),
            (long_ago && !stalled, ChainTrouble::BehindClock),
            (stalled, ChainTrouble::Stalled),
        ];
        kinds.into_iter().find_map(|(is_so, trouble)| is_so.then_some(trouble))
    }

    fn take_tip(&mut self, report: &ChainReport, now_unix: u64) {
        self.health.chain_height = Some(BlockHeight(report.blocks));
        self.tip_time = report.tip_time.unwrap_or(0);
        if self.tip == report.tip {
            return;
        }
        let is_first = self.tip.is_empty();
        self.tip.clone_from(&report.tip);
        // A bitcoind that was stuck before we came is stuck now.
        let came = if is_first { report.tip_time.unwrap_or(now_unix).min(now_unix) } else { now_unix };
        self.health.tip_seen_unix = Some(came);
    }
}

#[cfg(test)]
mod tests;
