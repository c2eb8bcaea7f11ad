use hex::{DisplayHex, FromHex};
use lightning::sign::{NodeSigner, ReceiveAuthKey};
use lightning::types::payment::PaymentHash;
use lightning::util::ser::Writeable;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Fixed, Node, check_vectors, public, read_vectors, secret};
use crate::units::{BlockHeight, Msat};
use crate::wire::{Message, PayeeRefusal, PaymentPending, PaymentRefused, PaymentUnblock};

const PID: Pid = Pid([9; 32]);
const CONTEXT: &[u8] = b"which payment this is";

fn pending(payer_and_lsp: Option<(PublicKey, PublicKey)>) -> PaymentPending {
    PaymentPending {
        payment_hash: PaymentHash([1; 32]),
        amount: Msat(21_000),
        pid: PID,
        deadline: BlockHeight(850_000),
        payer_and_lsp,
    }
}

fn unblock() -> PaymentUnblock {
    PaymentUnblock { payment_hash: PaymentHash([1; 32]) }
}

fn reply_path(payer: &Node, lsp: &Node) -> BlindedMessagePath {
    let auth = payer.keys.get_receive_auth_key();
    payer_reply_path(&secret(5), lsp.id, payer.id, auth, CONTEXT.to_vec(), PID, &Secp256k1::new()).unwrap()
}

/// The whole round trip of steps 4 to 7 of the flow, each layer peeled by LDK.
#[test]
fn pending_goes_out_and_unblock_comes_back() {
    let [payer, payer_lsp, payee_lsp, payee] = [11, 12, 13, 14].map(Node::new);
    let path = pending_path(&secret(4), payer_lsp.id, Some(payee_lsp.id), payee.id, PID.hash()).unwrap();
    let (first, onion) = payer.send(1, path, pending(None), Some(reply_path(&payer, &payer_lsp)));

    assert_eq!(first, payer_lsp.id);
    let seen = payer_lsp.observe(&onion).unwrap().unwrap();
    assert_eq!(seen.payment_pending_for, Some(PID.hash()));
    assert_eq!(seen.payment_unblock, None);
    assert_eq!(seen.next_node, Some(payee_lsp.id));
    let (next, onion) = payer_lsp.forward(&onion);
    assert_eq!(next, payee_lsp.id);
    let seen = payee_lsp.observe(&onion).unwrap().unwrap();
    assert_eq!((seen.payment_pending_for, seen.payment_unblock), (None, None));
    let (next, onion) = payee_lsp.forward(&onion);
    assert_eq!(next, payee.id);
    assert_eq!(payee.observe(&onion), Ok(None), "the last hop has nothing to forward");
    let (message, context, reply_path) = payee.receive(&onion);
    assert_eq!(message, Message::from(pending(None)));
    assert_eq!(context, None);

    let (first, onion) = payee.send(2, reply_path.unwrap(), unblock(), None);
    assert_eq!(first, payer_lsp.id);
    let seen = payer_lsp.observe(&onion).unwrap().unwrap();
    assert_eq!(seen.payment_unblock, Some(PID));
    assert_eq!(seen.payment_pending_for, None);
    let (next, onion) = payer_lsp.forward(&onion);
    assert_eq!(next, payer.id);
    assert_eq!(payer.observe(&onion), Ok(None), "LDK's own last hop is not read");
    let (message, context, _) = payer.receive(&onion);
    assert_eq!(message, Message::from(unblock()));
    assert_eq!(context.as_deref(), Some(CONTEXT), "authenticated as sent along the payer's own path");
}

#[test]
fn a_refusal_carries_the_pid_as_well() {
    let [payer, lsp, payee] = [11, 12, 14].map(Node::new);
    let refused = PaymentRefused { payment_hash: PaymentHash([1; 32]), reason: PayeeRefusal::InvoiceExpired };
    let (_, onion) = payee.send(2, reply_path(&payer, &lsp), refused.clone(), None);
    assert_eq!(lsp.observe(&onion).unwrap().unwrap().payment_unblock, Some(PID));
    let (message, ..) = payer.receive(&lsp.forward(&onion).1);
    assert_eq!(message, Message::from(refused));
}

#[test]
fn the_payee_may_build_the_way_back() {
    let [payer, payer_lsp, payee_lsp, payee] = [11, 12, 13, 14].map(Node::new);
    let path = payee_unblock_path(&secret(6), Some(payee_lsp.id), payer_lsp.id, payer.id, PID).unwrap();
    let (first, onion) = payee.send(3, path, unblock(), None);
    assert_eq!(first, payee_lsp.id);
    let seen = payee_lsp.observe(&onion).unwrap().unwrap();
    assert_eq!((seen.payment_pending_for, seen.payment_unblock), (None, None), "the pid is not for this LSP");
    let (_, onion) = payee_lsp.forward(&onion);
    assert_eq!(payer_lsp.observe(&onion).unwrap().unwrap().payment_unblock, Some(PID));
    let (next, onion) = payer_lsp.forward(&onion);
    assert_eq!(next, payer.id);
    let (message, context, _) = payer.receive(&onion);
    assert_eq!((message, context), (Message::from(unblock()), None));
}

#[test]
fn one_lsp_for_both_is_one_hop() {
    let [payer, lsp, payee] = [11, 12, 14].map(Node::new);
    let path = pending_path(&secret(4), lsp.id, Some(lsp.id), payee.id, PID.hash()).unwrap();
    assert_eq!(path.blinded_hops().len(), 2);
    let (_, onion) = payer.send(1, path, pending(None), None);
    let (next, onion) = lsp.forward(&onion);
    assert_eq!(next, payee.id);
    payee.receive(&onion);

    let path = payee_unblock_path(&secret(6), Some(lsp.id), lsp.id, payer.id, PID).unwrap();
    assert_eq!(path.blinded_hops().len(), 2);
}

#[test]
fn an_lsp_that_starts_its_own_path_advances_it() {
    // LDK peels the first hop itself when the sender is the introduction node, and must not trip over the fields.
    let [payer, lsp, payee] = [11, 12, 14].map(Node::new);
    let path = pending_path(&secret(4), lsp.id, None, payee.id, PID.hash()).unwrap();
    let (first, onion) = lsp.send(1, path, pending(Some((payer.id, lsp.id))), None);
    assert_eq!(first, payee.id);
    payee.receive(&onion);
}

/// LDK's hop for the payer's LSP is replaced, not edited. This is what is relied upon there.
#[test]
fn ldk_writes_only_the_next_node_and_pads_to_the_same_length() {
    let [payer, lsp] = [11, 12].map(Node::new);
    let secp = Secp256k1::new();
    let node =
        lightning::blinded_path::message::MessageForwardNode { node_id: lsp.id, short_channel_id: None };
    let context = lightning::blinded_path::message::MessageContext::Custom(CONTEXT.to_vec());
    let auth = payer.keys.get_receive_auth_key();
    let ldk = BlindedMessagePath::new(&[node], payer.id, auth, context, false, Fixed(5), &secp);
    let ours = reply_path(&payer, &lsp);

    let shared_secret = SharedSecret::new(&lsp.id, &secret(5));
    let plaintext = blinding::decrypt(&shared_secret, &ldk.blinded_hops()[0].encrypted_payload).unwrap();
    assert_eq!(plaintext, HopTlvs::forward_to(payer.id).plaintext().as_bytes());
    assert_eq!(ours.blinding_point(), ldk.blinding_point());
    assert_eq!(ours.blinded_hops()[1], ldk.blinded_hops()[1]);
    assert_eq!(ours.blinded_hops()[0].blinded_node_id, ldk.blinded_hops()[0].blinded_node_id);
    let lengths = |path: &BlindedMessagePath| {
        path.blinded_hops().iter().map(|hop| hop.encrypted_payload.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&ours), lengths(&ldk), "the length does not give the field away");
}

#[test]
fn a_path_without_hops_is_refused() {
    assert_eq!(build_path(&secret(1), &[]).unwrap_err(), PathError::Empty);
}

#[test]
fn debug_hides_the_pid() {
    let tlvs = HopTlvs::forward_to(public(1)).with_payment_unblock(PID);
    for text in [format!("{tlvs:?}"), format!("{:?}", tlvs.plaintext())] {
        assert!(!text.contains("9, 9"), "{text}");
        assert!(!text.contains("0909"), "{text}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(text(value)).unwrap()
}

fn key(value: &Value) -> SecretKey {
    SecretKey::from_slice(&bytes(value)).unwrap()
}

/// BOLT 4's `blinded-onion-message-onion-test.json`.
#[test]
fn official_onion_message_vector() {
    let vector = read_vectors("bolt04-blinded-onion-message-onion-test");
    let hops = vector["generate"]["hops"].as_array().unwrap();
    let nodes = vector["decrypt"]["hops"].as_array().unwrap();
    let blinded = vector["route"]["hops"].as_array().unwrap();
    // Alice's hop is the sender's own; Dave built the rest.
    for range in [0..1, 1..4] {
        let session_key = key(&hops[range.start]["path_key_secret"]);
        let plain: Vec<_> = range
            .clone()
            .map(|hop| {
                let node = key(&nodes[hop]["privkey"]).public_key(&Secp256k1::new());
                (node, HopPlaintext::from(bytes(&hops[hop]["encrypted_data_tlv"])))
            })
            .collect();
        let path = build_path(&session_key, &plain).unwrap();
        for (built, expected) in path.blinded_hops().iter().zip(&blinded[range]) {
            assert_eq!(built.blinded_node_id.to_string(), text(&expected["blinded_node_id"]));
            assert_eq!(built.encrypted_payload, bytes(&expected["encrypted_recipient_data"]));
        }
    }
}

/// BOLT 4's `route-blinding-test.json`.
#[test]
fn official_route_blinding_vector() {
    let vector = read_vectors("bolt04-route-blinding-test");
    let hops = vector["generate"]["hops"].as_array().unwrap();
    let blinded = vector["route"]["hops"].as_array().unwrap();
    let mut checked = 0;
    // Bob built the first two hops, Eve the last two.
    for range in [0..2, 2..4] {
        let plain: Vec<_> = hops[range.clone()]
            .iter()
            .map(|hop| {
                let node = text(&hop["node_id"]).parse().unwrap();
                (node, HopPlaintext::from(bytes(&hop["encoded_tlvs"])))
            })
            .collect();
        let path = build_path(&key(&hops[range.start]["session_key"]), &plain).unwrap();
        assert_eq!(path.blinding_point().to_string(), text(&hops[range.start]["path_key"]));
        for (built, expected) in path.blinded_hops().iter().zip(&blinded[range]) {
            assert_eq!(built.blinded_node_id.to_string(), text(&expected["blinded_node_id"]));
            assert_eq!(built.encrypted_payload, bytes(&expected["encrypted_data"]));
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

fn path_vector(name: &str, session_key: u8, hops: &[(&str, u8, HopTlvs)]) -> Value {
    let plain: Vec<_> = hops.iter().map(|(_, node, tlvs)| (public(*node), tlvs.plaintext())).collect();
    let path = build_path(&secret(session_key), &plain).unwrap();
    let hops: Vec<_> = hops
        .iter()
        .zip(path.blinded_hops())
        .map(|((role, node, tlvs), blinded)| {
            json!({
                "node": role,
                "node_secret": secret(*node).secret_bytes().as_hex().to_string(),
                "node_id": public(*node).to_string(),
                "next_node": tlvs.next_node.map(|next| next.to_string()),
                "payment_unblock": tlvs.payment_unblock.map(|pid| pid.0.as_hex().to_string()),
                "payment_pending_for": tlvs.payment_pending_for.map(|hash| hash.to_string()),
                "encrypted_data_tlv": tlvs.plaintext().as_bytes().as_hex().to_string(),
                "blinded_node_id": blinded.blinded_node_id.to_string(),
                "encrypted_recipient_data": blinded.encrypted_payload.as_hex().to_string(),
            })
        })
        .collect();
    json!({
        "name": name,
        "session_key": secret(session_key).secret_bytes().as_hex().to_string(),
        "first_path_key": path.blinding_point().to_string(),
        "blinded_path": path.encode().as_hex().to_string(),
        "hops": hops,
    })
}

/// The onion message that reaches the payer's LSP when `message` is sent along `path`.
fn onion_vector(name: &str, path: BlindedMessagePath, message: impl Into<Message>, sees: Value) -> Value {
    let (first, onion) = Node::new(0x45).send(0x35, path, message, None);
    assert_eq!(first, public(0x42));
    json!({
        "name": name,
        "node": "payer_lsp",
        "node_secret": secret(0x42).secret_bytes().as_hex().to_string(),
        "onion_message": onion.encode().as_hex().to_string(),
        "sees": sees,
    })
}

#[test]
fn own_vectors() {
    let [payer, payer_lsp, payee_lsp, payee] = [0x41, 0x42, 0x43, 0x44];
    let pid_hash = PID.hash();
    let generated = json!({
        "comment": "Blinded paths of LightningRod, and onion messages (without their type, 513) along them. pid is 32 times 09. \
                    See docs/protocol.md, \"Paths\".",
        "paths": [
            path_vector("pending", 0x31, &[
                ("payer_lsp", payer_lsp, HopTlvs::forward_to(public(payee_lsp)).with_payment_pending_for(pid_hash)),
                ("payee_lsp", payee_lsp, HopTlvs::forward_to(public(payee))),
                ("payee", payee, HopTlvs::last()),
            ]),
            path_vector("pending, one LSP for both", 0x32, &[
                ("payer_lsp", payer_lsp, HopTlvs::forward_to(public(payee)).with_payment_pending_for(pid_hash)),
                ("payee", payee, HopTlvs::last()),
            ]),
            path_vector("unblock, built by the payee", 0x33, &[
                ("payee_lsp", payee_lsp, HopTlvs::forward_to(public(payer_lsp))),
                ("payer_lsp", payer_lsp, HopTlvs::forward_to(public(payer)).with_payment_unblock(PID)),
                ("payer", payer, HopTlvs::last()),
            ]),
        ],
        "onion_messages": [
            onion_vector(
                "payment_pending",
                pending_path(&secret(0x32), public(payer_lsp), None, public(payee), pid_hash).unwrap(),
                pending(None),
                json!({
                    "next_node": public(payee).to_string(),
                    "payment_unblock": null,
                    "payment_pending_for": pid_hash.to_string(),
                }),
            ),
            onion_vector(
                "payment_unblock",
                payee_unblock_path(&secret(0x36), None, public(payer_lsp), public(payer), PID).unwrap(),
                unblock(),
                json!({
                    "next_node": public(payer).to_string(),
                    "payment_unblock": PID.0.as_hex().to_string(),
                    "payment_pending_for": null,
                }),
            ),
        ],
    });
    check_vectors("paths", &generated);

    // The functions that build whole paths give the same bytes.
    let encoded = |path: BlindedMessagePath| json!(path.encode().as_hex().to_string());
    let both =
        pending_path(&secret(0x31), public(payer_lsp), Some(public(payee_lsp)), public(payee), pid_hash);
    assert_eq!(encoded(both.unwrap()), generated["paths"][0]["blinded_path"]);
    let one = pending_path(&secret(0x32), public(payer_lsp), None, public(payee), pid_hash);
    assert_eq!(encoded(one.unwrap()), generated["paths"][1]["blinded_path"]);
    let back =
        payee_unblock_path(&secret(0x33), Some(public(payee_lsp)), public(payer_lsp), public(payer), PID);
    assert_eq!(encoded(back.unwrap()), generated["paths"][2]["blinded_path"]);

    // The payer's own reply path has the same first hop as one that anybody else would build with that session key.
    let auth = ReceiveAuthKey([7; 32]);
    let secp = Secp256k1::new();
    let reply =
        payer_reply_path(&secret(0x34), public(payer_lsp), public(payer), auth, vec![], PID, &secp).unwrap();
    let ours = payee_unblock_path(&secret(0x34), None, public(payer_lsp), public(payer), PID).unwrap();
    assert_eq!(reply.blinded_hops()[0], ours.blinded_hops()[0]);
}

fn arb_tlvs() -> impl Strategy<Value = HopTlvs> {
    let node = proptest::option::of((1..=0xfeu8).prop_map(public));
    let path_key = proptest::option::of((1..=0xfeu8).prop_map(public));
    let pid = proptest::option::of(any::<[u8; 32]>().prop_map(Pid));
    let pid_hash = proptest::option::of(any::<[u8; 32]>().prop_map(PidHash));
    let scid = proptest::option::of(any::<u64>());
    (node, scid, path_key, pid, pid_hash).prop_map(|(node, scid, path_key, pid, pid_hash)| HopTlvs {
        next_node: node,
        next_scid: if node.is_some() { None } else { scid },
        next_path_key_override: path_key,
        payment_unblock: pid,
        payment_pending_for: pid_hash,
    })
}

proptest! {
    #[test]
    fn hops_round_trip_at_a_padded_length(tlvs in arb_tlvs()) {
        let plaintext = tlvs.plaintext();
        prop_assert_eq!(plaintext.as_bytes().len() % HOP_BYTES, 0);
        prop_assert!(!plaintext.as_bytes().is_empty());
        prop_assert_eq!(HopTlvs::read(plaintext.as_bytes()).unwrap(), tlvs);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = HopTlvs::read(&bytes);
    }

    #[test]
    fn mutated_hops_are_read_without_panic(tlvs in arb_tlvs(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = tlvs.plaintext().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = HopTlvs::read(&bytes);
    }
}
