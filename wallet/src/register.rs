//! Telling the LSP where this phone can be woken.

use protocol::api::public::{DeviceTarget, RegisterDeviceRequest, RegisterDeviceResponse};
use protocol::push::{OpenKey, SealKey};
use serde::Serialize;

use crate::api::{Api, ApiError};
use crate::error::WalletError;
use crate::{Core, Wallet};

/// A device that the LSP wakes from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The LSP's name for it.
    pub device_id: String,
}

impl Wallet {
    /// Registers where the LSP wakes this wallet: by which push service, and what that service knows the phone by.
    /// Registering it twice is fine; the later one counts. The process must have installed a TLS provider for rustls.
    ///
    /// # Errors
    /// [`WalletError::LspApi`] when the LSP's API cannot be used, [`WalletError::Registration`] when it says no.
    pub async fn register(&self, target: DeviceTarget) -> Result<Registered, WalletError> {
        let core = &self.core;
        let api = Api::new(core)?;
        let asked = async {
            let mut request = RegisterDeviceRequest::new(core.node.node_id(), api.challenge().await?, target);
            let text = request.text(&core.config.lsp.node_id);
            request.signature = core.node.sign(&text).map_err(WalletError::from)?;
            api.post::<RegisterDeviceResponse>("/v1/devices", &request).await
        };
        let response = asked.await.map_err(|error| match error {
            ApiError::Refused(reason) => WalletError::Registration { reason },
            ApiError::Other(error) => error,
        })?;
        storage::crash_point!("device_registered");
        Ok(Registered { device_id: response.device_id })
    }

    /// The key that pushes to this wallet can be sealed to, for [`DeviceTarget::seal_key`]: then only this wallet reads them,
    /// and not the push service. It comes from the seed. [`Wallet::handle_push`] opens what was sealed.
    pub fn push_seal_key(&self) -> SealKey {
        self.core.push_key().seal_key()
    }
}

impl Core {
    pub(crate) fn push_key(&self) -> OpenKey {
        OpenKey::derive(&self.seed.derive("push", &[]))
    }
}
