//! Push to Android phones by Firebase Cloud Messaging's HTTP v1 API, as a service account.
//!
//! Every push is a data message of high priority, which starts the app. Google lowers the priority of apps that show
//! nothing for such messages: the wallet should.

mod access_token;
mod service_account;

use futures::future::{BoxFuture, FutureExt};
use reqwest::{RequestBuilder, Url};
use serde_json::{Value, json};

use self::access_token::AccessTokens;
pub use self::service_account::{ServiceAccount, ServiceAccountError};
use crate::body::body;
use crate::classify;
use crate::client::{ProviderClient, below};
use crate::{Ambient, GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict};

/// Google's endpoint.
pub const FCM_URL: &str = "https://fcm.googleapis.com";

/// The longest time that FCM keeps a message, in seconds.
const TTL_SECONDS_MAX: u64 = 28 * 24 * 3600;

/// Characters of a registration token. Google's have about 160 today, and are not promised to stay so.
const TOKEN_CHARS_MIN: usize = 32;
const TOKEN_CHARS_MAX: usize = 1024;

/// The FCM gateway.
pub struct FcmGateway {
    client: ProviderClient,
    url: Url,
    tokens: AccessTokens,
    ambient: Ambient,
}

impl FcmGateway {
    /// A gateway for the project of `account`. `url` is [`FCM_URL`], and access tokens come from the account's own
    /// `token_uri`, unless `token_url` says how that is reached.
    pub fn new(
        client: ProviderClient,
        account: ServiceAccount,
        url: &Url,
        token_url: Option<Url>,
        ambient: Ambient,
    ) -> Self {
        let url = below(url, &format!("v1/projects/{}/messages:send", account.project_id()));
        Self { tokens: AccessTokens::new(client.clone(), account, token_url), client, url, ambient }
    }

    /// Asks for an access token, without a push: what a push would be told.
    pub async fn try_account(&self) -> Verdict {
        match self.tokens.current(self.ambient.now_unix()).await {
            Ok(_) => Verdict::Accepted,
            Err(verdict) => verdict,
        }
    }

    async fn post(&self, target: &PushTarget, push: &Push) -> Verdict {
        if let Err(error) = check_token(&target.token) {
            return Verdict::BadPayload(error.to_string().into());
        }
        let token = match self.tokens.current(self.ambient.now_unix()).await {
            Ok(token) => token,
            Err(verdict) => return verdict,
        };
        // Getting a token may have taken a while.
        let now_unix = self.ambient.now_unix();
        if push.seconds_left(now_unix) == 0 {
            return Verdict::RetryAfter(None, "its time was over before it could be sent".into());
        }
        let request = self.request(target, push, now_unix).header("authorization", token.header());
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(verdict) => return verdict,
        };
        if answer.status == 401 {
            self.tokens.forget(&token);
        }
        classify::fcm(answer.status, classify::retry_after(&answer.headers), &answer.body)
    }

    fn request(&self, target: &PushTarget, push: &Push, now_unix: u64) -> RequestBuilder {
        let ttl = push.seconds_left(now_unix).min(TTL_SECONDS_MAX);
        let message = match push.notification() {
            Some(notification) => {
                let mut message = notification.fcm_message(ttl, push.expires_at(), push.collapse_id());
                message["token"] = target.token.as_str().into();
                json!({ "message": message }).to_string()
            }
            None => {
                // As JSON texts. A collapse id has nothing that needs escaping.
                let (data, token) =
                    (Value::from(body(push, target, &self.ambient)), Value::from(target.token.as_str()));
                format!(
                    r#"{{"message":{{"android":{{"collapse_key":"{}","priority":"HIGH","ttl":"{ttl}s"}},"data":{{"push":{data}}},"token":{token}}}}}"#,
                    push.collapse_id()
                )
            }
        };
        self.client.post(self.url.clone()).header("content-type", "application/json").body(message)
    }
}

impl PushGateway for FcmGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Fcm
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        target.check_kind(GatewayKind::Fcm)?;
        check_token(&target.token)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.post(device, push).boxed()
    }

    fn try_credentials(&self) -> BoxFuture<'_, Verdict> {
        self.try_account().boxed()
    }
}

fn check_token(token: &str) -> Result<(), TargetError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
    if (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(is_plain) {
        Ok(())
    } else {
        let expected = "the registration token: 32 to 1024 letters, digits, `-`, `_` and `:`";
        Err(TargetError::Token { kind: GatewayKind::Fcm, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_form_of_a_registration_token() {
        for token in ["a".repeat(32), format!("dGhpcyBpcyBhIHRlc3Q:APA91b{}", "xY-_0".repeat(26))] {
            assert_eq!(check_token(&token), Ok(()), "{token}");
        }
        for token in ["", "short", &"a".repeat(1025), &"a b".repeat(20), &"é".repeat(40), &"a\"".repeat(40)]
        {
            assert!(check_token(token).is_err(), "{token}");
        }
    }
}
