//! Blinded paths (BOLT 4, "Route Blinding") with LightningRod's fields in the hop of the payer's LSP.
//!
//! Three paths, one for each way that a message of the flow takes:
//!
//! | path | from | to | field, and whose hop carries it |
//! |---|---|---|---|
//! | [`pending_path`] | payer | payee | `payment_pending_for`, the payer's LSP |
//! | [`payer_reply_path`] | payee | payer | `payment_unblock`, the payer's LSP; built by the payer |
//! | [`payee_unblock_path`] | payee | payer | `payment_unblock`, the payer's LSP; built by the payee |
//!
//! The session key of a path must be fresh from a secure random source, and used for that path only: whoever knows it can
//! open every hop.

pub(crate) mod blinding;
mod hop;
mod reply;
#[cfg(test)]
mod tests;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, ecdh::SharedSecret};
use lightning::blinded_path::BlindedHop;
use lightning::blinded_path::message::BlindedMessagePath;

pub use hop::{HOP_BYTES, HopPlaintext, HopTlvs};
pub use reply::payer_reply_path;

use crate::ids::{Pid, PidHash};

/// Why a path could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A path needs at least one hop.
    #[error("the path has no hop")]
    Empty,
    /// A hash was no valid scalar on the curve. Happens to one key in 2^128: take another session key.
    #[error("the session key does not suit this path")]
    SessionKey,
}

/// A blinded path through `hops`, as BOLT 4 builds it: each node gets the plaintext beside it, and no other.
///
/// # Errors
/// [`PathError::Empty`] without a hop; [`PathError::SessionKey`] practically never.
pub fn build_path(
    session_key: &SecretKey,
    hops: &[(PublicKey, HopPlaintext)],
) -> Result<BlindedMessagePath, PathError> {
    let (introduction_node, _) = hops.first().ok_or(PathError::Empty)?;
    let secp = Secp256k1::new();
    let blinding_point = session_key.public_key(&secp);
    let mut path_key = *session_key;
    let mut blinded_hops = Vec::with_capacity(hops.len());
    for (node, plaintext) in hops {
        let shared_secret = SharedSecret::new(node, &path_key);
        let blinded_node_id = blinding::blinded_node_factor(&shared_secret)
            .and_then(|factor| node.mul_tweak(&secp, &factor).ok())
            .ok_or(PathError::SessionKey)?;
        let encrypted_payload =
            blinding::encrypt(&shared_secret, plaintext.as_bytes()).ok_or(PathError::SessionKey)?;
        blinded_hops.push(BlindedHop { blinded_node_id, encrypted_payload });
        path_key = blinding::next_path_key_factor(&path_key.public_key(&secp), &shared_secret)
            .and_then(|factor| path_key.mul_tweak(&factor).ok())
            .ok_or(PathError::SessionKey)?;
    }
    Ok(BlindedMessagePath::from_blinded_path(*introduction_node, blinding_point, blinded_hops))
}

/// The path of `payment_pending`: through the payer's LSP, which takes the message into its care for the hold `pid_hash`,
/// and the payee's LSP if the payee has one, to the payee.
///
/// # Errors
/// See [`build_path`].
pub fn pending_path(
    session_key: &SecretKey,
    payer_lsp: PublicKey,
    payee_lsp: Option<PublicKey>,
    payee: PublicKey,
    pid_hash: PidHash,
) -> Result<BlindedMessagePath, PathError> {
    let payee_lsp = payee_lsp.filter(|lsp| *lsp != payer_lsp && *lsp != payee);
    let mut hops = Vec::with_capacity(3);
    let second = payee_lsp.unwrap_or(payee);
    hops.push((payer_lsp, HopTlvs::forward_to(second).with_payment_pending_for(pid_hash).plaintext()));
    if let Some(payee_lsp) = payee_lsp {
        hops.push((payee_lsp, HopTlvs::forward_to(payee).plaintext()));
    }
    hops.push((payee, HopTlvs::last().plaintext()));
    build_path(session_key, &hops)
}

/// The path of the payee's answer, built by the payee from the node ids in `payment_pending`: through the payee's own LSP if
/// it has one, and the payer's LSP, which reads the pid in its hop, to the payer.
///
/// # Errors
/// See [`build_path`].
pub fn payee_unblock_path(
    session_key: &SecretKey,
    payee_lsp: Option<PublicKey>,
    payer_lsp: PublicKey,
    payer: PublicKey,
    pid: Pid,
) -> Result<BlindedMessagePath, PathError> {
    let mut hops = Vec::with_capacity(3);
    if let Some(payee_lsp) = payee_lsp.filter(|lsp| *lsp != payer_lsp) {
        hops.push((payee_lsp, HopTlvs::forward_to(payer_lsp).plaintext()));
    }
    hops.push((payer_lsp, HopTlvs::forward_to(payer).with_payment_unblock(pid).plaintext()));
    hops.push((payer, HopTlvs::last().plaintext()));
    build_path(session_key, &hops)
}
