use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn arb_node() -> impl Strategy<Value = PublicKey> {
    (1..=0xfeu8).prop_map(public)
}

fn arb_hash() -> impl Strategy<Value = PaymentHash> {
    any::<[u8; 32]>().prop_map(PaymentHash)
}

fn arb_pid_hash() -> impl Strategy<Value = PidHash> {
    any::<[u8; 32]>().prop_map(PidHash)
}

/// A body may carry any signature of the right form: whether it verifies is another question.
fn arb_signature() -> impl Strategy<Value = String> {
    vec(prop::sample::select(&b"ybndrfg8ejkmcpqxot1uwisza345h769"[..]), 104)
        .prop_map(|chars| String::from_utf8(chars).unwrap())
}

fn arb_hold_status() -> impl Strategy<Value = HoldStatus> {
    let hash = (arb_hash(), any::<u16>(), any::<u64>()).prop_map(|(payment_hash, held_parts, held)| {
        HashStatus { payment_hash, held_parts, held: Msat(held) }
    });
    let hashes = vec(hash, 0..=PAYMENT_HASHES_MAX);
    (arb_pid_hash(), any::<u16>(), any::<u32>(), any::<bool>(), hashes).prop_map(
        |(pid_hash, state, deadline, pending_in_care, hashes)| HoldStatus {
            pid_hash,
            state: HoldStateCode::from_code(state),
            deadline: BlockHeight(deadline),
            pending_in_care,
            hashes,
        },
    )
}

fn arb_message() -> impl Strategy<Value = Message> {
    let block = (arb_node(), arb_pid_hash(), 1..=16u8, any::<u32>(), arb_signature()).prop_map(
        |(payer, pid_hash, count, deadline, signature)| {
            let deadline = BlockHeight(deadline);
            PaymentBlock { payer, pid_hash, payment_hashes: hashes(count), deadline, signature }.into()
        },
    );
    let answer = prop_oneof![
        any::<u32>().prop_map(|height| BlockAnswer::Accepted { deadline: BlockHeight(height) }),
        (any::<u16>(), proptest::option::of(".{0,60}"))
            .prop_map(|(code, text)| BlockAnswer::Refused { reason: RefusalReason::from_code(code), text }),
    ];
    let ack =
        (arb_pid_hash(), answer).prop_map(|(pid_hash, answer)| PaymentBlockAck { pid_hash, answer }.into());
    let nodes = proptest::option::of((arb_node(), arb_node()));
    let pending = (arb_hash(), any::<u64>(), any::<[u8; 32]>(), any::<u32>(), nodes).prop_map(
        |(payment_hash, amount, pid, deadline, payer_and_lsp)| {
            PaymentPending {
                payment_hash,
                amount: Msat(amount),
                pid: Pid(pid),
                deadline: BlockHeight(deadline),
                payer_and_lsp,
            }
            .into()
        },
    );
    let cancel = (arb_node(), arb_pid_hash(), arb_signature())
        .prop_map(|(payer, pid_hash, signature)| PaymentCancel { payer, pid_hash, signature }.into());
    let status = (arb_node(), proptest::option::of(arb_pid_hash()), arb_signature())
        .prop_map(|(payer, pid_hash, signature)| PaymentStatus { payer, pid_hash, signature }.into());
    let reply = (vec(arb_hold_status(), 0..8), any::<bool>())
        .prop_map(|(holds, truncated)| PaymentStatusReply { holds, truncated }.into());
    let refused = (arb_hash(), any::<u16>()).prop_map(|(payment_hash, code)| {
        PaymentRefused { payment_hash, reason: PayeeRefusal::from_code(code) }.into()
    });
    let unblock = arb_hash().prop_map(|payment_hash| PaymentUnblock { payment_hash }.into());
    prop_oneof![block, ack, pending, cancel, status, reply, refused, unblock]
}

proptest! {
    #[test]
    fn every_message_reads_back(message in arb_message()) {
        prop_assert_eq!(reread(&message), Ok(message));
    }

    /// Random, mutated and cut bodies are read or refused. What is read is canonical: it is written back to bytes that read
    /// the same.
    #[test]
    fn damaged_bodies_are_read_or_refused(
        message in arb_message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        do_cut in any::<bool>(),
    ) {
        let mut body = message.encode();
        for (at, with) in changes {
            let at = at.index(body.len());
            body[at] = with;
        }
        if do_cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(Some(read)) = Message::read(message.tlv_type(), &mut &body[..]) {
            prop_assert_eq!(reread(&read), Ok(read));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..600), which in prop::sample::select(&TYPES[..])) {
        if let Ok(Some(read)) = Message::read(which, &mut &body[..]) {
            prop_assert_eq!(reread(&read), Ok(read));
        }
    }

    #[test]
    fn any_text_as_signature_is_refused_without_panic(signature in ".{0,120}") {
        let forged = PaymentCancel { signature, ..cancel() };
        prop_assert_eq!(forged.verify(&public(LSP)), Err(SignatureError));
    }

    #[test]
    fn any_signature_of_the_right_form_is_refused_without_panic(signature in arb_signature()) {
        let forged = PaymentCancel { signature, ..cancel() };
        prop_assert_eq!(forged.verify(&public(LSP)), Err(SignatureError));
    }
}
