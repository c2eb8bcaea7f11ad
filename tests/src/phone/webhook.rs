//! Where pushes arrive.

use std::net::Ipv4Addr;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Push;
use crate::failure::Failure;

/// The path is the device's secret, as in a real webhook.
const PATH: &str = "/push/0f1e2d3c4b5a";

/// Starts a server that calls `on_push` for every push, and returns its URL, its port, and the task that it is. Port 0
/// is any free one.
///
/// # Errors
///
/// When the port cannot be listened on.
pub async fn serve(
    port: u16,
    on_push: impl Fn(Push) + Clone + Send + Sync + 'static,
) -> Result<(String, u16, JoinHandle<()>), Failure> {
    let failure = |source| Failure::Start { name: "a phone's webhook".to_owned(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    let url = format!("http://{address}{PATH}");
    let receive = async move |body: Bytes| receive(&body, &on_push);
    let router = Router::new().route(PATH, post(receive));
    let server = tokio::spawn(async move {
        // Ends with the phone only: axum's accept loop outlives every error.
        let _ = axum::serve(listener, router).await;
    });
    Ok((url, address.port(), server))
}

fn receive(body: &Bytes, on_push: &impl Fn(Push)) -> StatusCode {
    let raw = String::from_utf8(body.to_vec()).ok();
    match raw.and_then(|raw| Push::read(Instant::now(), raw, true)) {
        Some(push) => {
            on_push(push);
            StatusCode::OK
        }
        None => StatusCode::BAD_REQUEST,
    }
}
