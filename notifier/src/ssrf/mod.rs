//! Requests to URLs that strangers chose, made from inside the operator's network.
//!
//! The URL is checked, every address that its name resolves to is checked again when the connection is made (a name may
//! resolve to something else by then), redirects are not followed, and a proxy in the environment is not used. Time, bytes
//! read, look-ups and requests per host are bounded.

mod address;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hosts;
pub(crate) mod resolver;
mod url;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, Url, redirect, retry};

pub(crate) use self::address::AddressPolicy;
use self::hosts::HostSlots;
use self::resolver::{FilteringResolver, Lookup, SystemLookup};
pub use self::url::UrlError;
use crate::classify;
use crate::client::{RootCertificates, USER_AGENT};
use crate::{PushTarget, Verdict};

/// How soon to come back when a host already has all the requests it may have.
pub(crate) const HOST_BUSY_RETRY: Duration = Duration::from_secs(1);

/// Bounds and policy of requests to strangers' URLs.
#[derive(Clone, Debug)]
pub struct UrlClientConfig {
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
    /// Trusted beside the system's.
    pub extra_root_certificates: RootCertificates,
}

impl Default for UrlClientConfig {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            response_bytes_max: 4096,
            in_flight_per_host_max: 32,
            lookups_max: 32,
            extra_root_certificates: RootCertificates::default(),
        }
    }
}

/// The client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `main` has to install the process's TLS provider before anything opens a connection.
    #[error("no TLS provider is installed in this process; install rustls' ring provider first")]
    NoTlsProvider,
    /// Most often the system has no CA certificates.
    #[error("cannot set up the HTTPS client; are the system's CA certificates installed?")]
    Client(#[source] reqwest::Error),
}

/// The client for strangers' URLs. Its connections are shared by all devices behind the same host, and its bound per host
/// by all gateways that use it.
pub struct UrlClient {
    client: reqwest::Client,
    policy: AddressPolicy,
    hosts: HostSlots,
    response_bytes_max: usize,
}

impl UrlClient {
    /// A client that resolves names with the system's resolver.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(config: &UrlClientConfig) -> Result<Arc<Self>, ClientError> {
        Self::with_lookup(config, Arc::new(SystemLookup::new(config.lookups_max)))
    }

    pub(crate) fn with_lookup(
        config: &UrlClientConfig,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Arc<Self>, ClientError> {
        // reqwest panics where this returns an error.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::NoTlsProvider);
        }
        let policy = AddressPolicy::new(config.allow_private_addresses);
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
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
            .tls_certs_merge(config.extra_root_certificates.certificates())
            .build()
            .map_err(ClientError::Client)?;
        let hosts = HostSlots::new(config.in_flight_per_host_max);
        Ok(Arc::new(Self { client, policy, hosts, response_bytes_max: config.response_bytes_max }))
    }

    /// The target's URL, if it may be sent to.
    pub(crate) fn url(&self, target: &PushTarget) -> Result<Url, UrlError> {
        self.parse(&target.token)
    }

    /// The URL, if it may be sent to.
    pub(crate) fn parse(&self, url: &str) -> Result<Url, UrlError> {
        url::parse(url, self.policy)
    }

    /// One POST to the target's URL.
    pub(crate) async fn post(&self, target: &PushTarget, headers: HeaderMap, body: Vec<u8>) -> Verdict {
        match self.post_to(&target.token, headers, body).await {
            Ok((status, retry_after)) => classify::posted(status, retry_after),
            Err(verdict) => verdict,
        }
    }

    /// One POST to a URL: the status of the answer, and the pause that it asks for. The error is the verdict of a request
    /// without an answer.
    pub(crate) async fn post_to(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(u16, Option<Duration>), Verdict> {
        // Checked again for every push: the policy may be stricter than when the device registered, and nothing but the
        // URL that was checked is ever sent to.
        let url = self.parse(url).map_err(|error| Verdict::BadPayload(error.to_string().into()))?;
        let Some(_slot) = self.hosts.take(url.host_str().unwrap_or_default()) else {
            let why = "the host has all the requests it may have";
            return Err(Verdict::RetryAfter(Some(HOST_BUSY_RETRY), why.into()));
        };
        let sent = self.client.post(url).headers(headers).body(body).send().await;
        let response = sent.map_err(|error| classify::transport(&error))?;
        let answer = (response.status().as_u16(), classify::retry_after(response.headers()));
        self.drain(response).await;
        Ok(answer)
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
