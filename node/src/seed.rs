//! The one secret that everything is derived from.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use zeroize::Zeroize;

/// 32 bytes of entropy: LDK's keys, the on-chain wallet's and our own derivations. Never printed.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps bytes read from the seed file.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh seed from the system's entropy.
    ///
    /// # Errors
    /// When the system has no entropy to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for writing the seed file and for LDK's `KeysManager`.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256 of `data` under the seed, separated by `label`: secrets that a reinstalled wallet finds again.
    pub fn derive(&self, label: &str, data: &[&[u8]]) -> [u8; 32] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.0);
        engine.input(&(label.len() as u64).to_be_bytes());
        engine.input(label.as_bytes());
        for part in data {
            engine.input(&(part.len() as u64).to_be_bytes());
            engine.input(part);
        }
        Hmac::from_engine(engine).to_byte_array()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
