//! An HTTP client for this machine.

use std::time::Duration;

use reqwest::Client;

use crate::failure::Failure;

/// A client that asks no proxy.
///
/// # Errors
///
/// When TLS cannot be set up (reqwest insists, also for plain HTTP).
pub fn client(timeout: Duration) -> Result<Client, Failure> {
    // An error says that somebody in this process has done so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().timeout(timeout).build();
    client.map_err(|source| Failure::RpcTransport { method: "nothing yet".to_owned(), source })
}
