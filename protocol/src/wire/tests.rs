mod properties;
mod vectors;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;
use lightning::onion_message::packet::OnionMessageContents;
use lightning::types::payment::PaymentHash;
use lightning::util::message_signing;
use lightning::util::ser::Writeable;

use super::*;
use crate::ids::{Pid, PidHash};
use crate::testing::{public, secret};
use crate::units::{BlockHeight, Msat};

const PAYER: u8 = 0x41;
const LSP: u8 = 0x42;
const PID: Pid = Pid([9; 32]);

/// What the payer's `NodeSigner::sign_message` does.
fn payer_signs(text: &[u8]) -> Result<String, ()> {
    Ok(message_signing::sign(text, &secret(PAYER)))
}

fn hashes(count: u8) -> Vec<PaymentHash> {
    (1..=count).map(|byte| PaymentHash([byte; 32])).collect()
}

fn block() -> PaymentBlock {
    let deadline = BlockHeight(850_000);
    PaymentBlock::sign(public(PAYER), PID.hash(), hashes(2), deadline, &public(LSP), payer_signs).unwrap()
}

fn cancel() -> PaymentCancel {
    PaymentCancel::sign(public(PAYER), PID.hash(), &public(LSP), payer_signs).unwrap()
}

fn status(pid_hash: Option<PidHash>) -> PaymentStatus {
    PaymentStatus::sign(public(PAYER), pid_hash, &public(LSP), payer_signs).unwrap()
}

fn refused(text: Option<String>) -> PaymentBlockAck {
    let answer = BlockAnswer::Refused { reason: RefusalReason::DeadlineTooLate, text };
    PaymentBlockAck { pid_hash: PID.hash(), answer }
}

fn pending(payer_and_lsp: Option<(PublicKey, PublicKey)>) -> PaymentPending {
    PaymentPending {
        payment_hash: PaymentHash([1; 32]),
        amount: Msat(21_000_000),
        pid: PID,
        deadline: BlockHeight(850_000),
        payer_and_lsp,
    }
}

fn hold_status(byte: u8, hashes_count: u8) -> HoldStatus {
    HoldStatus {
        pid_hash: PidHash([byte; 32]),
        state: HoldStateCode::Held,
        deadline: BlockHeight(850_000),
        pending_in_care: true,
        hashes: hashes(hashes_count)
            .into_iter()
            .map(|payment_hash| HashStatus { payment_hash, held_parts: 2, held: Msat(21_000_100) })
            .collect(),
    }
}

fn reread(message: &Message) -> Result<Message, DecodeError> {
    Message::read(message.tlv_type(), &mut &message.encode()[..]).map(Option::unwrap)
}

#[test]
fn other_types_are_not_ours() {
    for message_type in [64, 75000, 75002, 75017, 75540, u64::MAX] {
        assert_eq!(Message::read(message_type, &mut &[0xff; 4][..]), Ok(None));
    }
}

#[test]
fn a_signature_holds_for_one_lsp_one_message_and_one_body() {
    let (lsp, other) = (public(LSP), public(0x43));
    assert_eq!(block().verify(&lsp), Ok(()));
    assert_eq!(block().verify(&other), Err(SignatureError));
    assert_eq!(PaymentBlock { payer: other, ..block() }.verify(&lsp), Err(SignatureError));
    assert_eq!(PaymentBlock { pid_hash: PidHash([0; 32]), ..block() }.verify(&lsp), Err(SignatureError));
    assert_eq!(PaymentBlock { payment_hashes: hashes(3), ..block() }.verify(&lsp), Err(SignatureError));
    assert_eq!(PaymentBlock { deadline: BlockHeight(1), ..block() }.verify(&lsp), Err(SignatureError));
    assert_eq!(PaymentBlock { signature: String::new(), ..block() }.verify(&lsp), Err(SignatureError));

    assert_eq!(cancel().verify(&lsp), Ok(()));
    assert_eq!(cancel().verify(&other), Err(SignatureError));
    assert_eq!(status(None).verify(&lsp), Ok(()));
    assert_eq!(status(Some(PID.hash())).verify(&lsp), Ok(()));
    // The same body under the other type: asking is not cancelling.
    let asked = status(Some(PID.hash())).signature;
    assert_eq!(PaymentCancel { signature: asked, ..cancel() }.verify(&lsp), Err(SignatureError));
}

#[test]
fn signing_refuses_what_cannot_be_sent() {
    let sign = |payment_hashes| {
        let deadline = BlockHeight(1);
        PaymentBlock::sign(public(PAYER), PID.hash(), payment_hashes, deadline, &public(LSP), payer_signs)
    };
    assert!(sign(hashes(16)).is_ok());
    assert_eq!(sign(hashes(17)), Err(SignError::PaymentHashes));
    assert_eq!(sign(vec![]), Err(SignError::PaymentHashes));
    assert_eq!(sign(vec![PaymentHash([1; 32]); 2]), Err(SignError::PaymentHashes));
    let refuses = PaymentCancel::sign(public(PAYER), PID.hash(), &public(LSP), |_| Err(()));
    assert_eq!(refuses, Err(SignError::Signer));
    let nonsense = PaymentCancel::sign(public(PAYER), PID.hash(), &public(LSP), |_| Ok("no".to_owned()));
    assert_eq!(nonsense, Err(SignError::Signer));
}

#[test]
fn a_long_refusal_text_is_cut_between_characters() {
    let long = "ä".repeat(REFUSAL_TEXT_BYTES_MAX);
    let read = reread(&refused(Some(long)).into()).unwrap();
    assert_eq!(read, refused(Some("ä".repeat(REFUSAL_TEXT_BYTES_MAX / 2))).into());
}

#[test]
fn a_status_reply_takes_what_fits() {
    let small: Vec<_> = (0..=HOLD_STATUSES_MAX).map(|_| hold_status(1, 1)).collect();
    let reply = PaymentStatusReply::new(small);
    assert_eq!((reply.holds.len(), reply.truncated), (HOLD_STATUSES_MAX, true));
    let large: Vec<_> = (0..HOLD_STATUSES_MAX).map(|_| hold_status(1, 16)).collect();
    let reply = PaymentStatusReply::new(large);
    assert!(reply.truncated && reply.holds.len() > 20, "{}", reply.holds.len());
    assert!(reply.serialized_length() <= STATUS_REPLY_BYTES_MAX + 10);
    assert_eq!(reread(&reply.clone().into()), Ok(reply.into()));
    let all = PaymentStatusReply::new(vec![hold_status(1, 16)]);
    assert!(!all.truncated);
}

#[test]
fn codes_that_have_no_name_are_kept() {
    let reason = RefusalReason::from_code(4_000);
    assert_eq!(reason, RefusalReason::Unknown(4_000));
    assert_eq!((reason.as_str(), reason.to_string()), ("unknown", "unknown (4000)".to_owned()));
    let ack = PaymentBlockAck { pid_hash: PID.hash(), answer: BlockAnswer::Refused { reason, text: None } };
    assert_eq!(reread(&ack.clone().into()), Ok(ack.into()));
}

#[test]
fn codes_are_different_and_read_back() {
    for code in RefusalReason::ALL {
        assert_eq!(RefusalReason::from_code(code.code()), *code);
    }
    for code in PayeeRefusal::ALL {
        assert_eq!(PayeeRefusal::from_code(code.code()), *code);
    }
    for code in HoldStateCode::ALL {
        assert_eq!(HoldStateCode::from_code(code.code()), *code);
    }
}

#[test]
fn debug_hides_the_pid() {
    let text = format!("{:?}", Message::from(pending(None)));
    assert!(text.contains("Pid(..)") && !text.contains("9, 9"), "{text}");
}

#[test]
fn the_numbers_are_odd_and_nobody_elses() {
    for message_type in TYPES {
        assert!(message_type % 2 == 1 && message_type >= 64);
        assert!(!(75_540..=75_546).contains(&message_type), "LDK's");
    }
    for field in [PAYMENT_UNBLOCK_FIELD, PAYMENT_PENDING_FOR_FIELD] {
        assert!(field % 2 == 1 && ![65_536, 65_537, 65_539].contains(&field));
    }
    const { assert!(FEATURE_BIT % 2 == 1 && FEATURE_BIT > 259 && FEATURE_BIT != 729) };
}
