//! JSON web tokens, read with no mercy.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

use super::lock;

/// Who may sign.
pub(super) struct Signer {
    algorithm: &'static str,
    verification: &'static dyn VerificationAlgorithm,
    signature_bytes: usize,
    key_id: String,
    public: Vec<u8>,
    /// The token that was found right the last time, and its claims: most callers come with the same again.
    verified: Mutex<Option<(String, Arc<Value>)>>,
}

impl Signer {
    /// ECDSA on P-256; `public` is an uncompressed point.
    pub(super) fn es256(key_id: &str, public: &[u8]) -> Self {
        Self {
            algorithm: "ES256",
            verification: &ECDSA_P256_SHA256_FIXED,
            signature_bytes: 64,
            key_id: key_id.to_owned(),
            public: public.to_vec(),
            verified: Mutex::new(None),
        }
    }

    /// RSA with 2048 bits; `public` is an `RSAPublicKey`.
    pub(super) fn rs256(key_id: &str, public: &[u8]) -> Self {
        Self {
            algorithm: "RS256",
            verification: &RSA_PKCS1_2048_8192_SHA256,
            signature_bytes: 256,
            key_id: key_id.to_owned(),
            public: public.to_vec(),
            verified: Mutex::new(None),
        }
    }

    /// The claims of a token that this key signed; what is wrong with it otherwise.
    pub(super) fn verify(&self, token: &str) -> Result<Arc<Value>, String> {
        if let Some((_, claims)) = lock(&self.verified).as_ref().filter(|(known, _)| known == token) {
            return Ok(claims.clone());
        }
        let claims = Arc::new(self.look_at(token)?);
        *lock(&self.verified) = Some((token.to_owned(), claims.clone()));
        Ok(claims)
    }

    fn look_at(&self, token: &str) -> Result<Value, String> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Err("not three parts".to_owned()) };
        // Refuses padding, and the two characters of the other alphabet.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
        let read =
            |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|error| error.to_string());
        let header = read(header)?;
        if header["alg"] != self.algorithm || header["kid"] != self.key_id.as_str() {
            return Err(format!("the header is {header}"));
        }
        let signature = decode(signature)?;
        if signature.len() != self.signature_bytes {
            return Err(format!("the signature has {} bytes", signature.len()));
        }
        let signed = &token[..token.len() - parts[2].len() - 1];
        UnparsedPublicKey::new(self.verification, &self.public)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "the signature is not by this key".to_owned())?;
        read(claims)
    }
}
