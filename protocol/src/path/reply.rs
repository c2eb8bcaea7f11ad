//! The reply path that the payer hands to the payee.

use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey, ecdh::SharedSecret};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::sign::{EntropySource, ReceiveAuthKey};

use super::{HopTlvs, PathError, blinding};
use crate::ids::Pid;

/// The reply path of `payment_pending`: through the payer's LSP, which reads the pid in its hop, to the payer.
///
/// The last hop is LDK's own, so that what comes back along the path carries `context` (of
/// [`MessageContext::Custom`]), authenticated as the payer's. `receive_auth_key` is the payer's
/// [`get_receive_auth_key`](lightning::sign::NodeSigner::get_receive_auth_key). The payee learns neither the payer's node id
/// nor its channels.
///
/// # Errors
/// [`PathError::SessionKey`] practically never.
pub fn payer_reply_path(
    session_key: &SecretKey,
    payer_lsp: PublicKey,
    payer: PublicKey,
    receive_auth_key: ReceiveAuthKey,
    context: Vec<u8>,
    pid: Pid,
    secp: &Secp256k1<All>,
) -> Result<BlindedMessagePath, PathError> {
    let path = BlindedMessagePath::new(
        &[MessageForwardNode { node_id: payer_lsp, short_channel_id: None }],
        payer,
        receive_auth_key,
        MessageContext::Custom(context),
        false,
        SessionKey(session_key),
        secp,
    );
    let shared_secret = SharedSecret::new(&payer_lsp, session_key);
    let plaintext = HopTlvs::forward_to(payer).with_payment_unblock(pid).plaintext();
    let mut hops = path.blinded_hops().to_vec();
    let lsp_hop = hops.first_mut().ok_or(PathError::Empty)?;
    lsp_hop.encrypted_payload =
        blinding::encrypt(&shared_secret, plaintext.as_bytes()).ok_or(PathError::SessionKey)?;
    Ok(BlindedMessagePath::from_blinded_path(payer_lsp, path.blinding_point(), hops))
}

/// Gives LDK the session key where it asks for randomness, which is how it becomes known here.
struct SessionKey<'a>(&'a SecretKey);

impl EntropySource for SessionKey<'_> {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }
}
