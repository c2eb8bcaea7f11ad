//! What must survive a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsp_server::store::wakes::PUSHLESS_KEPT_SECONDS;
use storage::StorageError;

use super::clock::START_UNIX;
use super::process::Process;
use super::world::World;

/// What the database has of what was acknowledged.
#[derive(Default)]
struct Kept {
    /// Deadlines by pid hash.
    holds: BTreeMap<[u8; 32], u32>,
    /// Recipients and messages.
    mail: BTreeSet<(Vec<u8>, Vec<u8>)>,
    devices: BTreeSet<[u8; 16]>,
    /// Every wake that there ever was, by row.
    wakes: BTreeSet<i64>,
}

/// A wake that is queued.
pub(super) struct OpenWake {
    pub(super) node_id: Vec<u8>,
    /// Seconds since 1970.
    pub(super) expires_at: u64,
}

impl Process {
    /// The wakes that are open, by row.
    pub(super) fn open_wakes(&self) -> Option<BTreeMap<i64, OpenWake>> {
        self.ask(|db| {
            Box::pin(async move {
                db.read("open_wakes", |tx| {
                    Box::pin(async move {
                        let sql = "SELECT id, node_id, expires_at FROM wake WHERE state = 'open'";
                        let rows = tx.fetch_all(sql, &[]).await?;
                        let wake = |row: &storage::Row| {
                            let (node_id, expires_at) =
                                (row.get_blob("node_id")?, row.get_u64("expires_at")?);
                            Ok((row.get_i64("id")?, OpenWake { node_id, expires_at }))
                        };
                        rows.iter().map(wake).collect()
                    })
                })
                .await
            })
        })
    }

    fn kept(&self) -> Option<Kept> {
        self.ask(|db| {
            Box::pin(async move {
                db.read("kept", |tx| {
                    Box::pin(async move {
                        let mut kept = Kept::default();
                        for row in tx.fetch_all("SELECT pid_hash, deadline FROM hold", &[]).await? {
                            kept.holds.insert(row.get_array("pid_hash")?, row.get_u32("deadline")?);
                        }
                        for row in tx.fetch_all("SELECT recipient, message FROM mailbox_message", &[]).await?
                        {
                            kept.mail.insert((row.get_blob("recipient")?, row.get_blob("message")?));
                        }
                        for row in tx.fetch_all("SELECT device_id FROM device", &[]).await? {
                            kept.devices.insert(row.get_array("device_id")?);
                        }
                        for row in tx.fetch_all("SELECT id FROM wake", &[]).await? {
                            kept.wakes.insert(row.get_i64("id")?);
                        }
                        Ok::<_, StorageError>(kept)
                    })
                })
                .await
            })
        })
    }
}

impl World {
    /// Looks at the queue of wakes, for the next start to be judged by.
    pub(super) fn remember_wakes(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|process| !process.is_over())
            && let Some(open) = process.open_wakes()
        {
            let now = self.model.lock().now;
            // It may end at once, without a push, and with an expiry that is sooner than it was.
            let kept_until = |wake: OpenWake| {
                let expires = Duration::from_secs(wake.expires_at.saturating_sub(START_UNIX));
                expires.min(now) + Duration::from_secs(PUSHLESS_KEPT_SECONDS)
            };
            self.wakes = open.into_iter().map(|(id, wake)| (id, kept_until(wake))).collect();
        }
    }

    /// Invariant 3: what was acknowledged is there after a start.
    pub(super) fn check_kept(&mut self) {
        let Some(process) = &self.process else { return };
        let Some(kept) = process.kept() else { return };
        let open = process.open_wakes();
        let awaited = process.awaited.clone();
        let mut state = self.model.lock();
        let now = state.now;
        let lost: Vec<_> = state
            .payments
            .iter()
            .enumerate()
            .filter(|(_, payment)| {
                payment.granted.is_some() && kept.holds.get(&payment.pid.hash().0).copied() != payment.granted
            })
            .map(|(number, _)| number)
            .collect();
        for payment in lost {
            state.trace.violation(format!("payment {payment}: the hold that was granted is not there"));
        }
        for ((peer, message), until) in &self.stored {
            let key = (peer.serialize().to_vec(), message.clone());
            if now < *until && !kept.mail.contains(&key) {
                state.trace.violation("a message that was kept is not there".to_owned());
            }
        }
        for device in &self.devices {
            if !kept.devices.contains(device) {
                state.trace.violation(format!("device {device:02x?} was registered and is not there"));
            }
        }
        for device in &self.devices_removed {
            if kept.devices.contains(device) {
                state.trace.violation(format!("device {device:02x?} was removed and is there"));
            }
        }
        for (wake, until) in &self.wakes {
            if now < *until && !kept.wakes.contains(wake) {
                state.trace.violation(format!("wake {wake} was queued and is not there"));
            }
        }
        // A start may end one wake for another, but not the last one of a phone: nobody has come yet.
        let Some(open) = open else { return };
        for node_id in awaited {
            if !open.values().any(|open| open.node_id == node_id) {
                state
                    .trace
                    .violation("a phone had a wake before the start, and has none after it".to_owned());
            }
        }
        state.trace.count("start");
        state.trace.add("hold checked after a start", kept.holds.len());
        state.trace.add("message checked after a start", self.stored.len());
        state.trace.add("device checked after a start", self.devices.len());
        state.trace.add("queued wake checked after a start", self.wakes.len());
    }
}
