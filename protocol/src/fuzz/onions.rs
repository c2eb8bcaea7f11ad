use std::sync::LazyLock;

use bitcoin::secp256k1::{PublicKey, Scalar, ecdh::SharedSecret};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use lightning::blinded_path::message::NextMessageHop;
use lightning::ln::msgs::OnionMessage;
use lightning::onion_message::messenger::PeeledOnion;
use lightning::onion_message::packet::Packet;
use lightning::sign::{NodeSigner, Recipient};
use lightning::util::ser::{BigSize, LengthReadable, Readable, Writeable};

use super::bytes::Bytes;
use crate::path::blinding;
use crate::testing::{Node, public};

/// Ours in `encrypted_data_tlv`.
const PAYMENT_UNBLOCK: u64 = 65_551;
const PAYMENT_PENDING_FOR: u64 = 65_553;
/// Both are 32 bytes.
const FIELD_BYTES: u64 = 32;

/// Bytes of a small packet's hop data (BOLT 4).
const HOP_DATA_BYTES: usize = 1_300;

static LSP: LazyLock<Node> = LazyLock::new(|| Node::new(42));

/// A whole onion message as it comes over the wire.
pub fn onion_packet(data: &[u8]) {
    let mut reader = data;
    if let Ok(onion) = OnionMessage::read_from_fixed_length_buffer(&mut reader) {
        compare_with_ldk(&onion, &[]);
    }
}

/// A message whose MAC is right, so that what is inside is read: the first byte chooses whether the rest is the hop's
/// whole payload, or its `encrypted_data_tlv` before encryption, in a packet that goes on or ends here.
pub fn onion_hop(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte() % 3;
    let rest = bytes.rest();
    let (blinding_point, public_key) = (public(3), public(4));
    let path_secret = shared_secret(&blinding_point, None);
    let factor = blinding::blinded_node_factor(&path_secret).unwrap();
    let packet_secret = shared_secret(&public_key, Some(&factor));

    let mut hop_data = match kind {
        0 => rest.to_vec(),
        1 => payload(&path_secret, rest, [1; 32]),
        _ => payload(&path_secret, rest, [0; 32]),
    };
    if hop_data.len() < HOP_DATA_BYTES {
        hop_data.resize(HOP_DATA_BYTES, 0);
    }
    ChaCha20::new(&blinding::derive(b"rho", &packet_secret).into(), &[0; 12].into())
        .apply_keystream(&mut hop_data);
    let hmac = blinding::hmac(&blinding::derive(b"mu", &packet_secret), &hop_data);
    let onion_routing_packet = Packet { version: 0, public_key, hop_data, hmac };
    compare_with_ldk(&OnionMessage { blinding_point, onion_routing_packet }, rest);
}

/// `onionmsg_tlv` with nothing but the encrypted data, its length in front and the next hop's MAC behind.
fn payload(path_secret: &SharedSecret, plaintext: &[u8], next_hmac: [u8; 32]) -> Vec<u8> {
    let encrypted = blinding::encrypt(path_secret, plaintext).unwrap();
    let mut fields = BigSize(4).encode();
    BigSize(encrypted.len() as u64).write(&mut fields).unwrap();
    fields.extend(encrypted);
    let mut payload = BigSize(fields.len() as u64).encode();
    payload.extend(fields);
    payload.extend(next_hmac);
    payload
}

fn shared_secret(key: &PublicKey, tweak: Option<&Scalar>) -> SharedSecret {
    LSP.keys.ecdh(Recipient::Node, key, tweak).unwrap()
}

/// Whether one of our two fields is there with another length than it has.
fn has_malformed_field(mut tlvs: &[u8]) -> bool {
    while let (Ok(BigSize(kind)), Ok(BigSize(length))) = (BigSize::read(&mut tlvs), BigSize::read(&mut tlvs))
    {
        if [PAYMENT_UNBLOCK, PAYMENT_PENDING_FOR].contains(&kind) && length != FIELD_BYTES {
            return true;
        }
        let Some(rest) = usize::try_from(length).ok().and_then(|length| tlvs.get(length..)) else { break };
        tlvs = rest;
    }
    false
}

/// What LDK forwards has been read here, with the same next hop; and what is read here is what LDK forwards. A malformed field
/// of ours is the exception: LDK knows nothing of it, and here nothing is acted on.
fn compare_with_ldk(onion: &OnionMessage, tlvs: &[u8]) {
    let next = match LSP.peel(onion) {
        Ok(PeeledOnion::Forward(NextMessageHop::NodeId(node), _)) => Some((Some(node), None)),
        Ok(PeeledOnion::Forward(NextMessageHop::ShortChannelId(scid), _)) => Some((None, Some(scid))),
        _ => None,
    };
    let seen = LSP.observe(onion);
    if seen.is_err() && has_malformed_field(tlvs) {
        return;
    }
    let seen = seen.ok().flatten();
    assert_eq!(seen.as_ref().map(|fields| (fields.next_node, fields.next_scid)), next);
}
