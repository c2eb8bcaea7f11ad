//! What a push says on its way through a provider: sealed to a key of the phone's, if it registered one.
//!
//! HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, with [`SEAL_INFO`] as `info`
//! and nothing as additional data. What is sealed is the encapsulated key (32 bytes) and then the ciphertext. Anybody may
//! seal to the key: an open push proves nothing about its sender.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use hex::{DisplayHex, FromHex};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

/// HPKE's `info`.
pub const SEAL_INFO: &[u8] = b"lightning-rod push 1";

/// By how many bytes what is sealed is longer than what was: an X25519 key and a Poly1305 tag.
pub const SEAL_OVERHEAD_BYTES: usize = 32 + 16;

/// A phone's X25519 public key, that pushes to it are sealed to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

/// A phone's X25519 private key. Never printed.
pub struct OpenKey(<X25519HkdfSha256 as Kem>::PrivateKey);

/// The key is none that can be sealed to: X25519 with it gives zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key that pushes are to be sealed to is no usable X25519 public key")]
pub struct SealError;

/// What came was not sealed to this key, or was changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the push was not sealed to this phone's key, or was changed on its way")]
pub struct OpenError;

impl SealKey {
    /// Seals `body`; `fresh` are 32 random bytes, used once.
    ///
    /// # Errors
    /// [`SealError`], for the key only: what can be sealed to once always can.
    pub fn seal(&self, body: &[u8], fresh: [u8; 32]) -> Result<Vec<u8>, SealError> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| SealError)?;
        let (encapped, ciphertext) = hpke::single_shot_seal_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base, &key, SEAL_INFO, body, &[], &mut Expanded::new(fresh)
        )
        .map_err(|_| SealError)?;
        let mut sealed = encapped.to_bytes().to_vec();
        sealed.extend(ciphertext);
        Ok(sealed)
    }
}

impl OpenKey {
    /// The key that these 32 secret bytes give (RFC 9180's `DeriveKeyPair`).
    pub fn derive(secret: &[u8; 32]) -> Self {
        Self(X25519HkdfSha256::derive_keypair(secret).0)
    }

    /// What others seal to.
    pub fn seal_key(&self) -> SealKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&X25519HkdfSha256::sk_to_pk(&self.0).to_bytes());
        SealKey(bytes)
    }

    /// Opens what [`SealKey::seal`] sealed.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (encapped, ciphertext) = sealed.split_at_checked(32).ok_or(OpenError)?;
        let encapped = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapped).map_err(|_| OpenError)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapped,
            SEAL_INFO,
            ciphertext,
            &[],
        )
        .map_err(|_| OpenError)
    }
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenKey(..)")
    }
}

impl fmt::Display for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({self})")
    }
}

impl FromStr for SealKey {
    type Err = hex::HexToArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <[u8; 32]>::from_hex(text).map(Self)
    }
}

/// HPKE asks a generator for its one ephemeral key. This one stretches bytes that were passed in: SHA256 of them and a
/// counter.
struct Expanded {
    seed: [u8; 32],
    blocks: u64,
}

impl Expanded {
    fn new(seed: [u8; 32]) -> Self {
        Self { seed, blocks: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.seed);
        engine.input(&self.blocks.to_be_bytes());
        self.blocks += 1;
        sha256::Hash::from_engine(engine).to_byte_array()
    }
}

impl TryRng for Expanded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(32) {
            chunk.copy_from_slice(&self.block()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Expanded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_one_key() {
        let key = OpenKey::derive(&[1; 32]);
        let sealed = key.seal_key().seal(b"wake up", [2; 32]).unwrap();
        assert_eq!(sealed.len(), b"wake up".len() + SEAL_OVERHEAD_BYTES);
        assert_eq!(key.open(&sealed).unwrap(), b"wake up");
        assert_eq!(OpenKey::derive(&[3; 32]).open(&sealed), Err(OpenError));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(&changed), Err(OpenError), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..length]), Err(OpenError), "{length} bytes");
        }
    }

    #[test]
    fn fresh_bytes_make_another_ciphertext() {
        let key = OpenKey::derive(&[1; 32]).seal_key();
        assert_eq!(key.seal(b"wake up", [2; 32]), key.seal(b"wake up", [2; 32]));
        assert_ne!(key.seal(b"wake up", [2; 32]), key.seal(b"wake up", [3; 32]));
        assert_ne!(Expanded::new([2; 32]).block(), [2; 32]);
    }

    #[test]
    fn a_key_without_secret_is_refused() {
        assert_eq!(SealKey([0; 32]).seal(b"wake up", [2; 32]), Err(SealError));
    }

    #[test]
    fn keys_are_hex_and_secrets_are_not_shown() {
        let key = OpenKey::derive(&[1; 32]);
        let text = key.seal_key().to_string();
        assert_eq!(text.parse(), Ok(key.seal_key()));
        assert!("00".parse::<SealKey>().is_err());
        assert_eq!(format!("{key:?}"), "OpenKey(..)");
    }
}
