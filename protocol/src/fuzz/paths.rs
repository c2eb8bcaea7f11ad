use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning::blinded_path::message::BlindedMessagePath;
use lightning::sign::NodeSigner;
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{Readable, Writeable};

use super::bytes::Bytes;
use crate::ids::Pid;
use crate::path::{
    HOP_BYTES, HopPlaintext, HopTlvs, build_path, payee_unblock_path, payer_reply_path, pending_path,
};
use crate::testing::Node;
use crate::wire::{Message, PaymentUnblock};

/// `encrypted_data_tlv`: what is read is written to bytes that read the same, of a length that tells nothing.
pub fn hop_fields(data: &[u8]) {
    let Ok(fields) = HopTlvs::read(data) else { return };
    let written = fields.plaintext();
    assert_eq!(written.as_bytes().len() % HOP_BYTES, 0);
    assert_eq!(HopTlvs::read(written.as_bytes()), Ok(fields));
}

/// Paths from any key, pid, context and plaintext: what goes along them arrives, and the payer's LSP reads its field.
/// The rest of the input is a reply path as it comes over the wire.
pub fn paths(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let way = bytes.byte() % 4;
    let Ok(session_key) = SecretKey::from_slice(&bytes.array()) else { return };
    let pid = Pid(bytes.array());
    let [payer, payer_lsp, payee_lsp, payee] = [11, 12, 13, 14].map(Node::new);
    let answer = Message::from(PaymentUnblock { payment_hash: PaymentHash([1; 32]) });
    let rest = bytes.rest();
    match way {
        0 => {
            let secp = Secp256k1::new();
            let auth_key = payer.keys.get_receive_auth_key();
            let context = rest.to_vec();
            let path = payer_reply_path(&session_key, payer_lsp.id, payer.id, auth_key, context, pid, &secp)
                .unwrap();
            let (first, onion) = payee.send(5, path, answer.clone(), None);
            assert_eq!(first, payer_lsp.id);
            let seen = payer_lsp.observe(&onion).unwrap().unwrap();
            assert_eq!((seen.payment_unblock, seen.next_node), (Some(pid), Some(payer.id)));
            let (next, onion) = payer_lsp.forward(&onion);
            assert_eq!(next, payer.id);
            assert_eq!(payer.receive(&onion), (answer, Some(rest.to_vec()), None));
        }
        1 => {
            let path =
                payee_unblock_path(&session_key, Some(payee_lsp.id), payer_lsp.id, payer.id, pid).unwrap();
            let (_, onion) = payee.send(5, path, answer.clone(), None);
            let (_, onion) = payee_lsp.forward(&onion);
            assert_eq!(payer_lsp.observe(&onion).unwrap().unwrap().payment_unblock, Some(pid));
            let (_, onion) = payer_lsp.forward(&onion);
            assert_eq!(payer.receive(&onion).0, answer);
        }
        2 => {
            let path =
                pending_path(&session_key, payer_lsp.id, Some(payee_lsp.id), payee.id, pid.hash()).unwrap();
            let reply = BlindedMessagePath::read(&mut &rest[..]).ok();
            // A reply path that is too long for a packet cannot be sent.
            if reply.as_ref().is_some_and(|reply| reply.encode().len() > 20_000) {
                return;
            }
            let (_, onion) = payer.send(5, path, answer.clone(), reply.clone());
            assert_eq!(payer_lsp.observe(&onion).unwrap().unwrap().payment_pending_for, Some(pid.hash()));
            let (_, onion) = payer_lsp.forward(&onion);
            let (_, onion) = payee_lsp.forward(&onion);
            assert_eq!(payee.receive(&onion), (answer, None, reply));
        }
        _ => {
            let hops =
                [(payer_lsp.id, HopPlaintext::from(rest.to_vec())), (payer.id, HopTlvs::last().plaintext())];
            let path = build_path(&session_key, &hops).unwrap();
            assert_eq!(path.blinded_hops().len(), hops.len());
        }
    }
}
