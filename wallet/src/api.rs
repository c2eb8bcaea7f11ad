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

/// The longest answer that is read, in bytes: a list of all that an LSP lists has less.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

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
        let problem = bounded(response, ANSWER_BYTES_MAX).await.ok().flatten();
        let problem = problem.and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
        Err(ApiError::Refused(
            problem.map_or_else(|| format!("it answered {status}"), |problem| problem.detail),
        ))
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ApiError> {
        let body =
            bounded(response, ANSWER_BYTES_MAX).await.map_err(|source| api_error(self.base, source))?;
        let answer = body.and_then(|body| serde_json::from_slice(&body).ok());
        let nonsense = || WalletError::LspAnswer { url: self.base.to_owned(), bytes_max: ANSWER_BYTES_MAX };
        Ok(answer.ok_or_else(nonsense)?)
    }
}

/// The body of an answer, unless it is longer than `bytes_max`: no more than that is ever kept.
async fn bounded(mut response: Response, bytes_max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > bytes_max - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn api_error(base: &str, source: reqwest::Error) -> WalletError {
    WalletError::LspApi { url: base.to_owned(), source: source.without_url() }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const MAX: usize = 10_000;

    /// One answer of so many bytes, which says how many they are or does not.
    async fn answered(bytes: usize, says_its_length: bool) -> Option<usize> {
        let _tls = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let length = if says_its_length { format!("content-length: {bytes}\r\n") } else { String::new() };
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // Who has heard enough hangs up.
            let _ = stream.write_all(&vec![b'x'; bytes]).await;
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).send().await.unwrap();
        let body = bounded(response, MAX).await.unwrap();
        server.await.unwrap();
        body.map(|body| body.len())
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound() {
        for says_its_length in [true, false] {
            for bytes in [0, MAX - 1, MAX] {
                assert_eq!(answered(bytes, says_its_length).await, Some(bytes));
            }
            for bytes in [MAX + 1, 100 * MAX] {
                assert_eq!(answered(bytes, says_its_length).await, None, "{bytes}");
            }
        }
    }
}
