//! What the channel manager does by itself: its events, its forwards, what it writes and finds again.

use super::{At, Event, HTLCS_PER_CHANNEL_MAX, Manager, State};

impl State {
    /// The LSP's process dies now, as by `kill -9`.
    pub fn die(&mut self, why: &str) {
        if !self.dead {
            self.dead = true;
            self.disturbed = true;
            self.trace.line(format!("dies: {why}"));
            if let Some(faults) = &self.faults {
                faults.cut_now();
            }
        }
    }

    /// Where an HTLC stands in memory.
    pub fn at(&self, htlc: usize) -> At {
        self.memory.at.get(&htlc).copied().unwrap_or(At::Gone)
    }

    /// Moves an HTLC in memory.
    pub fn set(&mut self, htlc: usize, at: At) {
        self.memory.at.insert(htlc, at);
        if at == At::Gone {
            return;
        }
        self.trace.line(format!("  htlc {htlc} {at:?}"));
        let calm = self.calm;
        let known = &mut self.htlcs[htlc];
        if matches!(at, At::Claimed | At::Failed | At::Out) {
            known.waits_since = Some(calm);
            known.pushes = 0;
            known.alarmed = false;
        }
    }

    /// Fails an HTLC towards the payer, and tells of it.
    pub fn fail(&mut self, htlc: usize) {
        self.set(htlc, At::Failed);
        self.memory.events.push_back(Event::HandlingFailed(htlc));
    }

    /// What can be sent on a channel, in millisatoshi, and how many HTLCs are on it.
    pub fn room(&self, channel: usize) -> (u64, usize) {
        let out = self
            .memory
            .at
            .iter()
            .filter(|(htlc, at)| **at == At::Out && self.htlcs[**htlc].outbound == channel);
        let (mut in_flight_msat, mut count) = (0, 0);
        for (htlc, _) in out {
            in_flight_msat += self.htlcs[*htlc].out_msat;
            count += 1;
        }
        (self.channels[channel].ours_msat.saturating_sub(in_flight_msat), count)
    }

    /// A channel can take HTLCs now.
    pub fn is_usable(&self, channel: usize) -> bool {
        let channel = &self.channels[channel];
        channel.open
            && !channel.shutting_down
            && self.peers.get(&channel.peer).is_some_and(|peer| peer.connected && peer.usable)
    }

    /// `process_pending_htlc_forwards`: what was released goes to its channel, or fails for a peer that is gone
    /// (PeerOffline) and an amount that does not fit.
    pub fn process_forwards(&mut self) {
        let queued: Vec<_> =
            self.memory.at.iter().filter(|(_, at)| **at == At::Queued).map(|(htlc, _)| *htlc).collect();
        for htlc in queued {
            let channel = self.htlcs[htlc].outbound;
            let (room_msat, count) = self.room(channel);
            let fits = self.htlcs[htlc].out_msat <= room_msat && count < HTLCS_PER_CHANNEL_MAX;
            if self.is_usable(channel) && fits {
                self.set(htlc, At::Out);
            } else {
                self.trace.count("forward that LDK failed");
                self.fail(htlc);
            }
        }
    }

    /// The manager as it would be written now.
    pub fn written(&self) -> Manager {
        let mut manager = self.memory.clone();
        // Offline peers' onion messages are not written (onion_message/messenger.rs).
        manager.events.retain(|event| !matches!(event, Event::Onion { .. }));
        manager
    }

    /// The LSP starts, with what its database kept.
    pub fn load(&mut self, snapshot: u64) {
        self.memory = self.snapshots.get(&snapshot).cloned().unwrap_or_default();
        self.durable = self.memory.clone();
        self.dead = false;
        self.fresh = true;
        self.disturbed = true;
        self.crash_in = None;
        for peer in self.peers.values_mut() {
            (peer.connected, peer.usable) = (false, false);
        }
        for htlc in 0..self.htlcs.len() {
            self.htlcs[htlc].told = false;
            if self.htlcs[htlc].pushes == 0 {
                // Nobody had to be pushed who was here until now.
                self.htlcs[htlc].waits_since = self.htlcs[htlc].waits_since.map(|_| self.calm);
            }
            // The payer's own commitment transaction brings back an HTLC that no manager on disk had heard of.
            let known = self.memory.at.contains_key(&htlc);
            if !known && self.htlcs[htlc].outcome.is_none() {
                let at = if self.htlcs[htlc].native_hold { At::Failed } else { At::Intercepted };
                self.memory.at.insert(htlc, at);
            }
            // The manager's copy of a resolved HTLC is resolved again when the peer is back.
            if self.at(htlc) == At::Queued {
                self.set(htlc, At::Intercepted);
            }
            // Regenerated at each start, handled before or not (ln/channelmanager.rs:20729).
            let event = Event::Intercepted(htlc);
            if self.at(htlc) == At::Intercepted && !self.memory.events.contains(&event) {
                self.memory.events.push_back(event);
            }
        }
    }
}
