//! Phones register devices, and take them back.

use lsp_server::store::challenges::{Answered, Proof};
use lsp_server::store::devices::{self, DeviceId, DeviceLimits, NewDevice, RegisterError};
use notifier::{GatewayKind, PushTarget};
use storage::StorageError;

use super::keys::token_keys;
use super::world::World;

/// Devices of one phone, at most.
const DEVICES_MAX: usize = 4;

impl World {
    /// A phone registers a device. It counts once the server has said so.
    pub(super) fn register(&mut self, phone: usize) {
        self.serial += 1;
        let serial = self.serial;
        let mut device_id = [0; 16];
        device_id[0] = phone as u8;
        device_id[8..].copy_from_slice(&serial.to_be_bytes());
        let node_id = Self::phone(phone);
        let target = PushTarget::new(GatewayKind::Webhook, format!("{phone}.{serial}"));
        let device = NewDevice {
            device_id: DeviceId(device_id),
            node_id,
            target: token_keys().seal_target(DeviceId(device_id), &node_id, &target),
            has_channel: true,
            proof: Proof::Signed(Answered {
                challenge: serial.to_be_bytes().to_vec(),
                expires_at: u64::MAX >> 1,
                now_unix: 0,
            }),
        };
        let registered = self.process.as_ref().and_then(|process| {
            process.ask(|db| {
                Box::pin(async move {
                    let registered = db.submit("register", move |tx| {
                        Box::pin(
                            async move { devices::register(tx, &device, &DeviceLimits::default()).await },
                        )
                    });
                    registered.await.map(drop).map_err(|error| match error {
                        RegisterError::Storage(error) => error,
                        _ => StorageError::Aborted,
                    })
                })
            })
        });
        let mut state = self.model.lock();
        state.trace.line(format!("- phone {phone} registers device {serial}: {}", registered.is_some()));
        if registered.is_some() {
            state.trace.count("device registered");
            self.devices.insert(device_id);
        }
    }

    /// A phone registers one more device, or takes one back.
    pub(super) fn device_moves(&mut self) {
        let phones = self.phones_here();
        let phone = phones[self.rng.index(phones.len())];
        let of_phone: Vec<_> =
            self.devices.iter().copied().filter(|device| usize::from(device[0]) == phone).collect();
        if of_phone.len() < 2 || (of_phone.len() < DEVICES_MAX && self.rng.percent(60)) {
            self.register(phone);
            return;
        }
        let device = of_phone[self.rng.index(of_phone.len())];
        // From here on it may be there or not, until the server has answered.
        self.devices.remove(&device);
        let removed = self.process.as_ref().and_then(|process| {
            process.ask(move |db| {
                Box::pin(async move {
                    let removed = db.submit("remove", move |tx| {
                        Box::pin(async move { devices::remove(tx, DeviceId(device)).await })
                    });
                    removed.await
                })
            })
        });
        let mut state = self.model.lock();
        state.trace.line(format!("- phone {phone} removes a device: {removed:?}"));
        match removed {
            Some(true) => {
                state.trace.count("device removed");
                self.devices_removed.insert(device);
            }
            Some(false) => state.trace.violation("a device that was registered was not there".to_owned()),
            None => {}
        }
    }
}
