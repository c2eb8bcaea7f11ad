//! The LSP's public HTTP API, as this wallet asks it.

use std::time::Duration;

use protocol::api::Problem;
use protocol::api::owner::{Authorization, OwnerAction, owner_text};
use protocol::api::public::{ChallengeRequest, ChallengeResponse};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Core;
use crate::error::WalletError;

/// How long the LSP's API may take to answer.
const API_TIMEOUT: Duration = Duration::from_secs(20);

/// The API, or why it said no.
pub(crate) struct Api<'a> {
    core: &'a Core,
    base: &'a str,
    client: reqwest::Client,
}

/// Why a request came to nothing.
pub(crate) enum ApiError {
    /// The LSP says no, in words.
    Refused(String),
    /// Anything else.
    Other(WalletError),
}

impl From<WalletError> for ApiError {
    fn from(error: WalletError) -> Self {
        Self::Other(error)
    }
}

impl<'a> Api<'a> {
    /// The API at the configured address.
    ///
    /// # Errors
    /// When there is none, or no TLS.
    pub(crate) fn new(core: &'a Core) -> Result<Self, WalletError> {
        let base = core.config.lsp_api.as_deref().ok_or(WalletError::NoLspApi)?.trim_end_matches('/');
        let client = reqwest::Client::builder().timeout(API_TIMEOUT).build();
        let client = client.map_err(|source| api_error(base, source))?;
        Ok(Self { core, base, client })
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ApiError> {
        let answer = self.send(self.request(Method::POST, path).json(body)).await?;
        self.read(answer).await
    }

    /// A text to sign once.
    pub(crate) async fn challenge(&self) -> Result<String, ApiError> {
        let request = ChallengeRequest { node_id: self.core.node.node_id() };
        Ok(self.post::<ChallengeResponse>("/v1/challenge", &request).await?.challenge)
    }

    /// A request that this wallet's node signs: `subject` is what it is about.
    pub(crate) async fn signed(
        &self,
        method: Method,
        path: &str,
        (action, subject): (OwnerAction, &str),
    ) -> Result<RequestBuilder, ApiError> {
        let challenge = self.challenge().await?;
        let node = &self.core.node;
        let signature = node
            .sign(&owner_text(&self.core.config.lsp.node_id, &challenge, action, subject))
            .map_err(WalletError::from)?;
        let authorization = Authorization { node_id: node.node_id(), challenge, signature };
        Ok(self.request(method, path).header(AUTHORIZATION, authorization.to_string()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends it; an answer that is no success is a refusal.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|source| api_error(self.base, source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(ApiError::Refused(match response.json::<Problem>().await {
            Ok(problem) => problem.detail,
            Err(_) => format!("it answered {status}"),
        }))
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ApiError> {
        Ok(response.json().await.map_err(|source| api_error(self.base, source))?)
    }
}

fn api_error(base: &str, source: reqwest::Error) -> WalletError {
    WalletError::LspApi { url: base.to_owned(), source: source.without_url() }
}
