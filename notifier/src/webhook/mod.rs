//! Push by HTTPS POST to a URL that the device's owner chose.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::body::body;
use crate::{Ambient, GatewayKind, Push, PushGateway, PushTarget, TargetError, UrlClient, Verdict};

/// The webhook gateway.
pub struct WebhookGateway {
    client: Arc<UrlClient>,
    ambient: Ambient,
}

impl WebhookGateway {
    /// A gateway on this client.
    pub fn new(client: Arc<UrlClient>, ambient: Ambient) -> Self {
        Self { client, ambient }
    }
}

impl PushGateway for WebhookGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Webhook
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        target.check_kind(GatewayKind::Webhook)?;
        Ok(self.client.url(target).map(drop)?)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let body = body(push, device, &self.ambient).into_bytes();
        self.client.post(device, headers, body).boxed()
    }
}
