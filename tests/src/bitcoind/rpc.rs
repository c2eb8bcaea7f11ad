//! bitcoind's JSON-RPC.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{RPC_PASSWORD, RPC_USER};
use crate::failure::Failure;

/// Mining a thousand blocks takes a while on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Rpc {
    client: Client,
    port: u16,
}

#[derive(Deserialize)]
struct Answer {
    result: Value,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    message: String,
}

impl Rpc {
    pub(super) fn new(port: u16) -> Result<Self, Failure> {
        Ok(Self { client: crate::http::client(TIMEOUT)?, port })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Failure> {
        let request = self
            .client
            .post(self.url())
            .basic_auth(RPC_USER, Some(RPC_PASSWORD))
            .json(&json!({ "method": method, "params": params }));
        let failure = |source| Failure::RpcTransport { method: method.to_owned(), source };
        // Refusals come with a status of 500, and with their reason in the body.
        let answer: Answer = request.send().await.map_err(failure)?.json().await.map_err(failure)?;
        if let Some(error) = answer.error {
            return Err(Failure::Rpc { method: method.to_owned(), message: error.message });
        }
        let output = answer.result.to_string();
        serde_json::from_value(answer.result).map_err(|source| Failure::Output {
            name: format!("bitcoind's {method}"),
            output,
            source,
        })
    }
}
