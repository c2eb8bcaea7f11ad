//! Google's push service, and the endpoint where its access tokens come from.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::Authority;
use super::jwt::Signer;
use super::server::{Answer, Request, Server};
use super::{Clock, Devices, Taken, expiry_of, lock};
use crate::failure::Failure;

/// The one project.
pub const PROJECT: &str = "wallet-1";

const CLIENT_EMAIL: &str = "push@wallet-1.iam.gserviceaccount.com";
const PRIVATE_KEY_ID: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c";
/// Made for this fake, and good for nothing else.
const PRIVATE_KEY: &str = include_str!("service_account.pem");
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// How long an access token is good, in seconds.
const TOKEN_SECONDS: u64 = 3_599;
/// The longest assertion, in seconds.
const ASSERTION_SECONDS_MAX: u64 = 3_600;
/// How wrong a client's clock may be, in seconds.
const SKEW_SECONDS_MAX: u64 = 300;
/// Bytes of a message's data.
const DATA_BYTES_MAX: usize = 4_096;
/// The longest life of a message, in seconds.
const TTL_SECONDS_MAX: u64 = 2_419_200;

/// The two services.
pub struct Fcm {
    oauth: Server,
    server: Server,
    inner: Arc<Inner>,
}

struct Inner {
    signer: Signer,
    /// Its address, as key files and assertions have it.
    token_uri: Mutex<String>,
    devices: Devices,
    clock: Clock,
    /// Until when each is good.
    access_tokens: Mutex<HashMap<String, u64>>,
    issued: AtomicU64,
    /// For how long the next access tokens are good.
    token_seconds: AtomicU64,
    messages: AtomicU64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    message: Message,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    token: String,
    /// Every value is a string.
    data: HashMap<String, String>,
    android: Android,
    /// For iPhones that are reached through Google.
    #[serde(default)]
    apns: Option<ApnsConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApnsConfig {
    headers: HashMap<String, String>,
    payload: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Android {
    priority: String,
    ttl: String,
    #[serde(default)]
    collapse_key: Option<String>,
}

impl Fcm {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// When they cannot listen.
    pub async fn start(authority: &Authority, clock: Clock) -> Result<Self, Failure> {
        let inner = Arc::new(Inner {
            signer: Signer::rs256(PRIVATE_KEY_ID, &public_key()?),
            token_uri: Mutex::default(),
            devices: Devices::default(),
            clock,
            access_tokens: Mutex::default(),
            issued: AtomicU64::new(0),
            token_seconds: AtomicU64::new(TOKEN_SECONDS),
            messages: AtomicU64::new(0),
        });
        let (endpoint, service) = (inner.clone(), inner.clone());
        let oauth = Server::start(authority, move |request| endpoint.give_token(&request)).await?;
        let server = Server::start(authority, move |request| service.answer(request)).await?;
        let fcm = Self { oauth, server, inner };
        fcm.set_token_uri(&fcm.token_url());
        Ok(fcm)
    }

    /// Where the token endpoint is.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.oauth.url())
    }

    /// From now on key files have this address of the token endpoint, and assertions must: as if it were behind a proxy.
    pub fn set_token_uri(&self, url: &str) {
        url.clone_into(&mut lock(&self.inner.token_uri));
    }

    /// How the push service behaves, and where it is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// How the token endpoint behaves, and where it is.
    pub fn oauth(&self) -> &Server {
        &self.oauth
    }

    /// The service account's key file.
    pub fn service_account(&self) -> String {
        json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": PRIVATE_KEY_ID,
            "private_key": PRIVATE_KEY,
            "client_email": CLIENT_EMAIL,
            "client_id": "1",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": *lock(&self.inner.token_uri),
        })
        .to_string()
    }

    /// From now on there is a device with this token.
    pub fn add_device(&self, token: &str) {
        self.inner.devices.add(token, None);
    }

    /// As [`Self::add_device`]; `phone` is told of its pushes.
    pub fn add_phone(&self, token: &str, phone: impl Fn(&Taken) + std::marker::Send + Sync + 'static) {
        self.inner.devices.add(token, Some(Box::new(phone)));
    }

    /// The app is gone from the device with this token.
    pub fn remove_device(&self, token: &str) {
        self.inner.devices.remove(token);
    }

    /// All that it took.
    pub fn taken(&self) -> Vec<Taken> {
        self.inner.devices.taken()
    }

    /// The pushes that came when their time was over, by what Google is told, or by what the app is.
    pub fn late(&self) -> Vec<String> {
        self.inner.devices.late()
    }

    /// How many pushes it took.
    pub fn taken_count(&self) -> usize {
        self.inner.devices.taken_count()
    }

    /// How many access tokens it gave out.
    pub fn access_tokens(&self) -> u64 {
        self.inner.issued.load(Ordering::Relaxed)
    }

    /// How long the access tokens that it gives out from now on are good, in seconds.
    pub fn set_token_seconds(&self, seconds: u64) {
        self.inner.token_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Takes every access token back.
    pub fn revoke_access_tokens(&self) {
        lock(&self.inner.access_tokens).clear();
    }
}

impl Inner {
    fn give_token(&self, request: &Request) -> Answer {
        let refuse = |error: &str, description: &str| {
            Answer::new(400, json!({ "error": error, "error_description": description }).to_string())
        };
        if request.method != "POST" || request.path != "/token" {
            return Answer::new(404, "");
        }
        if request.header("content-type") != "application/x-www-form-urlencoded" {
            return refuse("invalid_request", "not a form");
        }
        let body = String::from_utf8_lossy(&request.body);
        let form: HashMap<&str, &str> = body.split('&').filter_map(|pair| pair.split_once('=')).collect();
        if form.get("grant_type") != Some(&"urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer") {
            return refuse("unsupported_grant_type", "no jwt-bearer");
        }
        let now = (self.clock)();
        let claims = match self.signer.verify(form.get("assertion").unwrap_or(&"")) {
            Ok(claims) => claims,
            Err(error) => return refuse("invalid_grant", &format!("Invalid JWT Signature. ({error})")),
        };
        let (issued_at, expires_at) =
            (claims["iat"].as_u64().unwrap_or(0), claims["exp"].as_u64().unwrap_or(0));
        let in_time = issued_at <= now + SKEW_SECONDS_MAX
            && now < expires_at
            && issued_at < expires_at
            && expires_at - issued_at <= ASSERTION_SECONDS_MAX;
        if claims["iss"] != CLIENT_EMAIL {
            return refuse("invalid_grant", "Invalid grant: account not found");
        }
        if claims["aud"] != lock(&self.token_uri).as_str() {
            return refuse("invalid_grant", "Invalid JWT: Failed audience check.");
        }
        if !in_time {
            return refuse(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and \
                 exp values in the JWT claim.",
            );
        }
        if claims["scope"] != SCOPE {
            return refuse("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
        }
        let serial = self.issued.fetch_add(1, Ordering::Relaxed);
        let token = format!("ya29.{serial}");
        let seconds = self.token_seconds.load(Ordering::Relaxed);
        lock(&self.access_tokens).insert(token.clone(), now + seconds);
        let answer = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
        Answer::new(200, answer.to_string())
    }

    fn answer(&self, request: Request) -> Answer {
        match self.look_at(&request) {
            Ok((token, push)) => {
                self.devices.take(Taken { at: Instant::now(), token, push, request });
                let serial = self.messages.fetch_add(1, Ordering::Relaxed);
                Answer::new(
                    200,
                    json!({ "name": format!("projects/{PROJECT}/messages/{serial}") }).to_string(),
                )
            }
            Err((status, name, code)) => error(status, name, code),
        }
    }

    /// For which device, and what its app finds under `push`.
    fn look_at(&self, request: &Request) -> Result<(String, String), (u16, &'static str, &'static str)> {
        const INVALID: (u16, &str, &str) = (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT");
        if request.method != "POST" || request.path != format!("/v1/projects/{PROJECT}/messages:send") {
            return Err((404, "NOT_FOUND", ""));
        }
        let token = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        match lock(&self.access_tokens).get(token) {
            Some(expires_at) if (self.clock)() < *expires_at => {}
            _ => return Err((401, "UNAUTHENTICATED", "")),
        }
        if request.header("content-type") != "application/json" {
            return Err(INVALID);
        }
        let Send { mut message } = serde_json::from_slice(&request.body).map_err(|_| INVALID)?;
        let data_bytes: usize = message.data.iter().map(|(key, value)| key.len() + value.len()).sum();
        let ttl = message.android.ttl.strip_suffix('s').and_then(|seconds| seconds.parse::<u64>().ok());
        let now = (self.clock)();
        let expires_at = message.data.get("push").and_then(|push| expiry_of(push));
        if ttl == Some(0) || expires_at.is_some_and(|expires_at| expires_at <= now) {
            let good_until = expires_at.map_or_else(|| "then".to_owned(), |at| at.to_string());
            self.devices.note_late(format!("a push through Google, good until {good_until}, came at {now}"));
        }
        let is_right = data_bytes <= DATA_BYTES_MAX
            && message.android.priority == "HIGH"
            // Google takes 0 too, which means now or never: of no use for a phone that is to be woken.
            && ttl.is_some_and(|seconds| (1..=TTL_SECONDS_MAX).contains(&seconds))
            && message.android.collapse_key.is_none_or(|key| !key.is_empty())
            && message.apns.is_none_or(|apns| {
                apns.headers.contains_key("apns-priority") && apns.payload["aps"].is_object()
            });
        if !is_right {
            return Err(INVALID);
        }
        if !self.devices.knows(&message.token) {
            return Err((404, "NOT_FOUND", "UNREGISTERED"));
        }
        let push = message.data.remove("push").or_else(|| message.data.remove("notification_payload"));
        Ok((message.token, push.ok_or(INVALID)?))
    }
}

/// An error as FCM words it; `code` is empty if it gives none.
pub fn error(status: u16, name: &str, code: &str) -> Answer {
    let details = match code {
        "" => json!([]),
        code => json!([{
            "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
            "errorCode": code,
        }]),
    };
    let error = json!({ "code": status, "message": "as the fake says", "status": name, "details": details });
    Answer::new(status, json!({ "error": error }).to_string())
}

fn public_key() -> Result<Vec<u8>, Failure> {
    use ring::signature::{KeyPair, RsaKeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject;
    let key = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE_KEY.as_bytes())
        .map_err(|error| Failure::wrong(format!("the fake's key: {error}")))?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der())
        .map_err(|error| Failure::wrong(format!("the fake's key: {error}")))?;
    Ok(key.public_key().as_ref().to_vec())
}
