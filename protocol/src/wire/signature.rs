//! What a payer signs, and how its LSP checks it.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;

pub(super) use crate::signature::SIGNATURE_CHARS;

/// Why a message could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// None, more than [`PAYMENT_HASHES_MAX`](super::PAYMENT_HASHES_MAX), or the same one twice.
    #[error("a payment_block takes 1 to 16 different payment hashes")]
    PaymentHashes,
    /// The signer refused, or answered with something that is no signature.
    #[error("the signer gave no signature")]
    Signer,
}

/// The signature is not by the node that the message names, or not for this LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureError;

/// The text to sign: what message it is, for which LSP, over which body (the fields before the signature, encoded).
///
/// The words in front keep a user who is talked into "signing a message" from signing a cancellation.
pub(super) fn signing_text(message: &str, lsp: &PublicKey, unsigned_body: &[u8]) -> String {
    let body = sha256::Hash::hash(unsigned_body);
    format!("LightningRod: DO NOT SIGN THIS MESSAGE MANUALLY: {message} for {lsp}: {body}")
}

pub(super) fn sign(text: &str, sign: impl FnOnce(&[u8]) -> Result<String, ()>) -> Result<String, SignError> {
    let signature = sign(text.as_bytes()).map_err(|()| SignError::Signer)?;
    check_form(&signature).map_err(|_| SignError::Signer)?;
    Ok(signature)
}

pub(super) fn verify(text: &str, signature: &str, payer: &PublicKey) -> Result<(), SignatureError> {
    match check_form(signature) {
        Ok(()) if crate::signature::verify(text.as_bytes(), signature, payer) => Ok(()),
        _ => Err(SignatureError),
    }
}

/// Bounds what is decoded and stored; whether it is a signature is for [`verify`] to say.
pub(super) fn check_form(signature: &str) -> Result<(), DecodeError> {
    let zbase32 = signature.len() == SIGNATURE_CHARS && signature.bytes().all(|c| c.is_ascii_alphanumeric());
    if zbase32 { Ok(()) } else { Err(DecodeError::InvalidValue) }
}
