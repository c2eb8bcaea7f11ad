//! The gateway against real HTTP servers on this machine.

mod answers;
mod hostile;
mod server;

use super::*;
use crate::WakeId;

fn push() -> Push {
    Push::new("payment_incoming", WakeId([7; 16]), 1_790_000_000).unwrap()
}

fn target(url: impl Into<String>) -> PushTarget {
    PushTarget { kind: GatewayKind::Webhook, token: url.into() }
}

fn install_tls_provider() {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn development() -> WebhookConfig {
    WebhookConfig { allow_private_addresses: true, ..WebhookConfig::default() }
}

fn gateway(config: &WebhookConfig) -> WebhookGateway {
    install_tls_provider();
    WebhookGateway::new(config).unwrap()
}
