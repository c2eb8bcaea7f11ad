use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::PaymentHash;
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use protocol::wire::PayeeRefusal;

use super::answers::backoff;
use super::decide::{Claim, Inbound, REFUSAL_SECS, answer, claim};
use crate::store::invoices::Invoice;
use crate::store::pending::{Pending, PendingState};

const NOW: u64 = 1_500;

fn invoice() -> Invoice {
    Invoice {
        payment_hash: PaymentHash([7; 32]),
        bolt11: String::new(),
        amount: Msat(5_000),
        description: String::new(),
        created_at: 1_000,
        expires_at: 2_000,
        paid: None,
    }
}

fn pending(state: PendingState, received_at: u64) -> Pending {
    Pending {
        payment_hash: PaymentHash([7; 32]),
        pid_hash: PidHash([1; 32]),
        deadline: BlockHeight(250),
        state,
        reply_to: Vec::new(),
        received_at,
        refused_payment: None,
    }
}

fn inbound(msat: u64) -> Inbound {
    Inbound { amount: Msat(msat), payment_id: Some(PaymentId([9; 32])) }
}

#[test]
fn a_held_payment_must_be_exactly_what_an_open_invoice_asks_for() {
    let invoice = invoice();
    assert_eq!(answer(Some(&invoice), Msat(5_000), NOW), Ok(()));
    assert_eq!(answer(None, Msat(5_000), NOW), Err(PayeeRefusal::UnknownHash));
    for msat in [0, 4_999, 5_001, 10_000, u64::MAX] {
        assert_eq!(answer(Some(&invoice), Msat(msat), NOW), Err(PayeeRefusal::WrongAmount), "{msat}");
    }
    assert_eq!(answer(Some(&invoice), Msat(5_000), 1_999), Ok(()));
    assert_eq!(answer(Some(&invoice), Msat(5_000), 2_000), Err(PayeeRefusal::InvoiceExpired));
    let paid = Invoice { paid: Some((Msat(5_000), 1_400)), ..invoice };
    assert_eq!(answer(Some(&paid), Msat(5_000), 2_000), Err(PayeeRefusal::AlreadyPaid));
}

#[test]
fn only_what_an_unpaid_invoice_asks_for_is_claimed() {
    let invoice = invoice();
    assert_eq!(claim(None, &[], inbound(5_000), NOW), Claim::NotOurs);
    for (msat, expected) in [
        (4_999, Claim::WrongAmount),
        (5_000, Claim::Take),
        (10_000, Claim::Take),
        (10_001, Claim::WrongAmount),
    ] {
        assert_eq!(claim(Some(&invoice), &[], inbound(msat), NOW), expected, "{msat}");
    }
    let paid = Invoice { paid: Some((Msat(5_000), 1_400)), ..invoice };
    assert_eq!(claim(Some(&paid), &[], inbound(5_000), NOW), Claim::PaidBefore);
}

#[test]
fn a_refusal_is_kept_to_until_it_is_old_or_overruled() {
    let invoice = invoice();
    let refused = pending(PendingState::Refused, NOW);
    let judge = |pending: &[Pending], now| claim(Some(&invoice), pending, inbound(5_000), now);
    assert_eq!(judge(std::slice::from_ref(&refused), NOW), Claim::WasRefused);
    assert_eq!(judge(std::slice::from_ref(&refused), NOW + REFUSAL_SECS - 1), Claim::WasRefused);
    assert_eq!(judge(std::slice::from_ref(&refused), NOW + REFUSAL_SECS), Claim::Take);
    let accepted = pending(PendingState::Unblocking, NOW);
    assert_eq!(judge(&[refused, accepted], NOW), Claim::Take, "another payer was told yes");
}

#[test]
fn a_refusal_counts_against_one_payment_and_always_against_that_one() {
    let invoice = invoice();
    let refused =
        Pending { refused_payment: Some(PaymentId([1; 32])), ..pending(PendingState::Refused, NOW) };
    let judge = |payment_id, now| {
        let payment = Inbound { amount: Msat(5_000), payment_id };
        claim(Some(&invoice), std::slice::from_ref(&refused), payment, now)
    };
    assert_eq!(judge(Some(PaymentId([1; 32])), NOW), Claim::WasRefused);
    assert_eq!(judge(Some(PaymentId([1; 32])), NOW + 10 * REFUSAL_SECS), Claim::WasRefused);
    assert_eq!(judge(Some(PaymentId([2; 32])), NOW), Claim::Take);
    assert_eq!(judge(None, NOW), Claim::Take);
}

#[test]
fn an_unblock_is_repeated_ever_more_slowly() {
    let seconds: Vec<_> = (0..8).map(|sent| backoff(sent).as_secs()).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60, 60]);
}
