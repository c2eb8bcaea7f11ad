//! Push by HTTPS POST to a URL that the device's owner chose.
//!
//! The URL comes from a stranger, and the request leaves from inside the operator's network. So the URL is checked, every
//! address that its name resolves to is checked again when the connection is made (a name may resolve to something else
//! by then), redirects are not followed, and a proxy in the environment is not used. Time, bytes read, look-ups and
//! requests per host are bounded.
//!
//! The body is JSON of a constant size, so that its length tells a listener nothing:
//!
//! ```json
//! {"reason":"payment_incoming","id":"<32 hex digits>","expires_at":1790000000,"padding":"000..."}
//! ```

mod address;
mod body;
mod hosts;
mod resolver;
mod url;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect, retry};

use self::address::AddressPolicy;
use self::hosts::HostSlots;
use self::resolver::{FilteringResolver, Lookup, NoUsableAddress, SystemLookup};
pub use self::url::UrlError;
use crate::{GatewayKind, Push, PushGateway, PushTarget, TargetError, Verdict};

/// A webhook that asks for a longer pause than this gets this one: a wake that waits longer is as good as lost.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How soon to come back when a host already has all the requests it may have.
const HOST_BUSY_RETRY: Duration = Duration::from_secs(1);

/// Bounds and policy of the webhook gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// For development only: allows plain `http`, private and loopback addresses, names that only a local network knows,
    /// and any port. With it, whoever can register a device can make this process POST to anything it can reach.
    pub allow_private_addresses: bool,
    /// The longest time to look up the name, connect and finish the TLS handshake.
    pub connect_timeout: Duration,
    /// The longest time for the whole request, connecting included.
    pub timeout: Duration,
    /// How many bytes of an answer's body are read (and thrown away, to keep the connection) before it is cut off.
    pub response_bytes_max: usize,
    /// Requests that one host may have open; beyond it a push is put off and not sent.
    pub in_flight_per_host_max: usize,
    /// Name look-ups that may run at once. Others wait, within their own time-out.
    pub lookups_max: usize,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            response_bytes_max: 4096,
            in_flight_per_host_max: 32,
            lookups_max: 32,
        }
    }
}

/// The gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum WebhookGatewayError {
    /// `main` has to install the process's TLS provider before anything opens a connection.
    #[error("no TLS provider is installed in this process; install rustls' ring provider first")]
    NoTlsProvider,
    /// Most often the system has no CA certificates.
    #[error("cannot set up the HTTPS client; are the system's CA certificates installed?")]
    Client(#[source] reqwest::Error),
}

/// The webhook gateway: one client, whose connections are shared by all devices behind the same host.
pub struct WebhookGateway {
    client: reqwest::Client,
    policy: AddressPolicy,
    hosts: HostSlots,
    response_bytes_max: usize,
}

impl WebhookGateway {
    /// A gateway that resolves names with the system's resolver.
    ///
    /// # Errors
    /// See [`WebhookGatewayError`].
    pub fn new(config: &WebhookConfig) -> Result<Self, WebhookGatewayError> {
        Self::with_lookup(config, Arc::new(SystemLookup::new(config.lookups_max)))
    }

    fn with_lookup(config: &WebhookConfig, lookup: Arc<dyn Lookup>) -> Result<Self, WebhookGatewayError> {
        // reqwest panics where this returns an error.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(WebhookGatewayError::NoTlsProvider);
        }
        let policy = AddressPolicy::new(config.allow_private_addresses);
        let client = reqwest::Client::builder()
            .user_agent(concat!("lightning-rod/", env!("CARGO_PKG_VERSION")))
            .https_only(policy == AddressPolicy::PublicOnly)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            // The caller's schedule is the only one that retries.
            .retry(retry::never())
            .dns_resolver(FilteringResolver::new(policy, lookup))
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .pool_max_idle_per_host(config.in_flight_per_host_max)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(WebhookGatewayError::Client)?;
        let hosts = HostSlots::new(config.in_flight_per_host_max);
        Ok(Self { client, policy, hosts, response_bytes_max: config.response_bytes_max })
    }

    fn url(&self, target: &PushTarget) -> Result<reqwest::Url, TargetError> {
        match target.kind {
            GatewayKind::Webhook => Ok(url::parse(&target.token, self.policy)?),
        }
    }

    async fn post(&self, target: &PushTarget, push: &Push) -> Verdict {
        // Checked again for every push: the policy may be stricter than when the device registered, and nothing but the
        // URL that was checked is ever sent to.
        let url = match self.url(target) {
            Ok(url) => url,
            Err(error) => return Verdict::BadPayload(error.to_string().into()),
        };
        let Some(_slot) = self.hosts.take(url.host_str().unwrap_or_default()) else {
            return Verdict::RetryAfter(
                Some(HOST_BUSY_RETRY),
                "the host has all the requests it may have".into(),
            );
        };
        let request =
            self.client.post(url).header(CONTENT_TYPE, "application/json").body(body::constant_size(push));
        match request.send().await {
            Ok(response) => {
                let verdict = of_answer(&response);
                self.drain(response).await;
                verdict
            }
            Err(error) => of_error(&error),
        }
    }

    /// Reads what is left of a short answer, so that its HTTP/1 connection can serve the next push. The verdict does not
    /// depend on it; whatever is longer or slower loses its connection.
    async fn drain(&self, mut response: Response) {
        let mut bytes_left = self.response_bytes_max;
        while let Ok(Some(chunk)) = response.chunk().await {
            match bytes_left.checked_sub(chunk.len()) {
                Some(left) => bytes_left = left,
                None => return,
            }
        }
    }
}

impl PushGateway for WebhookGateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Webhook
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        self.url(target).map(drop)
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.post(device, push).boxed()
    }
}

/// No status of one device's webhook is the operator's fault, so none gives [`Verdict::Configuration`].
fn of_answer(response: &Response) -> Verdict {
    let status = response.status();
    let why = format!("HTTP {}", status.as_u16()).into();
    match status {
        status if status.is_success() => Verdict::Accepted,
        StatusCode::NOT_FOUND | StatusCode::GONE => Verdict::TokenDead(why),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Verdict::RetryAfter(retry_after(response), why)
        }
        status if status.is_server_error() => Verdict::RetryAfter(retry_after(response), why),
        // Redirects too: following one would lead to a URL that nobody checked.
        _ => Verdict::BadPayload(why),
    }
}

/// `Retry-After` in its form of seconds. The form of a date is left to the caller's schedule: it is rare, and would need a
/// clock that agrees with the host's.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// The error itself is not passed on: it may quote the URL.
fn of_error(error: &reqwest::Error) -> Verdict {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.is::<NoUsableAddress>() {
            // Not the device's end: a resolver that is itself in trouble gives such answers too.
            return Verdict::RetryAfter(None, "the host name resolves to no public address".into());
        }
        cause = inner.source();
    }
    let why = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection broke"
    };
    Verdict::RetryAfter(None, why.into())
}
