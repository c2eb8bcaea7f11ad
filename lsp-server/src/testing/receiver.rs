//! A webhook of a phone's, and the gateway to it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use notifier::{Ambient, UrlClient, UrlClientConfig, WebhookGateway};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::START;

/// A webhook's receiver: it remembers what it was sent, and answers as it is told.
pub(crate) struct Receiver {
    port: u16,
    shared: Arc<Received>,
    task: JoinHandle<()>,
}

struct Received {
    bodies: Mutex<Vec<serde_json::Value>>,
    changed: Notify,
    answer: Mutex<(StatusCode, Option<&'static str>)>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Received {
            bodies: Mutex::default(),
            changed: Notify::new(),
            answer: Mutex::new((StatusCode::OK, None)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = shared.clone();
        let app = Router::new().fallback(move |body: Bytes| {
            let received = received.clone();
            async move {
                received.bodies.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                received.changed.notify_one();
                let (status, retry_after) = *received.answer.lock().unwrap();
                match retry_after {
                    Some(seconds) => (status, [(RETRY_AFTER, seconds)]).into_response(),
                    None => status.into_response(),
                }
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/wake/secret", self.port)
    }

    pub(crate) fn answers(&self, status: StatusCode, retry_after: Option<&'static str>) {
        *self.shared.answer.lock().unwrap() = (status, retry_after);
    }

    pub(crate) fn pushes(&self) -> Vec<serde_json::Value> {
        self.shared.bodies.lock().unwrap().clone()
    }

    /// Waits until so many pushes have come.
    pub(crate) async fn received(&self, pushes: usize) {
        while self.pushes().len() < pushes {
            self.shared.changed.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The webhook gateway, which may push to [`Receiver`]s.
pub(crate) fn gateway(allow_private_addresses: bool) -> Arc<WebhookGateway> {
    // The process has one; the first test installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = UrlClientConfig { allow_private_addresses, ..UrlClientConfig::default() };
    Arc::new(WebhookGateway::new(UrlClient::new(&config).unwrap(), Ambient::new(|| START, || [7; 32])))
}
