//! Push tokens are sealed where they are stored: whoever gets a copy of the database can push to nobody's phone.
//!
//! The key is in a file of its own, outside the database and its backups. A token is sealed with XChaCha20-Poly1305, its
//! device's id as associated data, under a nonce that comes from both (a synthetic nonce: no entropy is needed, and the same
//! token of the same device seals to the same bytes). Whether a node has registered a token before is found by a keyed hash.

mod adopt;
mod file;
#[cfg(test)]
mod tests;

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hex::DisplayHex;
use notifier::{GatewayKind, PushTarget};
use zeroize::Zeroizing;

use crate::store::devices::{Device, DeviceId, SealedTarget};

pub use adopt::{Adopted, adopt};
pub use file::{TokenKeyError, create, load, open};

const NONCE_BYTES: usize = 24;

/// Names a key without telling it: a hash of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKeyId(pub [u8; 8]);

impl fmt::Display for TokenKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for TokenKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeyId({self})")
    }
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedToken {
    /// What it is sealed with.
    pub key_id: TokenKeyId,
    /// What it is found by: the same for the same owner, platform and token.
    pub index: [u8; 32],
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A token together with what is to be pushed to it, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedContent {
    /// What it is sealed with.
    pub key_id: TokenKeyId,
    /// The same for the same platform and token.
    pub token_index: [u8; 32],
    /// The same for the same platform, token and content.
    pub content_index: [u8; 32],
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A token cannot be opened: its row was changed by another hand, or sealed with a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device's token cannot be opened: its row was changed, or is of another key")]
pub struct OpenError;

/// The keys that tokens are sealed with: the current one, and earlier ones as long as rows may need them. Wiped from memory
/// when dropped.
pub struct TokenKeys {
    current: TokenKey,
    earlier: Vec<TokenKey>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKeys").field(&self.current.id).finish()
    }
}

/// One key, and what comes from it.
struct TokenKey {
    id: TokenKeyId,
    seal: XChaCha20Poly1305,
    nonce: Zeroizing<[u8; 32]>,
    index: Zeroizing<[u8; 32]>,
}

impl TokenKeys {
    /// Keys from their bytes: the one to seal with, and those that rows may still be sealed with.
    pub fn new(current: &[u8; 32], earlier: &[Zeroizing<[u8; 32]>]) -> Self {
        Self {
            current: TokenKey::new(current),
            earlier: earlier.iter().map(|key| TokenKey::new(key)).collect(),
        }
    }

    /// The key that tokens are sealed with.
    pub fn current_id(&self) -> TokenKeyId {
        self.current.id
    }

    /// Whether tokens that are sealed with a key can be opened.
    pub fn has(&self, key_id: TokenKeyId) -> bool {
        self.key(key_id).is_some()
    }

    /// How a target is stored.
    pub fn seal_target(&self, device_id: DeviceId, node_id: &PublicKey, target: &PushTarget) -> SealedTarget {
        SealedTarget {
            kind: target.kind,
            token: self.seal(device_id, node_id, target.kind, &target.token),
            topic: target.topic.clone(),
            environment: target.environment,
            seal_key: target.seal_key,
        }
    }

    /// Where a device is reached.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_target(&self, device: &Device) -> Result<PushTarget, OpenError> {
        let SealedTarget { kind, token, topic, environment, seal_key } = &device.target;
        Ok(PushTarget {
            kind: *kind,
            token: self.open(device.device_id, token)?,
            topic: topic.clone(),
            environment: *environment,
            seal_key: *seal_key,
            registered_at: device.registered_at,
        })
    }

    /// How a target's token and a content are stored, under a name of their own.
    pub fn seal_content(&self, id: [u8; 16], target: &PushTarget, content: &str) -> SealedContent {
        let key = &self.current;
        let (kind, token) = (target.kind.as_str().as_bytes(), target.token.as_bytes());
        SealedContent {
            key_id: key.id,
            token_index: hmac(&key.index, &[b"content", kind, token]),
            content_index: hmac(&key.index, &[b"content", kind, token, content.as_bytes()]),
            // No token has a line break.
            bytes: key.seal(&id, &format!("{}\n{content}", target.token)),
        }
    }

    /// The token and the content.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_content(&self, id: [u8; 16], sealed: &SealedContent) -> Result<(String, String), OpenError> {
        let text = self.key(sealed.key_id).ok_or(OpenError)?.open(&id, &sealed.bytes)?;
        let (token, content) = text.split_once('\n').ok_or(OpenError)?;
        Ok((token.to_owned(), content.to_owned()))
    }

    fn seal(&self, device_id: DeviceId, node_id: &PublicKey, kind: GatewayKind, token: &str) -> SealedToken {
        let key = &self.current;
        let bytes = key.seal(&device_id.0, token);
        let index = hmac(&key.index, &[&node_id.serialize(), kind.as_str().as_bytes(), token.as_bytes()]);
        SealedToken { key_id: key.id, index, bytes }
    }

    fn open(&self, device_id: DeviceId, token: &SealedToken) -> Result<String, OpenError> {
        self.key(token.key_id).ok_or(OpenError)?.open(&device_id.0, &token.bytes)
    }

    fn key(&self, key_id: TokenKeyId) -> Option<&TokenKey> {
        std::iter::once(&self.current).chain(&self.earlier).find(|key| key.id == key_id)
    }
}

impl TokenKey {
    fn new(secret: &[u8; 32]) -> Self {
        let derive = |label: &str| Zeroizing::new(hmac(secret, &[label.as_bytes()]));
        let mut id = [0; 8];
        id.copy_from_slice(&derive("push token key id")[..8]);
        let seal = derive("push token seal");
        Self {
            id: TokenKeyId(id),
            seal: XChaCha20Poly1305::new(Key::from_slice(&*seal)),
            nonce: derive("push token nonce"),
            index: derive("push token index"),
        }
    }

    /// Under a nonce that comes from both.
    fn seal(&self, id: &[u8; 16], text: &str) -> Vec<u8> {
        let nonce = hmac(&self.nonce, &[id, text.as_bytes()]);
        let nonce = XNonce::from_slice(&nonce[..NONCE_BYTES]);
        let mut bytes = nonce.to_vec();
        #[expect(clippy::expect_used, reason = "the cipher takes up to 256 GiB, and requests have 16 KiB")]
        bytes.extend(
            self.seal.encrypt(nonce, Payload { msg: text.as_bytes(), aad: id }).expect("it is short"),
        );
        bytes
    }

    fn open(&self, id: &[u8; 16], bytes: &[u8]) -> Result<String, OpenError> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(OpenError)?;
        let payload = Payload { msg: sealed, aad: id };
        let opened = self.seal.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| OpenError)?;
        String::from_utf8(opened).map_err(|_| OpenError)
    }
}

/// HMAC-SHA256 of parts, each with its length before it.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(&(part.len() as u64).to_be_bytes());
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}
