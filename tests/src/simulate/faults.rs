//! What goes wrong in a world.

use std::time::Duration;

use storage::faults::Fault;

use super::ldk::{At, Event};
use super::world::World;

/// Blocks in one burst, at most.
const BURST_BLOCKS_MAX: u64 = 300;

impl World {
    /// The process dies: now, before one of the next calls of LDK, or at one of the next commits.
    pub(super) fn arm_crash(&mut self) {
        self.model.lock().disturbed = true;
        match self.rng.below(4) {
            0 => {
                self.note("crash between two operations");
                self.model.lock().die("kill -9");
            }
            1 => {
                let calls = self.rng.below(6);
                let mut state = self.model.lock();
                state.trace.line(format!("- crash in {calls} calls"));
                state.crash_in = Some(calls);
            }
            _ => {
                let (commits, after) = (self.rng.below(6), self.rng.percent(50));
                let mut state = self.model.lock();
                state.trace.line(format!("- crash in {commits} commits, after: {after}"));
                state.trace.count(if after { "crash after a commit" } else { "crash before a commit" });
                if let Some(faults) = &state.faults {
                    faults.cut_at_commit(commits, after);
                }
            }
        }
    }

    pub(super) fn database_fault(&mut self) {
        let kinds = [Fault::Full, Fault::ReadOnly, Fault::Busy, Fault::Io];
        let fault = kinds[self.rng.index(kinds.len())];
        let mut state = self.model.lock();
        state.disturbed = true;
        state.trace.line(format!("- {fault:?} at the next commit"));
        state.trace.count("database error");
        if let Some(faults) = &state.faults {
            faults.fail_next(fault, 1);
        }
    }

    pub(super) fn close_channel(&mut self) {
        if self.rng.percent(60) {
            return;
        }
        let channels = self.model.lock().channels.len();
        let channel = self.rng.index(channels);
        let together = self.rng.percent(50);
        let mut state = self.model.lock();
        if state.dead || !state.channels[channel].open {
            return;
        }
        state.trace.line(format!("- channel {channel} closes, together: {together}"));
        state.trace.count("channel closed by its phone");
        state.disturbed = true;
        if together {
            state.channels[channel].shutting_down = true;
        } else {
            state.close(channel);
            state.on_chain();
        }
    }

    /// LDK says twice what happened once.
    pub(super) fn duplicate(&mut self) {
        let mut state = self.model.lock();
        if state.dead {
            return;
        }
        let claimed: Vec<_> = state
            .memory
            .at
            .iter()
            .filter(|(htlc, at)| {
                **at == At::Claimed || (**at == At::Gone && state.htlcs[**htlc].outcome == Some(true))
            })
            .map(|(htlc, _)| *htlc)
            .collect();
        if !claimed.is_empty() {
            let htlc = claimed[self.rng.index(claimed.len())];
            state.trace.count("PaymentForwarded doubled");
            state.memory.events.push_back(Event::Forwarded(htlc));
        }
    }

    /// Many blocks at once: the LSP was cut off, or the chain was quick.
    pub(super) fn burst(&mut self) {
        let blocks = if self.rng.percent(70) {
            self.rng.between(2, 20)
        } else {
            self.rng.between(2, BURST_BLOCKS_MAX)
        };
        self.note("burst of blocks");
        {
            let mut state = self.model.lock();
            let height = state.height + blocks as u32;
            state.set_height(height);
            state.now += Duration::from_secs(blocks * 60);
            // Whoever waits now had no calm blocks to come in.
            let calm = state.calm;
            for htlc in &mut state.htlcs {
                htlc.waits_since = htlc.waits_since.map(|_| calm);
            }
            if state.dead {
                return;
            }
            state.block_connected();
        }
        self.tell_block();
    }

    pub(super) fn reorg(&mut self) {
        let back = self.rng.between(1, 5) as u32;
        self.note("reorg");
        let height = {
            let mut state = self.model.lock();
            let height = state.height;
            state.set_height(height - back);
            height
        };
        if self.rng.percent(50) {
            self.after();
        }
        self.model.lock().set_height(height);
        self.calm_block();
    }
}
