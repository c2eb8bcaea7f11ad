//! `[http]`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::HttpConfig;
use super::setting::Settings;
use crate::http::tls::TlsFiles;

pub(super) fn config(settings: &mut Settings, data_dir: &Path) -> HttpConfig {
    let listen = settings.or("http.listen", SocketAddr::from(([127, 0, 0, 1], 8080)));
    let certificate = settings.or("http.tls_certificate", String::new());
    let key = settings.or("http.tls_key", String::new());
    let allow_plain_http = settings.or("http.allow_plain_http", false);
    settings.check("http.tls_key", certificate.is_empty() || !key.is_empty(), || {
        "is missing: http.tls_certificate is of no use without its private key".to_owned()
    });
    settings.check("http.tls_certificate", key.is_empty() || !certificate.is_empty(), || {
        "is missing: http.tls_key is of no use without its certificate".to_owned()
    });
    // A relative path is one in the data directory, wherever the server is started from.
    let tls = (!certificate.is_empty() && !key.is_empty()).then(|| TlsFiles {
        certificate: data_dir.join(PathBuf::from(certificate)),
        key: data_dir.join(PathBuf::from(key)),
    });
    settings.check("http.listen", tls.is_some() || allow_plain_http || listen.ip().is_loopback(), || {
        format!(
            "is {listen}, which others can reach, and there is no certificate: push tokens would travel in the open. Set \
             http.tls_certificate and http.tls_key, or listen on loopback behind a TLS proxy; if the proxy is on another \
             machine and the network between is yours, set http.allow_plain_http"
        )
    });
    HttpConfig { listen, tls, allow_plain_http }
}
