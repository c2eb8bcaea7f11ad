//! HTTPS: certificate and key from files, read again when they change.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::BoundedListener;
use super::listener::BoundedStream;

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that have shaken hands and wait to be served.
const ACCEPTED_MAX: usize = 64;

/// How often it is looked whether the files have changed.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Where the certificate and its key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file.
    #[error("cannot read the certificate {}", path.display())]
    Certificate {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is no certificate in its file.
    #[error("there is no certificate in {}: expected PEM, `-----BEGIN CERTIFICATE-----`", .0.display())]
    Empty(PathBuf),
    /// The key's file.
    #[error("cannot read the private key {}: expected PEM (PKCS#8, PKCS#1 or SEC1)", path.display())]
    Key {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The key is of a kind that is not served, or belongs to another certificate.
    #[error("the key {} cannot be used with the certificate {}", key.display(), certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// No protocol version that is supported.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsFiles {
    /// Reads both files, and checks that they belong together.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(&self) -> Result<CertifiedKey, TlsError> {
        let in_certificate = |source| TlsError::Certificate { path: self.certificate.clone(), source };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(in_certificate)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(in_certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Empty(self.certificate.clone()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| TlsError::Key { path: self.key.clone(), source })?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }

    /// When either was last changed.
    fn changed_at(&self) -> io::Result<[SystemTime; 2]> {
        let changed_at = |path: &Path| fs::metadata(path)?.modified();
        Ok([changed_at(&self.certificate)?, changed_at(&self.key)?])
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A [`BoundedListener`] that speaks TLS. A client that is slow to shake hands holds up no other.
pub struct TlsListener {
    accepted: mpsc::Receiver<(TlsStream<BoundedStream>, SocketAddr)>,
    address: io::Result<SocketAddr>,
    tasks: [JoinHandle<()>; 2],
}

impl TlsListener {
    /// Serves TLS on `listener`, and looks for another certificate each `reload_interval`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(
        listener: BoundedListener,
        files: TlsFiles,
        reload_interval: Duration,
    ) -> Result<Self, TlsError> {
        let changed_at = files.changed_at().ok();
        let current = Arc::new(Current(RwLock::new(Arc::new(files.load()?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener.local_addr();
        let (shaken, accepted) = mpsc::channel(ACCEPTED_MAX);
        let tasks = [
            tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), shaken)),
            tokio::spawn(reload(files, current, changed_at, reload_interval)),
        ];
        Ok(Self { accepted, address, tasks })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<BoundedStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task that accepts ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// The listener's bound on connections bounds the handshakes under way.
async fn accept(
    mut listener: BoundedListener,
    acceptor: TlsAcceptor,
    shaken: mpsc::Sender<(TlsStream<BoundedStream>, SocketAddr)>,
) {
    loop {
        let (stream, address) = listener.accept().await;
        let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // Nobody serves any more: the connection is dropped.
                Ok(Ok(stream)) => drop(shaken.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
            }
        });
    }
}

/// A certificate that cannot be used changes nothing: the one before it stays.
async fn reload(
    files: TlsFiles,
    current: Arc<Current>,
    mut known: Option<[SystemTime; 2]>,
    interval: Duration,
) {
    loop {
        tokio::time::sleep(interval).await;
        let Ok(changed_at) = files.changed_at() else { continue };
        if known == Some(changed_at) {
            continue;
        }
        // A file that is being written is read again at the next look, which sees another time.
        known = Some(changed_at);
        match files.load() {
            Ok(certified) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                tracing::info!(certificate = %files.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the new certificate cannot be used: the old one is served on"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::ConnectionLimits;

    struct Served {
        folder: tempfile::TempDir,
        address: SocketAddr,
    }

    impl Served {
        fn files(folder: &Path) -> TlsFiles {
            TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
        }

        /// Writes a fresh certificate for `localhost`, and answers it.
        fn renew(folder: &Path) -> reqwest::Certificate {
            let Made { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            let files = Self::files(folder);
            fs::write(&files.key, signing_key.serialize_pem()).unwrap();
            fs::write(&files.certificate, cert.pem()).unwrap();
            reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap()
        }

        async fn start() -> (Self, reqwest::Certificate) {
            let folder = tempfile::tempdir().unwrap();
            let certificate = Self::renew(folder.path());
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            let limits = ConnectionLimits { connections_max: 4, ..ConnectionLimits::default() };
            let listener = BoundedListener::new(tcp, limits);
            let interval = Duration::from_millis(20);
            let listener = TlsListener::new(listener, Self::files(folder.path()), interval).unwrap();
            let app = Router::new().route("/", get(async || "hello"));
            tokio::spawn(async move { axum::serve(listener, app).await });
            (Self { folder, address }, certificate)
        }

        async fn ask(&self, trusted: &reqwest::Certificate) -> reqwest::Result<String> {
            let _ = provider().install_default();
            let client = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([trusted.clone()])
                .resolve("localhost", self.address)
                .build()?;
            let url = format!("https://localhost:{}/", self.address.port());
            client.get(url).send().await?.text().await
        }
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_served_without_a_restart() {
        let (served, first) = Served::start().await;
        assert_eq!(served.ask(&first).await.unwrap(), "hello");
        let second = Served::renew(served.folder.path());
        while served.ask(&second).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(served.ask(&first).await.is_err(), "the old one is no longer served");
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_used_does_not_replace_one_that_can() {
        let (served, first) = Served::start().await;
        let files = Served::files(served.folder.path());
        fs::write(&files.certificate, "-----BEGIN NONSENSE-----").unwrap();
        for _ in 0..3 {
            assert_eq!(served.ask(&first).await.unwrap(), "hello");
        }
        let second = Served::renew(served.folder.path());
        while served.ask(&second).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_does_not_shake_hands_holds_up_nobody() {
        let (served, certificate) = Served::start().await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(tokio::net::TcpStream::connect(served.address).await.unwrap());
        }
        assert_eq!(served.ask(&certificate).await.unwrap(), "hello");
    }

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = Served::files(folder.path());
        assert!(matches!(files.load(), Err(TlsError::Certificate { .. })));
        fs::write(&files.certificate, "").unwrap();
        assert!(matches!(files.load(), Err(TlsError::Empty(_))));
        Served::renew(folder.path());
        assert!(files.load().is_ok());
        let key = fs::read(&files.key).unwrap();
        fs::write(&files.key, "none").unwrap();
        assert!(matches!(files.load(), Err(TlsError::Key { .. })));
        Served::renew(folder.path());
        fs::write(&files.key, key).unwrap();
        assert!(matches!(files.load(), Err(TlsError::Pair { .. })), "another certificate's key");
    }
}
