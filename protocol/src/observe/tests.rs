use bitcoin::secp256k1::{Secp256k1, SecretKey};
use hex::{DisplayHex, FromHex};
use lightning::types::payment::PaymentHash;
use lightning::util::ser::LengthReadable;
use proptest::prelude::*;

use super::*;
use crate::path::{HopPlaintext, build_path, pending_path};
use crate::testing::{Node, read_vectors, secret};
use crate::wire::PaymentUnblock;

const PID: Pid = Pid([9; 32]);

fn message() -> PaymentUnblock {
    PaymentUnblock { payment_hash: PaymentHash([1; 32]) }
}

/// What a node with this key would answer.
fn ecdh(secret: SecretKey) -> impl Fn(&PublicKey, Option<&Scalar>) -> Result<SharedSecret, ()> {
    move |key, tweak| {
        let secret = match tweak {
            Some(tweak) => secret.mul_tweak(tweak).map_err(|_| ())?,
            None => secret,
        };
        Ok(SharedSecret::new(key, &secret))
    }
}

/// A message whose first hop is `lsp` with this plaintext.
fn onion(lsp: &Node, plaintext: Vec<u8>) -> OnionMessage {
    let [sender, last] = [11, 14].map(Node::new);
    let hops = [(lsp.id, HopPlaintext::from(plaintext)), (last.id, HopTlvs::last().plaintext())];
    sender.send(1, build_path(&secret(4), &hops).unwrap(), message(), None).1
}

#[test]
fn official_onion_message_vector() {
    let vector = read_vectors("bolt04-blinded-onion-message-onion-test");
    let hops = vector["decrypt"]["hops"].as_array().unwrap();
    for hop in hops {
        let raw = Vec::from_hex(hop["onion_message"].as_str().unwrap()).unwrap();
        // Type 513 comes first.
        let onion = OnionMessage::read_from_fixed_length_buffer(&mut &raw[2..]).unwrap();
        let key = SecretKey::from_slice(&Vec::from_hex(hop["privkey"].as_str().unwrap()).unwrap()).unwrap();
        let seen = read_hop_fields(&onion, ecdh(key));
        match hop.get("next_node_id") {
            Some(next) => {
                let seen = seen.unwrap().unwrap();
                assert_eq!(seen.next_node.unwrap().to_string(), next.as_str().unwrap());
                assert_eq!((seen.payment_unblock, seen.payment_pending_for), (None, None));
            }
            // Dave's hop has a path_id, which LDK does not take and which no forwarding hop has.
            None => assert_eq!(seen, Err(Unreadable)),
        }
        let other = key.public_key(&Secp256k1::new()).serialize();
        let wrong = SecretKey::from_slice(&other[1..]).unwrap();
        assert_eq!(read_hop_fields(&onion, ecdh(wrong)), Err(Unreadable), "nobody else can read it");
    }
}

#[test]
fn own_vectors() {
    let vectors = read_vectors("paths");
    let onions = vectors["onion_messages"].as_array().unwrap();
    assert_eq!(onions.len(), 2);
    for vector in onions {
        let bytes = |name: &str| Vec::from_hex(vector[name].as_str().unwrap()).unwrap();
        let onion = OnionMessage::read_from_fixed_length_buffer(&mut &bytes("onion_message")[..]).unwrap();
        let key = SecretKey::from_slice(&bytes("node_secret")).unwrap();
        let seen = read_hop_fields(&onion, ecdh(key)).unwrap().unwrap();
        let seen = serde_json::json!({
            "next_node": seen.next_node.unwrap().to_string(),
            "payment_unblock": seen.payment_unblock.map(|pid| pid.0.as_hex().to_string()),
            "payment_pending_for": seen.payment_pending_for.map(|hash| hash.to_string()),
        });
        assert_eq!(seen, vector["sees"], "{}", vector["name"]);
    }
}

#[test]
fn hops_by_channel_are_seen() {
    let lsp = Node::new(12);
    let tlvs = HopTlvs { next_scid: Some(42), payment_unblock: Some(PID), ..HopTlvs::default() };
    let seen = lsp.observe(&onion(&lsp, tlvs.plaintext().as_bytes().to_vec())).unwrap().unwrap();
    let expected = HopFields {
        payment_unblock: Some(PID),
        payment_pending_for: None,
        next_node: None,
        next_scid: Some(42),
    };
    assert_eq!(seen, expected);
    assert!(!format!("{seen:?}").contains("9, 9"));
}

#[test]
fn unknown_odd_fields_are_skipped_and_even_ones_refused() {
    let lsp = Node::new(12);
    let next = Node::new(14).id;
    let tlvs = HopTlvs::forward_to(next).with_payment_unblock(PID);
    let mut odd = tlvs.plaintext().as_bytes().to_vec();
    odd.extend([0xfe, 0x00, 0x01, 0x00, 0x13, 2, 0xaa, 0xbb]);
    assert_eq!(lsp.observe(&onion(&lsp, odd)).unwrap().unwrap().payment_unblock, Some(PID));
    let mut even = tlvs.plaintext().as_bytes().to_vec();
    even.extend([0xfe, 0x00, 0x01, 0x00, 0x14, 2, 0xaa, 0xbb]);
    let even = onion(&lsp, even);
    assert_eq!(lsp.observe(&even), Err(Unreadable));
    assert!(lsp.peel(&even).is_err(), "LDK drops it as well");
}

#[test]
fn a_pid_of_the_wrong_length_is_refused() {
    let lsp = Node::new(12);
    for length in [31, 33] {
        let mut plaintext = HopTlvs::forward_to(lsp.id).plaintext().as_bytes().to_vec();
        plaintext.extend([0xfe, 0x00, 0x01, 0x00, 0x0f, length]);
        plaintext.extend(vec![9; usize::from(length)]);
        assert_eq!(lsp.observe(&onion(&lsp, plaintext)), Err(Unreadable));
    }
}

#[test]
fn a_pid_in_the_last_hop_releases_nothing() {
    let [sender, lsp] = [11, 12].map(Node::new);
    let hop = (lsp.id, HopTlvs::last().with_payment_unblock(PID).plaintext());
    let (_, onion) = sender.send(1, build_path(&secret(4), &[hop]).unwrap(), message(), None);
    assert_eq!(lsp.observe(&onion), Ok(None));
}

#[test]
fn a_refusing_signer_is_an_error() {
    let lsp = Node::new(12);
    let onion = onion(&lsp, HopTlvs::forward_to(lsp.id).plaintext().as_bytes().to_vec());
    assert_eq!(read_hop_fields(&onion, |_, _| Err(())), Err(Unreadable));
}

/// Random bytes, and a good hop with one byte changed.
fn arb_plaintext() -> impl Strategy<Value = Vec<u8>> {
    let good =
        HopTlvs::forward_to(Node::new(14).id).with_payment_unblock(PID).plaintext().as_bytes().to_vec();
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, with)| {
            let mut changed = good.clone();
            let at = at.index(changed.len());
            changed[at] = with;
            changed
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_damaged_message_reaches_nobody(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let [payer, lsp, payee] = [11, 12, 14].map(Node::new);
        let path = pending_path(&secret(4), lsp.id, None, payee.id, PID.hash()).unwrap();
        let (_, mut onion) = payer.send(1, path, message(), None);
        let at = at.index(onion.onion_routing_packet.hop_data.len());
        onion.onion_routing_packet.hop_data[at] ^= flip;
        prop_assert_eq!(lsp.observe(&onion), Err(Unreadable));
        prop_assert!(lsp.peel(&onion).is_err());
    }

    #[test]
    fn nothing_is_read_from_a_hop_that_ldk_drops(plaintext in arb_plaintext()) {
        let lsp = Node::new(12);
        let onion = onion(&lsp, plaintext);
        let seen = lsp.observe(&onion);
        if lsp.peel(&onion).is_err() {
            prop_assert!(!matches!(seen, Ok(Some(_))), "a release from a message that LDK drops");
        }
    }

    #[test]
    fn any_hop_data_is_read_without_panic(hop_data in proptest::collection::vec(any::<u8>(), 0..1400)) {
        let _ = payload(&hop_data);
        let lsp = Node::new(12);
        let mut onion = onion(&lsp, HopTlvs::forward_to(lsp.id).plaintext().as_bytes().to_vec());
        onion.onion_routing_packet.hop_data = hop_data;
        prop_assert_eq!(lsp.observe(&onion), Err(Unreadable));
    }
}
