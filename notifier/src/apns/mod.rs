//! Push to iPhones by Apple's push service: HTTP/2, with a provider token signed by the app owner's key.
//!
//! Every push is an alert that a Notification Service Extension on the phone may change (`mutable-content`): it is that
//! extension which wakes the wallet, for about 30 seconds. Background pushes would be silent, and are throttled to a few
//! an hour.

mod key;
mod provider_token;

use std::sync::{Arc, LazyLock};

use futures::future::{BoxFuture, FutureExt};
use reqwest::Url;
use serde_json::{Value, json};

pub use self::key::{ApnsKey, ApnsKeyError};
use self::provider_token::{ProviderToken, ProviderTokens};
use crate::body::body;
use crate::classify::{self, ApnsAnswer};
use crate::client::{ProviderClient, below};
use crate::{Ambient, ApnsEnvironment, GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict};

/// Apple's endpoint for released apps.
pub const PRODUCTION_URL: &str = "https://api.push.apple.com";
/// Apple's endpoint for apps that a developer's machine installed.
pub const SANDBOX_URL: &str = "https://api.sandbox.push.apple.com";

/// Hex digits of a device token. Apple's have 64 today, and are not promised to stay so.
const TOKEN_DIGITS_MIN: usize = 64;
const TOKEN_DIGITS_MAX: usize = 200;

/// What the lock screen shows if the phone's extension does not come to write something better: no reason, no amount.
const ALERT_TITLE: &str = "Payment";
const ALERT_BODY: &str = "Open your wallet to take care of it.";

static ALERT: LazyLock<String> = LazyLock::new(|| {
    json!({ "alert": { "title": ALERT_TITLE, "body": ALERT_BODY }, "mutable-content": 1 }).to_string()
});

/// One app that is pushed to.
#[derive(Clone, Debug)]
pub struct ApnsApp {
    /// The app's bundle id: the topic of its pushes.
    pub bundle_id: String,
    /// Signs for the app's team. Apps of one team may share it.
    pub key: Arc<ApnsKey>,
}

/// The APNs gateway.
pub struct ApnsGateway {
    client: ProviderClient,
    /// By bundle id.
    apps: Vec<(String, Arc<ProviderTokens>)>,
    production_url: Url,
    sandbox_url: Url,
    ambient: Ambient,
}

impl ApnsGateway {
    /// A gateway for these apps. Apps with the same key share its provider tokens: Apple wants one for a key, and a new one
    /// every twenty minutes at most.
    pub fn new(
        client: ProviderClient,
        apps: &[ApnsApp],
        production_url: Url,
        sandbox_url: Url,
        ambient: Ambient,
    ) -> Self {
        let mut tokens: Vec<Arc<ProviderTokens>> = Vec::new();
        let mut by_bundle = Vec::new();
        for app in apps {
            let shared = match tokens.iter().find(|tokens| tokens.is_of(&app.key)) {
                Some(shared) => shared.clone(),
                None => {
                    let new = Arc::new(ProviderTokens::new(app.key.clone()));
                    tokens.push(new.clone());
                    new
                }
            };
            by_bundle.push((app.bundle_id.clone(), shared));
        }
        Self { client, apps: by_bundle, production_url, sandbox_url, ambient }
    }

    /// The app of the target: the one that it names, or the only one that there is.
    fn app(&self, target: &PushTarget) -> Result<&(String, Arc<ProviderTokens>), TargetError> {
        let known = || self.apps.iter().map(|(bundle, _)| bundle.as_str()).collect::<Vec<_>>().join(", ");
        match (&target.topic, self.apps.as_slice()) {
            (Some(topic), apps) => apps
                .iter()
                .find(|(bundle, _)| bundle == topic)
                .ok_or_else(|| TargetError::UnknownTopic(known())),
            (None, [only]) => Ok(only),
            (None, _) => Err(TargetError::NoTopic(known())),
        }
    }

    async fn post(&self, target: &PushTarget, push: &Push) -> Verdict {
        if let Err(error) = check_token(&target.token) {
            return Verdict::BadPayload(error.to_string().into());
        }
        // It was one of the apps when the device registered: the operator has taken it out of the config.
        let Ok((bundle_id, tokens)) = self.app(target) else {
            return Verdict::Configuration("the device's app is none of push.apns.apps any more".into());
        };
        let now_unix = self.ambient.now_unix();
        let token = match tokens.current(now_unix) {
            Ok(token) => token,
            Err(error) => return Verdict::RetryAfter(None, error.to_string().into()),
        };
        let environment = target.environment.unwrap_or_default();
        let answer = match self.client.send(self.request(target, push, bundle_id, &token)).await {
            Ok(answer) => answer,
            Err(verdict) => return verdict,
        };
        let (verdict, renew) = classify::apns(&ApnsAnswer {
            status: answer.status,
            retry_after: classify::retry_after(&answer.headers),
            body: &answer.body,
            environment,
            registered_at: target.registered_at,
            provider_token_is_fresh: token.is_fresh(now_unix),
        });
        if renew {
            tokens.forget(&token);
        }
        verdict
    }

    fn request(
        &self,
        target: &PushTarget,
        push: &Push,
        bundle_id: &str,
        token: &ProviderToken,
    ) -> reqwest::RequestBuilder {
        let base = match target.environment.unwrap_or_default() {
            ApnsEnvironment::Production => &self.production_url,
            ApnsEnvironment::Sandbox => &self.sandbox_url,
        };
        let payload = match push.notification() {
            Some(notification) => notification.apns_payload().to_string(),
            None => {
                // As a JSON text.
                let push = Value::from(body(push, target, &self.ambient));
                format!(r#"{{"aps":{},"push":{push}}}"#, *ALERT)
            }
        };
        self.client
            .post(below(base, &format!("3/device/{}", target.token)))
            .header("authorization", token.header())
            .header("apns-topic", bundle_id)
            .header("apns-push-type", "alert")
            .header("apns-priority", "10")
            .header("apns-expiration", push.expires_at())
            .header("apns-collapse-id", push.collapse_id().to_string())
            .header("content-type", "application/json")
            .body(payload)
    }
}

impl PushGateway for ApnsGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Apns
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        target.check_kind(GatewayKind::Apns)?;
        check_token(&target.token)?;
        self.app(target).map(drop)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.post(device, push).boxed()
    }
}

fn check_token(token: &str) -> Result<(), TargetError> {
    let right_length = (TOKEN_DIGITS_MIN..=TOKEN_DIGITS_MAX).contains(&token.len());
    if right_length && token.len().is_multiple_of(2) && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        let expected = "the device token in hex, 64 to 200 digits";
        Err(TargetError::Token { kind: GatewayKind::Apns, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hex() {
        for token in ["0a".repeat(32), "FF".repeat(32), "00".repeat(80)] {
            assert_eq!(check_token(&token), Ok(()), "{token}");
        }
        for token in
            ["", "0a", &"0a".repeat(31), &"0a".repeat(101), &"0g".repeat(32), &"a".repeat(65), "https://a/"]
        {
            assert!(check_token(token).is_err(), "{token}");
        }
        // What could lead elsewhere when it becomes a part of the path.
        for token in ["../".repeat(22), "%2e".repeat(22), "0a".repeat(31) + "/?"] {
            assert!(check_token(&token).is_err(), "{token}");
        }
    }
}
