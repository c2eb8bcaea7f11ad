//! Telling the LSP where this phone can be woken.

use std::time::Duration;

use protocol::api::Problem;
use protocol::api::public::{
    ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest, RegisterDeviceResponse,
};
use protocol::push::{OpenKey, SealKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::WalletError;
use crate::{Core, Wallet};

/// How long the LSP's API may take to answer.
const API_TIMEOUT: Duration = Duration::from_secs(20);

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
        let base = core.config.lsp_api.as_deref().ok_or(WalletError::NoLspApi)?.trim_end_matches('/');
        let api = Api { base, client: client().map_err(|source| api_error(base, source))? };
        let node_id = core.node.node_id();
        let challenge: ChallengeResponse = api.post("/v1/challenge", &ChallengeRequest { node_id }).await?;
        let mut request = RegisterDeviceRequest::new(node_id, challenge.challenge, target);
        request.signature = core.node.sign(&request.text(&core.config.lsp.node_id))?;
        let response: RegisterDeviceResponse = api.post("/v1/devices", &request).await?;
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

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().timeout(API_TIMEOUT).build()
}

fn api_error(base: &str, source: reqwest::Error) -> WalletError {
    WalletError::LspApi { url: base.to_owned(), source: source.without_url() }
}

/// The LSP's public HTTP API.
struct Api<'a> {
    base: &'a str,
    client: reqwest::Client,
}

impl Api<'_> {
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, WalletError> {
        let failed = |source| api_error(self.base, source);
        let url = format!("{}{path}", self.base);
        let response = self.client.post(url).json(body).send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(failed);
        }
        let reason = match response.json::<Problem>().await {
            Ok(problem) => problem.detail,
            Err(_) => format!("it answered {status}"),
        };
        Err(WalletError::Registration { reason })
    }
}
