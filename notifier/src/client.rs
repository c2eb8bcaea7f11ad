//! The one HTTP/2 client for providers whose addresses the operator knows: Apple's and Google's.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, RequestBuilder, Url, redirect};

use crate::ssrf::ClientError;
use crate::{Verdict, classify};

pub(crate) const USER_AGENT: &str = concat!("lightning-rod/", env!("CARGO_PKG_VERSION"));

/// Providers answer with a few hundred bytes.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// A connection that does not answer a ping is not used again.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Certificates that are trusted beside the system's: for a proxy that opens TLS, and for tests.
#[derive(Clone, Debug, Default)]
pub struct RootCertificates(Vec<Certificate>);

/// The text holds no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`) that can be read")]
pub struct CertificateError;

impl RootCertificates {
    /// Every certificate of a PEM file.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        match Certificate::from_pem_bundle(pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self(certificates)),
            _ => Err(CertificateError),
        }
    }

    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.clone()
    }
}

/// Bounds of the providers' client.
#[derive(Clone, Debug)]
pub struct ProviderClientConfig {
    /// The longest time to look up the name, connect and finish the TLS handshake.
    pub connect_timeout: Duration,
    /// The longest time for one request, connecting included. A push that first needs an access token makes two.
    pub timeout: Duration,
    /// Trusted beside the system's.
    pub extra_root_certificates: RootCertificates,
}

impl Default for ProviderClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(9),
            extra_root_certificates: RootCertificates::default(),
        }
    }
}

/// The client: one connection to each provider, that all pushes share. Clones share it too.
#[derive(Clone, Debug)]
pub struct ProviderClient {
    http: reqwest::Client,
}

/// A provider's answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Empty if it was too long, or broke off: then the status alone counts.
    pub(crate) body: Vec<u8>,
}

impl ProviderClient {
    /// A client over TLS and HTTP/2 only, which all its providers speak. A request that the other side says it has not
    /// looked at (a connection that is being closed) goes out again on a new connection; nothing else is repeated.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(config: &ProviderClientConfig) -> Result<Self, ClientError> {
        // reqwest panics where this returns an error.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::NoTlsProvider);
        }
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .https_only(true)
            .http2_prior_knowledge()
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .tls_certs_merge(config.extra_root_certificates.certificates())
            .build()
            .map_err(ClientError::Client)?;
        Ok(Self { http })
    }

    pub(crate) fn post(&self, url: Url) -> RequestBuilder {
        self.http.post(url)
    }

    /// Sends once. The error is the verdict of a request without an answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Verdict> {
        let mut response = request.send().await.map_err(|error| classify::transport(&error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= RESPONSE_BYTES_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    body.clear();
                    break;
                }
            }
        }
        Ok(Answer { status, headers, body })
    }
}

/// `path` below `base`, whether or not `base` ends in a slash.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended() {
        for base in ["https://api.push.apple.com", "https://api.push.apple.com/"] {
            assert_eq!(
                below(&base.parse().unwrap(), "3/device/ab").as_str(),
                "https://api.push.apple.com/3/device/ab"
            );
        }
        let base = "https://proxy.internal/apns/".parse().unwrap();
        assert_eq!(below(&base, "3/device/ab").as_str(), "https://proxy.internal/apns/3/device/ab");
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            assert_eq!(RootCertificates::from_pem(pem.as_bytes()).err(), Some(CertificateError), "{pem}");
        }
    }
}
