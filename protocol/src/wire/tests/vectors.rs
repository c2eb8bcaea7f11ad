use hex::{DisplayHex, FromHex};
use serde_json::{Value, json};

use super::*;
use crate::testing::{check_vectors, read_vectors};

fn valid(name: &str, message: impl Into<Message>, signing_text: Option<String>) -> Value {
    let message = message.into();
    json!({
        "name": name,
        "message": message.msg_type(),
        "type": message.tlv_type(),
        "body": message.encode().as_hex().to_string(),
        "signing_text": signing_text,
        "fields": fields(&message),
    })
}

fn fields(message: &Message) -> Value {
    let hash = |hash: &PaymentHash| hash.0.as_hex().to_string();
    match message {
        Message::PaymentBlock(m) => json!({
            "payer": m.payer.to_string(),
            "pid_hash": m.pid_hash.to_string(),
            "payment_hashes": m.payment_hashes.iter().map(hash).collect::<Vec<_>>(),
            "deadline": m.deadline,
            "signature": m.signature,
        }),
        Message::PaymentBlockAck(m) => match &m.answer {
            BlockAnswer::Accepted { deadline } => {
                json!({ "pid_hash": m.pid_hash.to_string(), "deadline": deadline })
            }
            BlockAnswer::Refused { reason, text } => {
                json!({ "pid_hash": m.pid_hash.to_string(), "reason": reason.as_str(), "text": text })
            }
        },
        Message::PaymentPending(m) => json!({
            "payment_hash": hash(&m.payment_hash),
            "amount_msat": m.amount,
            "pid": m.pid.0.as_hex().to_string(),
            "deadline": m.deadline,
            "payer": m.payer_and_lsp.map(|(payer, _)| payer.to_string()),
            "payer_lsp": m.payer_and_lsp.map(|(_, lsp)| lsp.to_string()),
        }),
        Message::PaymentCancel(m) => json!({
            "payer": m.payer.to_string(),
            "pid_hash": m.pid_hash.to_string(),
            "signature": m.signature,
        }),
        Message::PaymentStatus(m) => json!({
            "payer": m.payer.to_string(),
            "pid_hash": m.pid_hash.map(|hash| hash.to_string()),
            "signature": m.signature,
        }),
        Message::PaymentStatusReply(m) => json!({
            "truncated": m.truncated,
            "holds": m.holds.iter().map(|hold| json!({
                "pid_hash": hold.pid_hash.to_string(),
                "state": hold.state.as_str(),
                "deadline": hold.deadline,
                "pending_in_care": hold.pending_in_care,
                "hashes": hold.hashes.iter().map(|status| json!({
                    "payment_hash": hash(&status.payment_hash),
                    "held_parts": status.held_parts,
                    "held_msat": status.held,
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }),
        Message::PaymentRefused(m) => {
            json!({ "payment_hash": hash(&m.payment_hash), "reason": m.reason.as_str() })
        }
        Message::PaymentUnblock(m) => json!({ "payment_hash": hash(&m.payment_hash) }),
    }
}

fn invalid(why: &str, message_type: u64, body: &[u8]) -> Value {
    json!({ "why": why, "type": message_type, "body": body.as_hex().to_string() })
}

/// A body made of records, each with a type and a length of one byte.
fn records(records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (record_type, value) in records {
        body.extend([*record_type, u8::try_from(value.len()).unwrap()]);
        body.extend_from_slice(value);
    }
    body
}

fn all_valid() -> Vec<Value> {
    let lsp = public(LSP);
    let one = PaymentHash([1; 32]);
    vec![
        valid("payment_block for two hashes", block(), Some(block().signing_text(&lsp))),
        valid(
            "accepted",
            PaymentBlockAck {
                pid_hash: PID.hash(),
                answer: BlockAnswer::Accepted { deadline: BlockHeight(849_990) },
            },
            None,
        ),
        valid("refused", refused(None), None),
        valid("refused, with a text", refused(Some("at most 1008 blocks".to_owned())), None),
        valid("pending", pending(None), None),
        valid("pending, the payer shows itself", pending(Some((public(PAYER), lsp))), None),
        valid("cancel", cancel(), Some(cancel().signing_text(&lsp))),
        valid(
            "status of one hold",
            status(Some(PID.hash())),
            Some(status(Some(PID.hash())).signing_text(&lsp)),
        ),
        valid("status of all holds", status(None), Some(status(None).signing_text(&lsp))),
        valid("no hold known", PaymentStatusReply::default(), None),
        valid(
            "two holds, and there are more",
            PaymentStatusReply { holds: vec![hold_status(3, 2), hold_status(4, 1)], truncated: true },
            None,
        ),
        valid(
            "payee refuses",
            PaymentRefused { payment_hash: one, reason: PayeeRefusal::InvoiceExpired },
            None,
        ),
        valid("unblock", PaymentUnblock { payment_hash: one }, None),
    ]
}

fn all_invalid() -> Vec<Value> {
    let mut trailing = PaymentUnblock { payment_hash: PaymentHash([1; 32]) }.encode();
    trailing.push(3);
    let pid_hash = PID.hash().0;
    let payer = public(PAYER).serialize();
    let deadline = 850_000u32.to_be_bytes();
    let signature = block().signature;
    let block_with = |hashes: &[u8], signature: &[u8]| {
        records(&[(2, &payer), (4, &pid_hash), (6, hashes), (8, &deadline), (240, signature)])
    };
    let signature = signature.as_bytes();
    vec![
        invalid("no fields", PAYMENT_UNBLOCK, &[]),
        invalid("a hash of 31 bytes", PAYMENT_UNBLOCK, &records(&[(2, &[1; 31])])),
        invalid("a hash of 33 bytes", PAYMENT_UNBLOCK, &records(&[(2, &[1; 33])])),
        invalid("cut after a type", PAYMENT_UNBLOCK, &trailing),
        invalid("unknown even field", PAYMENT_UNBLOCK, &records(&[(2, &[1; 32]), (4, &[])])),
        invalid("the same field twice", PAYMENT_UNBLOCK, &records(&[(2, &[1; 32]), (2, &[1; 32])])),
        invalid("fields out of order", PAYMENT_REFUSED, &records(&[(4, &[0, 1]), (2, &[1; 32])])),
        invalid("a length that is not minimal", PAYMENT_UNBLOCK, &[&[2, 0xfd, 0, 32][..], &[1; 32]].concat()),
        invalid("no payment hashes", PAYMENT_BLOCK, &block_with(&[], signature)),
        invalid("the same payment hash twice", PAYMENT_BLOCK, &block_with(&[1; 64], signature)),
        invalid("half a payment hash", PAYMENT_BLOCK, &block_with(&[1; 48], signature)),
        invalid("a signature that is too short", PAYMENT_BLOCK, &block_with(&[1; 32], &signature[1..])),
        invalid("a signature outside the alphabet", PAYMENT_BLOCK, &block_with(&[1; 32], &[b'!'; 104])),
        invalid("neither granted nor refused", PAYMENT_BLOCK_ACK, &records(&[(2, &pid_hash)])),
        invalid(
            "granted and refused",
            PAYMENT_BLOCK_ACK,
            &records(&[(2, &pid_hash), (4, &deadline), (6, &[0, 1])]),
        ),
        invalid(
            "granted with a refusal's text",
            PAYMENT_BLOCK_ACK,
            &records(&[(2, &pid_hash), (4, &deadline), (7, b"no")]),
        ),
        invalid(
            "a text that is not UTF-8",
            PAYMENT_BLOCK_ACK,
            &records(&[(2, &pid_hash), (6, &[0, 1]), (7, &[0xff])]),
        ),
        invalid(
            "a payer without its LSP",
            PAYMENT_PENDING,
            &records(&[(2, &[1; 32]), (4, &[0; 8]), (6, &[9; 32]), (8, &deadline), (9, &payer)]),
        ),
    ]
}

#[test]
fn vectors_are_what_the_code_writes() {
    let generated = json!({
        "comment": "Onion message contents of LightningRod. The payer's secret key is 32 times 41, its LSP's 32 times 42, \
                    pid is 32 times 09. Bodies under `invalid` must be refused. See docs/protocol.md, \"Messages\".",
        "valid": all_valid(),
        "invalid": all_invalid(),
    });
    check_vectors("messages", &generated);
}

#[test]
fn vectors_are_read() {
    let vectors = read_vectors("messages");
    let read = |vector: &Value| {
        let body = Vec::from_hex(vector["body"].as_str().unwrap()).unwrap();
        (Message::read(vector["type"].as_u64().unwrap(), &mut &body[..]), body)
    };
    for vector in vectors["valid"].as_array().unwrap() {
        let (message, body) = read(vector);
        let message = message.unwrap().unwrap();
        assert_eq!(message.encode(), body);
        assert_eq!(message.msg_type(), vector["message"]);
        assert_eq!(fields(&message), vector["fields"]);
        let verified = match &message {
            Message::PaymentBlock(m) => m.verify(&public(LSP)),
            Message::PaymentCancel(m) => m.verify(&public(LSP)),
            Message::PaymentStatus(m) => m.verify(&public(LSP)),
            _ => Ok(()),
        };
        assert_eq!(verified, Ok(()), "{}", vector["name"]);

        let mut odd = body.clone();
        odd.extend([0xfd, 0x10, 0x01, 2, 0xaa, 0xbb]);
        let message_type = message.tlv_type();
        assert_eq!(
            Message::read(message_type, &mut &odd[..]),
            Ok(Some(message)),
            "unknown odd fields are skipped"
        );
        let mut even = body;
        even.extend([0xfd, 0x10, 0x02, 2, 0xaa, 0xbb]);
        assert!(Message::read(message_type, &mut &even[..]).is_err());
    }
    for vector in vectors["invalid"].as_array().unwrap() {
        assert!(read(vector).0.is_err(), "{}", vector["why"]);
    }
}
