//! Telling the LSP where this phone can be woken.

use std::time::Duration;

use protocol::api::Problem;
use protocol::api::public::{
    ChallengeRequest, ChallengeResponse, RegisterDeviceRequest, RegisterDeviceResponse, registration_text,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Wallet;
use crate::error::WalletError;

/// How long the LSP's API may take to answer.
const API_TIMEOUT: Duration = Duration::from_secs(20);

/// The platform of a URL that gets a POST.
const WEBHOOK: &str = "webhook";

/// A device that the LSP wakes from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The LSP's name for it.
    pub device_id: String,
}

impl Wallet {
    /// Registers a webhook: the LSP posts to it when this wallet should wake. Registering it twice is fine. The process must have
    /// installed a TLS provider for rustls.
    ///
    /// # Errors
    /// [`WalletError::LspApi`] when the LSP's API cannot be used, [`WalletError::Registration`] when it says no.
    pub async fn register_webhook(&self, url: &str) -> Result<Registered, WalletError> {
        let core = &self.core;
        let base = core.config.lsp_api.as_deref().ok_or(WalletError::NoLspApi)?.trim_end_matches('/');
        let api = Api { base, client: client().map_err(|source| api_error(base, source))? };
        let node_id = core.node.node_id();
        let challenge: ChallengeResponse = api.post("/v1/challenge", &ChallengeRequest { node_id }).await?;
        let text = registration_text(&core.config.lsp.node_id, &challenge.challenge, WEBHOOK, url);
        let request = RegisterDeviceRequest {
            node_id,
            challenge: challenge.challenge,
            platform: WEBHOOK.to_owned(),
            token: url.to_owned(),
            signature: core.node.sign(&text)?,
        };
        let response: RegisterDeviceResponse = api.post("/v1/devices", &request).await?;
        Ok(Registered { device_id: response.device_id })
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
