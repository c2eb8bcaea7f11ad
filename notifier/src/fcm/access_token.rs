//! Google's access tokens: an hour's worth for one signed assertion (RFC 7523).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::ServiceAccount;
use crate::Verdict;
use crate::classify;
use crate::client::ProviderClient;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// `urn:ietf:params:oauth:grant-type:jwt-bearer`, as a form has it.
const GRANT_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

/// For how long the assertion asks, in seconds: Google's longest.
const ASSERTION_SECONDS: u64 = 3600;

/// A token that is good for less than this, in seconds, is not used any more: a push may take some.
const LEFT_SECONDS_MIN: u64 = 60;

/// With less left than this, in seconds, one push gets the next token while the others go on with this one.
const RENEWED_AHEAD_SECONDS: u64 = 600;

/// For so long, in seconds, a refusal stands for those that ask next: Google is not asked once for every push.
const REFUSAL_SECONDS: u64 = 10;

/// One access token. `Debug` would show it, so there is none.
#[derive(Clone)]
pub(super) struct AccessToken {
    header: HeaderValue,
    serial: u64,
    expires_at: u64,
}

impl AccessToken {
    /// The value of `authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

#[derive(Default)]
struct State {
    token: Option<AccessToken>,
    /// When Google said no, in seconds since 1970, and what that means.
    refusal: Option<(u64, Verdict)>,
    serial: u64,
}

impl State {
    fn usable(&self, now_unix: u64) -> Option<AccessToken> {
        self.token.clone().filter(|token| now_unix + LEFT_SECONDS_MIN < token.expires_at)
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

/// The access tokens of one service account. However many ask at once, one request is made.
pub(super) struct AccessTokens {
    client: ProviderClient,
    account: ServiceAccount,
    token_url: Url,
    state: Mutex<State>,
    /// Held by the one that asks Google.
    asking: tokio::sync::Mutex<()>,
}

impl AccessTokens {
    pub(super) fn new(client: ProviderClient, account: ServiceAccount, token_url: Option<Url>) -> Self {
        let token_url = token_url.unwrap_or_else(|| account.token_url.clone());
        Self { client, account, token_url, state: Mutex::default(), asking: tokio::sync::Mutex::new(()) }
    }

    /// A token that is good for this push; the verdict of the push if there is none.
    pub(super) async fn current(&self, now_unix: u64) -> Result<AccessToken, Verdict> {
        if let Some(token) = self.with(|state| state.usable(now_unix)) {
            if now_unix + RENEWED_AHEAD_SECONDS < token.expires_at {
                return Ok(token);
            }
            // Nearly over: whoever comes first renews it; if that fails, it is still good.
            let Ok(_asking) = self.asking.try_lock() else { return Ok(token) };
            if self.with(|state| state.refusal_at(now_unix)).is_some() {
                return Ok(token);
            }
            return Ok(self.ask(now_unix).await.unwrap_or(token));
        }
        let _asking = self.asking.lock().await;
        if let Some(token) = self.with(|state| state.usable(now_unix)) {
            return Ok(token);
        }
        if let Some(verdict) = self.with(|state| state.refusal_at(now_unix)) {
            return Err(verdict);
        }
        self.ask(now_unix).await
    }

    /// FCM does not take this token. One that was got since stays.
    pub(super) fn forget(&self, token: &AccessToken) {
        self.with(|state| {
            if state.token.as_ref().is_some_and(|current| current.serial == token.serial) {
                state.token = None;
            }
        });
    }

    async fn ask(&self, now_unix: u64) -> Result<AccessToken, Verdict> {
        let asked = self.request(now_unix).await;
        self.with(|state| match asked {
            Ok(answer) => {
                let Ok(mut header) = HeaderValue::try_from(format!("Bearer {}", answer.access_token)) else {
                    return Err(classify::oauth(200, None, &[]));
                };
                header.set_sensitive(true);
                state.serial += 1;
                let expires_at = now_unix.saturating_add(answer.expires_in);
                let token = AccessToken { header, serial: state.serial, expires_at };
                state.token = Some(token.clone());
                state.refusal = None;
                Ok(token)
            }
            Err(verdict) => {
                state.refusal = Some((now_unix, verdict.clone()));
                Err(verdict)
            }
        })
    }

    async fn request(&self, now_unix: u64) -> Result<Answer, Verdict> {
        let claims = json!({
            "iss": self.account.client_email,
            "scope": SCOPE,
            // Google's name for itself, however it is reached: by a proxy too.
            "aud": self.account.token_url.as_str(),
            "iat": now_unix,
            "exp": now_unix + ASSERTION_SECONDS,
        });
        let assertion = self
            .account
            .signing
            .sign(&self.account.private_key_id, &claims)
            .map_err(|error| Verdict::RetryAfter(None, error.to_string().into()))?;
        // Nothing in an assertion needs escaping: it is base64url and dots.
        let form = format!("grant_type={GRANT_TYPE}&assertion={assertion}");
        let request = self
            .client
            .post(self.token_url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(Verdict::RetryAfter(pause, why)) => {
                return Err(Verdict::RetryAfter(pause, format!("no access token: {why}").into()));
            }
            Err(verdict) => return Err(verdict),
        };
        let pause: Option<Duration> = classify::retry_after(&answer.headers);
        let readable = (answer.status == 200).then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        readable.ok_or_else(|| classify::oauth(answer.status, pause, &answer.body))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn refusal_at(&self, now_unix: u64) -> Option<Verdict> {
        let (at, verdict) = self.refusal.as_ref()?;
        (*at <= now_unix && now_unix < at + REFUSAL_SECONDS).then(|| verdict.clone())
    }
}
