//! The nodes of all worlds: their keys are the same in each.

use std::sync::{Arc, LazyLock};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::blinded_path::BlindedHop;
use lightning::blinded_path::message::BlindedMessagePath;
use lightning::util::message_signing;
use lsp_server::tokens::TokenKeys;
use node::ReplyTo;

/// Payers in a world, at most.
pub const PAYERS_MAX: usize = 4;
/// Payees in a world, at most.
pub const PAYEES_MAX: usize = 3;

/// The other LSP's number, behind those of the payers and the payees.
pub const PEER_LSP_NUMBER: usize = PAYERS_MAX + PAYEES_MAX;
/// Everybody who connects to the LSP, at most.
pub const PEERS_MAX: usize = PEER_LSP_NUMBER + 1;

/// A node.
pub struct Identity {
    secret: SecretKey,
    /// Its public key.
    pub id: PublicKey,
}

impl Identity {
    fn new(byte: u8) -> Self {
        let secret = SecretKey::from_slice(&[byte; 32])
            .unwrap_or_else(|_| unreachable!("a small number that is not 0"));
        Self { secret, id: secret.public_key(&Secp256k1::new()) }
    }

    /// What `NodeSigner::sign_message` gives.
    pub fn sign(&self, text: &[u8]) -> String {
        message_signing::sign(text, &self.secret)
    }
}

/// The LSP.
pub static LSP: LazyLock<Identity> = LazyLock::new(|| Identity::new(1));
/// The LSP of payees that are not this one's clients.
pub static PEER_LSP: LazyLock<Identity> =
    LazyLock::new(|| Identity::new((PAYERS_MAX + PAYEES_MAX) as u8 + 2));
static PHONES: LazyLock<Vec<Identity>> =
    LazyLock::new(|| (0..PAYERS_MAX + PAYEES_MAX).map(|index| Identity::new(index as u8 + 2)).collect());

/// What push tokens are sealed with.
pub fn token_keys() -> Arc<TokenKeys> {
    Arc::new(TokenKeys::new(&[9; 32], &[]))
}

/// A payer by number.
pub fn payer(index: usize) -> &'static Identity {
    &PHONES[index]
}

/// A payee by number.
pub fn payee(index: usize) -> &'static Identity {
    &PHONES[PAYERS_MAX + index]
}

/// Where answers go. Nothing is sent along it: the model hears what the driver answers.
pub fn reply_to() -> ReplyTo {
    static REPLY: LazyLock<Option<ReplyTo>> = LazyLock::new(|| {
        let hop = || BlindedHop { blinded_node_id: LSP.id, encrypted_payload: vec![0; 64] };
        let path = BlindedMessagePath::from_blinded_path(LSP.id, payer(0).id, vec![hop(), hop()]);
        ReplyTo::along(&path).ok()
    });
    REPLY.clone().unwrap_or_else(|| unreachable!("two hops make a path"))
}
