//! Push to a UnifiedPush endpoint: RFC 8030's POST to a URL that the device's distributor chose.
//!
//! The endpoint is a stranger's URL like a webhook's, and goes through the same filter. The message is what every phone
//! gets: open, or sealed to the phone's own key ([`protocol::push`]). It is not encrypted as RFC 8291 has it for browsers;
//! the app gets its bytes as they are.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::body::body;
use crate::{Ambient, GatewayKind, Push, PushGateway, PushTarget, TargetError, UrlClient, Verdict};

/// The longest time that a push server keeps a message, in seconds: four weeks. Some refuse a longer one.
const TTL_SECONDS_MAX: u64 = 28 * 24 * 3600;

/// The UnifiedPush gateway.
pub struct UnifiedPushGateway {
    client: Arc<UrlClient>,
    ambient: Ambient,
}

impl UnifiedPushGateway {
    /// A gateway on this client.
    pub fn new(client: Arc<UrlClient>, ambient: Ambient) -> Self {
        Self { client, ambient }
    }

    fn headers(&self, push: &Push) -> HeaderMap {
        let ttl = push.seconds_left(self.ambient.now_unix()).min(TTL_SECONDS_MAX);
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (HeaderName::from_static("ttl"), HeaderValue::from(ttl)),
            (HeaderName::from_static("urgency"), HeaderValue::from_static("high")),
        ]);
        // RFC 8030: at most 32 characters of base64url, which hex digits are.
        if let Ok(topic) = HeaderValue::try_from(push.collapse_id().to_string()) {
            headers.insert(HeaderName::from_static("topic"), topic);
        }
        headers
    }
}

impl PushGateway for UnifiedPushGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::UnifiedPush
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        target.check_kind(GatewayKind::UnifiedPush)?;
        Ok(self.client.url(target).map(drop)?)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        let body = body(push, device, &self.ambient).into_bytes();
        self.client.post(device, self.headers(push), body).boxed()
    }
}
