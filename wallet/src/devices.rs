//! What this wallet asks its LSP about its own devices and wakes.

use protocol::api::ledger::WakeRecord;
use protocol::api::owner::{
    OwnDevice, OwnDevices, OwnerAction, RefreshDeviceRequest, TestPushResponse, refresh_subject,
};
use protocol::api::public::{DeviceTarget, RegisterDeviceResponse};
use reqwest::Method;

use crate::Wallet;
use crate::api::{Api, ApiError};
use crate::error::WalletError;

impl Wallet {
    /// Where the LSP wakes this wallet: all its devices, the earliest registration first.
    ///
    /// # Errors
    /// [`WalletError::LspApi`] when the LSP's API cannot be used, [`WalletError::LspRefused`] when it says no.
    pub async fn devices(&self) -> Result<Vec<OwnDevice>, WalletError> {
        let api = Api::new(&self.core)?;
        let request = api.signed(Method::GET, "/v1/devices", (OwnerAction::ListDevices, "")).await;
        let answer = api.send(request?).await?;
        Ok(api.read::<OwnDevices>(answer).await?.devices)
    }

    /// Gives a device another token, as push services do from time to time; its id stays. What waits is pushed at once.
    ///
    /// # Errors
    /// As [`Self::devices`]
    pub async fn refresh_device(&self, device_id: &str, target: DeviceTarget) -> Result<(), WalletError> {
        let api = Api::new(&self.core)?;
        let body = RefreshDeviceRequest::new(target);
        let subject = refresh_subject(device_id, &body.target());
        let about = (OwnerAction::RefreshDevice, subject.as_str());
        let request = api.signed(Method::PUT, &format!("/v1/devices/{device_id}"), about).await?;
        let answer = api.send(request.json(&body)).await?;
        storage::crash_point!("device_refreshed");
        api.read::<RegisterDeviceResponse>(answer).await?;
        Ok(())
    }

    /// The LSP forgets a device.
    ///
    /// # Errors
    /// As [`Self::devices`]
    pub async fn remove_device(&self, device_id: &str) -> Result<(), WalletError> {
        let api = Api::new(&self.core)?;
        let about = (OwnerAction::RemoveDevice, device_id);
        let request = api.signed(Method::DELETE, &format!("/v1/devices/{device_id}"), about).await;
        api.send(request?).await?;
        storage::crash_point!("device_removed");
        Ok(())
    }

    /// Has the LSP push to a device now, with the reason `test`, and tells what the push service said.
    ///
    /// # Errors
    /// As [`Self::devices`]
    pub async fn test_device(&self, device_id: &str) -> Result<TestPushResponse, WalletError> {
        let api = Api::new(&self.core)?;
        let about = (OwnerAction::TestDevice, device_id);
        let request = api.signed(Method::POST, &format!("/v1/devices/{device_id}/test"), about).await;
        let answer = api.send(request?).await?;
        Ok(api.read(answer).await?)
    }

    /// This wallet's newest wakes, the newest first: why the phone did or did not ring.
    ///
    /// # Errors
    /// As [`Self::devices`]
    pub async fn wakes(&self) -> Result<Vec<WakeRecord>, WalletError> {
        let api = Api::new(&self.core)?;
        let request = api.signed(Method::GET, "/v1/wakes", (OwnerAction::ListWakes, "")).await;
        let answer = api.send(request?).await?;
        Ok(api.read(answer).await?)
    }
}

impl From<ApiError> for WalletError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(reason) => Self::LspRefused { reason },
            ApiError::Other(error) => error,
        }
    }
}
