use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};
use lightning_types::payment::PaymentHash;
use node::Seed;
use proptest::prelude::*;
use protocol::deadline::{
    DeadlineError, HOLD_BLOCKS_MAX, MARGIN, PAYEE_FINAL_BLOCKS, hold_deadline, part_fits,
};
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use protocol::wire::{HashStatus, HoldStateCode, HoldStatus};

use super::cancel::{Answer, answer};
use super::drive::{all_parts_held, extra_blocks};
use super::negotiate::{expires_unix, parse, terms};
use super::{HOLD_BLOCKS, derive_pid};
use crate::error::WalletError;
use crate::payee::INVOICE_EXPIRY_SECS;

const CREATED: u64 = 1_790_000_000;
const HEIGHT: BlockHeight = BlockHeight(1_000);
const HASH: PaymentHash = PaymentHash([7; 32]);

fn invoice(currency: Currency, amount_msat: Option<u64>, expiry_secs: u32) -> Bolt11Invoice {
    let key = SecretKey::from_slice(&[42; 32]).unwrap();
    let mut builder = InvoiceBuilder::new(currency)
        .description("tea".to_owned())
        .payment_hash(PaymentHash(sha256::Hash::hash(&[1]).to_byte_array()))
        .payment_secret(PaymentSecret([3; 32]))
        .duration_since_epoch(std::time::Duration::from_secs(CREATED))
        .min_final_cltv_expiry_delta(41)
        .expiry_time(std::time::Duration::from_secs(u64::from(expiry_secs)));
    if let Some(amount_msat) = amount_msat {
        builder = builder.amount_milli_satoshis(amount_msat);
    }
    builder.build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key)).unwrap()
}

fn regtest(amount_msat: Option<u64>, expiry_secs: u32) -> Bolt11Invoice {
    invoice(Currency::Regtest, amount_msat, expiry_secs)
}

#[test]
fn an_invoice_for_another_network_or_none_at_all_is_refused() {
    let text = invoice(Currency::Bitcoin, Some(5_000), 3_600).to_string();
    assert!(parse(&text, Network::Bitcoin).is_ok());
    let error = parse(&text, Network::Regtest).unwrap_err().to_string();
    assert!(error.contains("Bitcoin") && error.contains("regtest"), "{error}");
    assert!(matches!(parse("lnbcrt1nonsense", Network::Regtest), Err(WalletError::Invoice { .. })));
}

#[test]
fn a_hold_must_fit_the_invoice() {
    let long = regtest(Some(5_000), INVOICE_EXPIRY_SECS);
    assert_eq!(terms(&long, HOLD_BLOCKS, HEIGHT, CREATED).unwrap(), (Msat(5_000), HEIGHT.plus(HOLD_BLOCKS)));
    assert!(terms(&long, HOLD_BLOCKS_MAX, HEIGHT, CREATED).is_ok(), "a week fits into the default of two");
    let hour = regtest(Some(5_000), 3_600);
    for (invoice, hold_blocks, now) in
        [(&hour, HOLD_BLOCKS, CREATED), (&long, HOLD_BLOCKS, expires_unix(&long) - 3_600)]
    {
        let error = terms(invoice, hold_blocks, HEIGHT, now).unwrap_err();
        assert!(matches!(error, WalletError::Deadline(_)), "{hold_blocks} at {now}: {error}");
    }
    for hold_blocks in [0, HOLD_BLOCKS_MAX + 1, u32::MAX] {
        let error = terms(&long, hold_blocks, HEIGHT, CREATED).unwrap_err();
        assert!(matches!(error, WalletError::HoldBlocks { .. }), "{error}");
    }
    let outlasts = terms(&hour, HOLD_BLOCKS, HEIGHT, CREATED);
    assert!(matches!(outlasts, Err(WalletError::Deadline(DeadlineError::OutlastsInvoice { .. }))));
}

#[test]
fn an_expired_invoice_or_one_without_amount_is_not_paid() {
    for (invoice, now) in
        [(regtest(None, 1_209_600), CREATED), (regtest(Some(5_000), 1_209_600), CREATED + 1_209_600)]
    {
        let error = terms(&invoice, HOLD_BLOCKS, HEIGHT, now).unwrap_err();
        assert!(matches!(error, WalletError::Invoice { .. }), "{error}");
    }
}

#[test]
fn a_pid_is_found_again_from_the_seed_and_different_for_each_attempt() {
    let seed = || Seed::new([5; 32]);
    let pid = |seed: &Seed, attempt| derive_pid(seed, HASH, attempt).hash();
    assert_eq!(pid(&seed(), 0), pid(&seed(), 0));
    let others =
        [pid(&seed(), 1), pid(&Seed::new([6; 32]), 0), derive_pid(&seed(), PaymentHash([8; 32]), 0).hash()];
    assert!(others.iter().all(|other| *other != pid(&seed(), 0)));
}

fn status(state: HoldStateCode, held_parts: u16, held: u64) -> HoldStatus {
    HoldStatus {
        pid_hash: PidHash([1; 32]),
        state,
        deadline: BlockHeight(1_144),
        pending_in_care: false,
        hashes: vec![HashStatus { payment_hash: HASH, held_parts, held: Msat(held) }],
    }
}

#[test]
fn all_is_held_only_if_every_part_and_millisatoshi_is() {
    let held = |status: &HoldStatus, in_flight| all_parts_held(status, HASH, Msat(5_000), in_flight);
    assert!(held(&status(HoldStateCode::Held, 2, 5_010), (2, Msat(5_010))));
    for (status, in_flight, why) in [
        (status(HoldStateCode::Waiting, 2, 5_010), (2, Msat(5_010)), "nothing is held"),
        (status(HoldStateCode::Held, 1, 2_505), (2, Msat(5_010)), "a part is missing"),
        (status(HoldStateCode::Held, 2, 5_009), (2, Msat(5_010)), "a millisatoshi is missing"),
        (status(HoldStateCode::Held, 1, 2_505), (1, Msat(2_505)), "a part has failed"),
        (status(HoldStateCode::Held, 0, 0), (0, Msat(0)), "nothing was sent"),
        (status(HoldStateCode::Failed, 2, 5_010), (2, Msat(5_010)), "it comes back"),
    ] {
        assert!(!held(&status, in_flight), "{why}");
    }
    let another = HoldStatus { hashes: Vec::new(), ..status(HoldStateCode::Held, 2, 5_010) };
    assert!(!held(&another, (2, Msat(5_010))));
}

#[test]
fn a_cancellation_succeeds_until_the_payee_has_answered() {
    for state in HoldStateCode::ALL {
        let expected = match state {
            HoldStateCode::Cancelled | HoldStateCode::Expired | HoldStateCode::Failed => Answer::GivesBack,
            HoldStateCode::Waiting | HoldStateCode::Held => Answer::Undecided,
            _ => Answer::TooLate,
        };
        assert_eq!(answer(*state), expected, "{state}");
    }
}

proptest! {
    /// What is bought is exactly enough: the payment can be held until the deadline, and still arrives if released then.
    #[test]
    fn the_hold_time_that_is_paid_for_is_enough(
        height in 0_u32..1_000_000,
        hold_blocks in 1_u32..=HOLD_BLOCKS_MAX,
        late in 0_u32..20,
        min_final in 9_u32..300,
        downstream in 0_u32..1_000,
    ) {
        let deadline = BlockHeight(height).plus(hold_blocks);
        // Blocks may come between the request and the payment.
        let height = BlockHeight(height + late.min(hold_blocks - 1));
        let extra = extra_blocks(deadline, height, min_final);
        // LDK counts from the next block.
        let outgoing_cltv = height.plus(1 + downstream + min_final + extra);
        prop_assert!(part_fits(deadline, outgoing_cltv, MARGIN));
        prop_assert!(deadline <= hold_deadline(outgoing_cltv, downstream, min_final, MARGIN));
        prop_assert!(extra <= hold_blocks + MARGIN + PAYEE_FINAL_BLOCKS);
    }
}
