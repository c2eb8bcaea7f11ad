//! The derivations of BOLT 4 that a path and a packet share.

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::{PublicKey, Scalar, ecdh::SharedSecret};
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};

/// BOLT 4, "Key Generation": `key_type` is `rho`, `mu` or, for the factor of a blinded node id, `blinded_node_id`.
pub(crate) fn derive(key_type: &[u8], shared_secret: &SharedSecret) -> [u8; 32] {
    hmac(key_type, shared_secret.as_ref())
}

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    engine.input(data);
    Hmac::from_engine(engine).to_byte_array()
}

/// What a node id, or a node's key, is multiplied with to give the blinded one.
pub(crate) fn blinded_node_factor(shared_secret: &SharedSecret) -> Option<Scalar> {
    Scalar::from_be_bytes(derive(b"blinded_node_id", shared_secret)).ok()
}

/// What a path key is multiplied with to give the next hop's.
pub(crate) fn next_path_key_factor(path_key: &PublicKey, shared_secret: &SharedSecret) -> Option<Scalar> {
    let mut engine = sha256::Hash::engine();
    engine.input(&path_key.serialize());
    engine.input(shared_secret.as_ref());
    Scalar::from_be_bytes(sha256::Hash::from_engine(engine).to_byte_array()).ok()
}

/// `encrypted_recipient_data`. `None` only for a plaintext of more than 256 GiB.
pub(crate) fn encrypt(shared_secret: &SharedSecret, plaintext: &[u8]) -> Option<Vec<u8>> {
    cipher(shared_secret).encrypt(&Nonce::default(), plaintext).ok()
}

/// `encrypted_data_tlv`, or `None` when it was not encrypted with this secret.
pub(crate) fn decrypt(shared_secret: &SharedSecret, encrypted: &[u8]) -> Option<Vec<u8>> {
    cipher(shared_secret).decrypt(&Nonce::default(), encrypted).ok()
}

/// With the all-zero nonce: BOLT 4 uses each key once.
fn cipher(shared_secret: &SharedSecret) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(derive(b"rho", shared_secret)))
}
