//! The admin API's client.

use std::path::{Path, PathBuf};

use protocol::api::Problem;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CliError;
use crate::config::ADMIN_SOCKET_FILE;

/// The host in the URL: with a Unix socket it names nothing.
const BASE: &str = "http://lsp-server";

/// Asks the server of one data directory.
pub(crate) struct AdminClient {
    http: reqwest::Client,
    data_dir: PathBuf,
    socket: PathBuf,
}

impl AdminClient {
    pub(crate) fn new(data_dir: &Path) -> Result<Self, CliError> {
        let socket = data_dir.join(ADMIN_SOCKET_FILE);
        // No certificates, no proxy: nothing leaves this machine.
        let http = reqwest::Client::builder()
            .unix_socket(socket.clone())
            .tls_certs_only([])
            .no_proxy()
            .build()
            .map_err(|source| CliError::Transport { socket: socket.clone(), source })?;
        Ok(Self { http, data_dir: data_dir.to_owned(), socket })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.answer(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.answer(Method::POST, path, Some(body)).await
    }

    /// For endpoints that have nothing to answer.
    pub(crate) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), CliError> {
        self.send(method, path, body).await.map(drop)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CliError> {
        let bytes = self.send(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(CliError::Answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, CliError> {
        let mut request = self.http.request(method, format!("{BASE}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.failure(error))?;
        if status.is_success() { Ok(bytes.to_vec()) } else { Err(refusal(status, &bytes)) }
    }

    fn failure(&self, source: reqwest::Error) -> CliError {
        if source.is_connect() {
            CliError::NotRunning { data_dir: self.data_dir.clone() }
        } else {
            CliError::Transport { socket: self.socket.clone(), source }
        }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> CliError {
    let detail = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.detail,
        Err(_) => format!("the server answered {status}"),
    };
    CliError::Refused { detail }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};

    use super::*;
    use crate::http::admin::bind;
    use crate::http::problem::problem;

    fn client(dir: &Path) -> AdminClient {
        drop(rustls::crypto::ring::default_provider().install_default());
        AdminClient::new(dir).unwrap()
    }

    #[tokio::test]
    async fn answers_and_refusals_come_over_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let listener = bind(&dir.path().join(ADMIN_SOCKET_FILE)).unwrap();
        let refuse = async || problem(StatusCode::CONFLICT, "hold_state", "No", "too late".to_owned());
        let app = Router::new().route("/good", get(async || Json(7))).route("/bad", get(refuse));
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        let client = client(dir.path());
        assert_eq!(client.get::<u8>("/good").await.unwrap(), 7);
        let refused = client.get::<u8>("/bad").await.unwrap_err();
        assert_eq!(refused.to_string(), "too late");
        assert!(matches!(client.get::<String>("/good").await, Err(CliError::Answer(_))));
        server.abort();
    }

    #[tokio::test]
    async fn a_server_that_does_not_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let never_started = client(dir.path()).get::<u8>("/good").await.unwrap_err();
        assert!(matches!(never_started, CliError::NotRunning { .. }), "{never_started:?}");
        drop(bind(&dir.path().join(ADMIN_SOCKET_FILE)).unwrap());
        let killed = client(dir.path()).get::<u8>("/good").await.unwrap_err();
        assert!(matches!(killed, CliError::NotRunning { .. }), "{killed:?}");
    }
}
