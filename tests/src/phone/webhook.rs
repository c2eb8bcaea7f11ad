//! Where pushes arrive.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Push, Shared};
use crate::failure::Failure;

/// The path is the device's secret, as in a real webhook.
const PATH: &str = "/push/0f1e2d3c4b5a";

/// Starts the server, and returns its URL and port. Port 0 is any free one.
pub(super) async fn serve(phone: Arc<Shared>, port: u16) -> Result<(String, u16, JoinHandle<()>), Failure> {
    let failure = |source| Failure::Start { name: "a phone's webhook".to_owned(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    let url = format!("http://{address}{PATH}");
    let router = Router::new().route(PATH, post(receive)).with_state(phone);
    let server = tokio::spawn(async move {
        // Ends with the phone only: axum's accept loop outlives every error.
        let _ = axum::serve(listener, router).await;
    });
    Ok((url, address.port(), server))
}

async fn receive(State(phone): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    match serde_json::from_slice(&body) {
        Ok(message) => {
            phone.pushed(Push { at: Instant::now(), body: message, bytes: body.len() });
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
