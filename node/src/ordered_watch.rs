//! The order in which channel monitors are told of updates.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate, MonitorEvent};
use lightning::chain::transaction::OutPoint;
use lightning::chain::{ChannelMonitorUpdateStatus, Watch};
use lightning::ln::types::ChannelId;
use lightning::sign::ecdsa::EcdsaChannelSigner;

/// Hands each monitor its updates in the order of their ids, whatever order they come in.
///
/// LDK 0.3.0-rc3 can break that order at a start: an update that was held back for another channel's sake
/// (`ChannelManager::handle_monitor_update_release`) goes out as soon as that channel is heard of, ahead of an earlier one of the same
/// channel that `BackgroundEvent::MonitorUpdateRegeneratedOnStartup` has yet to replay. Which comes first goes by the random order
/// of a hash map, and a monitor panics at an update that is not the next one. Here such an update waits for those before it; to LDK its
/// write is in progress. They do come: LDK refuses to start without an update that is between the monitor and the manager.
#[derive(Debug)]
pub(crate) struct OrderedWatch<W> {
    inner: W,
    channels: Mutex<HashMap<ChannelId, Updates>>,
}

#[derive(Debug)]
struct Updates {
    /// The last that was handed over.
    last_id: u64,
    /// What came too early.
    early: BTreeMap<u64, ChannelMonitorUpdate>,
}

impl<W> OrderedWatch<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, channels: Mutex::default() }
    }

    /// A monitor that was read from the database: `last_id` is its `get_latest_update_id`.
    pub(crate) fn resume(&self, channel_id: ChannelId, last_id: u64) {
        self.channels().insert(channel_id, Updates { last_id, early: BTreeMap::new() });
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Updates>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: EcdsaChannelSigner, W: Watch<S>> Watch<S> for OrderedWatch<W> {
    fn watch_channel(
        &self,
        channel_id: ChannelId,
        monitor: ChannelMonitor<S>,
    ) -> Result<ChannelMonitorUpdateStatus, ()> {
        let last_id = monitor.get_latest_update_id();
        let status = self.inner.watch_channel(channel_id, monitor)?;
        self.resume(channel_id, last_id);
        Ok(status)
    }

    fn update_channel(
        &self,
        channel_id: ChannelId,
        update: &ChannelMonitorUpdate,
    ) -> ChannelMonitorUpdateStatus {
        // Kept locked while updates are handed over, so that another thread's does not come in between.
        let mut channels = self.channels();
        let Some(updates) = channels.get_mut(&channel_id) else {
            return self.inner.update_channel(channel_id, update);
        };
        if update.update_id > updates.last_id.saturating_add(1) {
            tracing::warn!(
                %channel_id,
                update_id = update.update_id,
                last_id = updates.last_id,
                "a monitor update came before its turn, and waits"
            );
            updates.early.insert(update.update_id, update.clone());
            return ChannelMonitorUpdateStatus::InProgress;
        }
        let status = self.inner.update_channel(channel_id, update);
        updates.last_id = updates.last_id.max(update.update_id);
        while let Some(next) = updates.early.remove(&updates.last_id.saturating_add(1)) {
            updates.last_id = next.update_id;
            // LDK was told that it is in progress: it hears of its end by an event.
            let _: ChannelMonitorUpdateStatus = self.inner.update_channel(channel_id, &next);
        }
        status
    }

    fn release_pending_monitor_events(&self) -> Vec<(OutPoint, ChannelId, Vec<MonitorEvent>, PublicKey)> {
        self.inner.release_pending_monitor_events()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lightning::sign::InMemorySigner;
    use lightning::util::ser::{Readable, Writeable};

    use super::*;

    /// What monitors were told.
    #[derive(Default)]
    struct Told(Mutex<Vec<(ChannelId, u64)>>);

    impl Watch<InMemorySigner> for Told {
        fn watch_channel(
            &self,
            _: ChannelId,
            _: ChannelMonitor<InMemorySigner>,
        ) -> Result<ChannelMonitorUpdateStatus, ()> {
            Err(())
        }

        fn update_channel(&self, id: ChannelId, update: &ChannelMonitorUpdate) -> ChannelMonitorUpdateStatus {
            self.0.lock().unwrap().push((id, update.update_id));
            ChannelMonitorUpdateStatus::Completed
        }

        fn release_pending_monitor_events(&self) -> Vec<(OutPoint, ChannelId, Vec<MonitorEvent>, PublicKey)> {
            Vec::new()
        }
    }

    /// LDK makes them by reading only: version, id, no steps, no TLVs.
    fn update(update_id: u64) -> ChannelMonitorUpdate {
        let bytes = [vec![1, 1], update_id.encode(), 0_u64.encode(), vec![0]].concat();
        ChannelMonitorUpdate::read(&mut Cursor::new(bytes)).unwrap()
    }

    const A: ChannelId = ChannelId([1; 32]);
    const B: ChannelId = ChannelId([2; 32]);

    fn watch() -> OrderedWatch<Told> {
        let watch = OrderedWatch::new(Told::default());
        watch.resume(A, 4);
        watch.resume(B, 9);
        watch
    }

    fn tell(watch: &OrderedWatch<Told>, channel_id: ChannelId, id: u64) -> ChannelMonitorUpdateStatus {
        Watch::<InMemorySigner>::update_channel(watch, channel_id, &update(id))
    }

    #[test]
    fn updates_in_their_order_go_straight_through() {
        let watch = watch();
        for (channel_id, id) in [(A, 5), (B, 10), (A, 6)] {
            assert_eq!(tell(&watch, channel_id, id), ChannelMonitorUpdateStatus::Completed);
        }
        assert_eq!(*watch.inner.0.lock().unwrap(), [(A, 5), (B, 10), (A, 6)]);
    }

    #[test]
    fn an_update_before_its_turn_waits_for_those_before_it() {
        let watch = watch();
        assert_eq!(tell(&watch, A, 7), ChannelMonitorUpdateStatus::InProgress);
        assert_eq!(tell(&watch, A, 6), ChannelMonitorUpdateStatus::InProgress);
        assert_eq!(tell(&watch, B, 10), ChannelMonitorUpdateStatus::Completed, "another channel goes on");
        assert_eq!(*watch.inner.0.lock().unwrap(), [(B, 10)]);
        tell(&watch, A, 5);
        tell(&watch, A, 8);
        assert_eq!(*watch.inner.0.lock().unwrap(), [(B, 10), (A, 5), (A, 6), (A, 7), (A, 8)]);
    }

    #[test]
    fn what_a_monitor_has_already_is_for_ldk_to_judge() {
        let watch = watch();
        tell(&watch, A, 3);
        tell(&watch, A, 5);
        assert_eq!(*watch.inner.0.lock().unwrap(), [(A, 3), (A, 5)]);
    }
}
