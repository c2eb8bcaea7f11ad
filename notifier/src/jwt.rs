//! JSON web tokens (RFC 7519), as far as one signs them: what Apple and Google know this server by.
//!
//! They are signed by ring, which TLS brings along. A crate for them would add a second cryptography library, and code
//! that reads tokens, which nothing here does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// Why a private key cannot sign. No text repeats the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// No PEM with a PKCS#8 key.
    #[error("it is no private key in PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`)")]
    NotPem,
    /// A key for another algorithm, or a broken one.
    #[error("it is no {0} key")]
    OtherKey(&'static str),
    /// ring did not sign: the system has no entropy.
    #[error("the system has no entropy to sign with")]
    Entropy,
}

/// A key that signs tokens.
pub(crate) enum SigningKey {
    /// ECDSA on P-256: the signature is r||s.
    Es256(Box<EcdsaKeyPair>),
    /// RSA, PKCS#1 1.5.
    Rs256(Box<RsaKeyPair>),
}

impl SigningKey {
    pub(crate) fn es256(pem: &[u8]) -> Result<Self, SigningKeyError> {
        let key = pkcs8(pem)?;
        EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            key.secret_pkcs8_der(),
            &SystemRandom::new(),
        )
        .map(|key| Self::Es256(Box::new(key)))
        .map_err(|_| SigningKeyError::OtherKey("P-256"))
    }

    pub(crate) fn rs256(pem: &[u8]) -> Result<Self, SigningKeyError> {
        let key = pkcs8(pem)?;
        RsaKeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map(|key| Self::Rs256(Box::new(key)))
            .map_err(|_| SigningKeyError::OtherKey("RSA"))
    }

    /// The token with these claims: three parts of base64url without padding.
    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> Result<String, SigningKeyError> {
        let algorithm = match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        };
        let header = json!({ "alg": algorithm, "kid": key_id, "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        // ring takes entropy from the system only. It blinds the signing; nothing that is decided depends on it.
        let random = SystemRandom::new();
        let signature = match self {
            Self::Es256(key) => {
                let signature = key.sign(&random, signed.as_bytes()).map_err(|_| SigningKeyError::Entropy)?;
                URL_SAFE_NO_PAD.encode(signature)
            }
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .map_err(|_| SigningKeyError::Entropy)?;
                URL_SAFE_NO_PAD.encode(signature)
            }
        };
        Ok(format!("{signed}.{signature}"))
    }
}

fn pkcs8(pem: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, SigningKeyError> {
    PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| SigningKeyError::NotPem)
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    use super::*;

    /// A fresh P-256 key in PEM, as Apple hands them out.
    pub(crate) fn p8() -> String {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let base64 = base64::engine::general_purpose::STANDARD.encode(key.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn a_token_has_three_parts_without_padding_and_verifies() {
        let key = SigningKey::es256(p8().as_bytes()).unwrap();
        let token = key.sign("KEY", &json!({ "iss": "TEAM", "iat": 7 })).unwrap();
        assert!(!token.contains(['=', '+', '/']), "{token}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), 64, "r||s");
        let SigningKey::Es256(pair) = &key else { panic!("not ES256") };
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(read(header), json!({ "alg": "ES256", "kid": "KEY", "typ": "JWT" }));
        assert_eq!(read(claims), json!({ "iss": "TEAM", "iat": 7 }));
    }

    #[test]
    fn what_is_no_key_is_said() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(SigningKey::es256(pem.as_bytes()).err(), Some(SigningKeyError::NotPem), "{pem}");
            assert_eq!(SigningKey::rs256(pem.as_bytes()).err(), Some(SigningKeyError::NotPem), "{pem}");
        }
        assert_eq!(SigningKey::rs256(p8().as_bytes()).err(), Some(SigningKeyError::OtherKey("RSA")));
        let short = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(SigningKey::es256(short.as_bytes()).err(), Some(SigningKeyError::OtherKey("P-256")));
    }
}
