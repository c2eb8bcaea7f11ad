//! The gateway against real HTTP servers on this machine.

mod answers;
mod hostile;
pub(crate) mod server;

use std::time::Duration;

use super::*;
use crate::body::BODY_BYTES;
use crate::classify::RETRY_AFTER_MAX;
use crate::ssrf::resolver::{FilteringResolver, Lookup, NoUsableAddress, SystemLookup};
use crate::ssrf::{AddressPolicy, HOST_BUSY_RETRY};
use crate::{UrlClientConfig, WakeId};

fn push() -> Push {
    Push::new("payment_incoming", WakeId([7; 16]), 1_790_000_000).unwrap()
}

fn target(url: impl Into<String>) -> PushTarget {
    PushTarget::new(GatewayKind::Webhook, url)
}

fn install_tls_provider() {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn development() -> UrlClientConfig {
    UrlClientConfig { allow_private_addresses: true, ..UrlClientConfig::default() }
}

fn gateway(config: &UrlClientConfig) -> WebhookGateway {
    install_tls_provider();
    WebhookGateway::new(UrlClient::new(config).unwrap(), Ambient::fixed(0))
}

fn gateway_with_lookup(config: &UrlClientConfig, lookup: Arc<dyn Lookup>) -> WebhookGateway {
    WebhookGateway::new(UrlClient::with_lookup(config, lookup).unwrap(), Ambient::fixed(0))
}
