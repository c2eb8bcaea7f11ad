//! A certificate authority of the tests' own: for the fakes, and for the HTTPS of an LSP.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::failure::Failure;

/// A certificate for `localhost`, and its key.
struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

/// An authority that nobody trusts who was not told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When there is no entropy.
    pub fn new() -> Result<Self, Failure> {
        let failure = |error: rcgen::Error| Failure::wrong(format!("no authority: {error}"));
        let key = KeyPair::generate().map_err(failure)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(failure)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).map_err(failure)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate, for those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn issue(&self) -> Result<Issued, Failure> {
        let failure = |error: rcgen::Error| Failure::wrong(format!("no certificate: {error}"));
        let key = KeyPair::generate().map_err(failure)?;
        let params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(failure)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failure)?;
        Ok(Issued { certificate, key })
    }

    /// Writes a new certificate for `localhost` and its key into two files, as an operator has them renewed.
    ///
    /// # Errors
    ///
    /// When there is no entropy, or a file cannot be written.
    pub fn write_certificate(&self, certificate: &Path, key: &Path) -> Result<(), Failure> {
        let issued = self.issue()?;
        for (path, text) in [(key, issued.key.serialize_pem()), (certificate, issued.certificate.pem())] {
            std::fs::write(path, text).map_err(|source| Failure::File { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    /// TLS for a server on this machine that speaks HTTP/2 and nothing else.
    ///
    /// # Errors
    ///
    /// When there is no entropy.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Failure> {
        let Issued { certificate, key } = self.issue()?;
        let tls = |error: rustls::Error| Failure::wrong(format!("no TLS: {error}"));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}
