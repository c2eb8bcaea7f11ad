//! Blocks, and what LDK does at their heights.

use super::super::keys;
use super::{At, CALM_BLOCKS_MIN, Event, Outer, State};

/// LDK fails an intercepted HTLC at `height >= outgoing_cltv - 39` (`HTLC_FAIL_BACK_BUFFER`, ln/channelmanager.rs:16882).
const FAIL_BACK_BLOCKS: u32 = 39;

/// LDK closes a channel to claim an inbound HTLC that expires within so many blocks (`CLTV_CLAIM_BUFFER`,
/// chain/channelmonitor.rs:6356).
pub(super) const CLAIM_BLOCKS: u32 = 36;

/// LDK closes a channel so many blocks after an HTLC that it offered expired (`LATENCY_GRACE_PERIOD_BLOCKS`,
/// chain/channelmonitor.rs:6355).
pub(super) const GRACE_BLOCKS: u32 = 3;

/// A timeout on chain counts after so many blocks more (`ANTI_REORG_DELAY`, chain/channelmonitor.rs:309).
const BURIED_BLOCKS: u32 = 6;

impl State {
    /// The best block is at `height` now. While the LSP is down it sees nothing of it until it starts.
    pub fn set_height(&mut self, height: u32) {
        self.height = height;
        self.trace.line(format!("height {height}"));
    }

    /// LDK looks at its HTLCs at the new height.
    pub fn block_connected(&mut self) {
        let height = self.height;
        for htlc in 0..self.htlcs.len() {
            let (inbound, outbound) = (self.htlcs[htlc].inbound, self.htlcs[htlc].outbound);
            let (expiry, out_expiry) = (self.htlcs[htlc].expiry, self.htlcs[htlc].out_expiry);
            match self.at(htlc) {
                At::Intercepted if height >= out_expiry.saturating_sub(FAIL_BACK_BLOCKS) => {
                    // Of a held one the deadline passed in the same burst of blocks, or while the LSP was down: after any block
                    // that the LSP had time for, `check_deadlines` would have found it held.
                    let held = self.htlcs[htlc].under_hold;
                    self.trace.count(if held {
                        "held HTLC failed by LDK's own timeout"
                    } else {
                        "HTLC failed by LDK's own timeout"
                    });
                    self.fail(htlc);
                }
                At::Claimed if expiry <= height + CLAIM_BLOCKS && self.channels[inbound].open => {
                    self.judge_close(htlc, inbound, "the payer's");
                    self.close(inbound);
                }
                At::Out if out_expiry + GRACE_BLOCKS <= height && self.channels[outbound].open => {
                    self.judge_close(htlc, outbound, "the payee's");
                    self.close(outbound);
                }
                _ => {}
            }
        }
        self.on_chain();
    }

    /// What closed channels resolve on chain.
    pub fn on_chain(&mut self) {
        let height = self.height;
        for htlc in 0..self.htlcs.len() {
            let known = self.htlcs[htlc].clone();
            if self.at(htlc) == At::Out && !self.channels[known.outbound].open {
                match known.outer {
                    Outer::Claimed => self.learn(htlc, true),
                    // A payee that has it claims on chain as well, unless it does not know the whole set.
                    _ if height >= known.out_expiry + BURIED_BLOCKS => {
                        self.htlcs[htlc].outer = Outer::Failed;
                        self.learn(htlc, false);
                    }
                    _ => {}
                }
            }
            if self.channels[known.inbound].open {
                continue;
            }
            if known.outcome.is_some() {
                // A manager from before it left its channel finds the channel closed, and the HTLC not on it.
                if matches!(self.at(htlc), At::Claimed | At::Failed) {
                    self.memory.at.insert(htlc, At::Gone);
                }
                continue;
            }
            match self.at(htlc) {
                At::Claimed => {
                    let waited = known.waits_since.map_or(0, |since| self.calm.saturating_sub(since));
                    if height >= known.expiry && waited >= CALM_BLOCKS_MIN {
                        self.trace.violation(format!("htlc {htlc} was claimed on chain after its expiry"));
                    }
                    self.memory.at.insert(htlc, At::Gone);
                    self.resolve(htlc, true);
                }
                At::Failed | At::Intercepted if height >= known.expiry => {
                    self.memory.at.insert(htlc, At::Gone);
                    self.resolve(htlc, false);
                }
                _ => {}
            }
        }
    }

    /// A channel is closed, by whoever.
    pub fn close(&mut self, channel: usize) {
        if !self.channels[channel].open {
            return;
        }
        self.channels[channel].open = false;
        self.disturbed = true;
        self.trace.line(format!("channel {channel} is closed"));
        self.trace.count("channel closed");
        self.memory.events.push_back(Event::Closed(channel));
    }

    /// The other end of a channel, by its place among the payers and payees.
    pub fn phone_of(&self, channel: usize) -> usize {
        let peer = self.channels[channel].peer;
        if peer == keys::PEER_LSP.id {
            return keys::PEER_LSP_NUMBER;
        }
        (0..keys::PAYERS_MAX)
            .find(|index| keys::payer(*index).id == peer)
            .or_else(|| {
                (0..keys::PAYEES_MAX)
                    .find(|index| keys::payee(*index).id == peer)
                    .map(|i| i + keys::PAYERS_MAX)
            })
            .unwrap_or(usize::MAX)
    }
}
