use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const NOW: BlockHeight = BlockHeight(800_000);

#[test]
fn deadline_leaves_what_the_payee_and_the_route_need() {
    let outgoing_cltv = NOW.plus(1_300);
    assert_eq!(hold_deadline(outgoing_cltv, 144, 18, MARGIN), NOW.plus(1_300 - 144 - 41 - 6));
    assert_eq!(hold_deadline(outgoing_cltv, 144, 144, MARGIN), NOW.plus(1_300 - 144 - 144 - 6));
    assert_eq!(hold_deadline(BlockHeight(100), 144, 144, MARGIN), BlockHeight(0));
}

#[test]
fn grant_gives_the_smaller_of_request_and_limit() {
    let limits = HoldLimits { hold_blocks_min: 3, hold_blocks_max: 1_008 };
    assert_eq!(grant(NOW.plus(100), NOW, limits), Ok(NOW.plus(100)));
    assert_eq!(grant(NOW.plus(1_500), NOW, limits), Ok(NOW.plus(1_008)));
    let earliest = NOW.plus(3);
    assert_eq!(grant(earliest, NOW, limits), Ok(earliest));
    let deadline = NOW.plus(2);
    assert_eq!(grant(deadline, NOW, limits), Err(DeadlineError::TooSoon { deadline, earliest }));
    let (deadline, latest) = (NOW.plus(2_017), NOW.plus(2_016));
    assert_eq!(grant(deadline, NOW, limits), Err(DeadlineError::TooLate { deadline, latest }));
}

#[test]
fn part_fits_up_to_the_block() {
    let deadline = NOW.plus(100);
    assert!(part_fits(deadline, deadline.plus(47), MARGIN));
    assert!(!part_fits(deadline, deadline.plus(46), MARGIN));
    assert!(!part_fits(BlockHeight(u32::MAX), BlockHeight(u32::MAX), u32::MAX));
}

#[test]
fn settle_window_ends_where_ldk_closes_the_channel() {
    assert_eq!(settle_window(NOW.plus(144), NOW), 108);
    assert_eq!(settle_window(NOW.plus(36), NOW), 0);
    assert_eq!(settle_window(NOW, NOW.plus(10)), 0);
}

#[test]
fn an_hour_of_invoice_is_no_hold_and_two_weeks_are_a_week_of_hold() {
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    let hold = |blocks, expiry| check_invoice(NOW.plus(blocks), NOW, 1_700_000_000, 1_700_000_000 + expiry);
    assert!(hold(1, HOUR).is_err());
    assert!(hold(10, 2 * HOUR).is_err());
    assert!(hold(10, DAY).is_ok());
    assert!(hold(HOLD_BLOCKS_MAX, 7 * DAY).is_err());
    assert!(hold(HOLD_BLOCKS_MAX, 14 * DAY).is_ok());
    assert!(check_invoice(NOW.plus(10), NOW, 1_700_000_000, 1_600_000_000).is_err(), "expired already");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_computed_deadline_fits_its_own_part(
        outgoing in 1_000u32..2_000_000,
        deltas in 0u32..900,
        min_final in 0u32..200,
    ) {
        let deadline = hold_deadline(BlockHeight(outgoing), deltas, min_final, MARGIN);
        prop_assert!(deadline == BlockHeight(0) || part_fits(deadline, BlockHeight(outgoing), MARGIN));
        // LDK fails an intercepted HTLC by itself only after the deadline.
        prop_assert!(deadline == BlockHeight(0) || deadline.0 < outgoing - LDK_FAIL_BLOCKS);
    }

    #[test]
    fn final_delta_and_deadline_agree(hold_blocks in 1u32..1_500, deltas in 0u32..500, min_final in 0u32..200) {
        let final_delta = final_cltv_delta(hold_blocks, min_final, MARGIN);
        let outgoing_cltv = NOW.plus(deltas).plus(final_delta);
        prop_assert_eq!(hold_deadline(outgoing_cltv, deltas, min_final, MARGIN), NOW.plus(hold_blocks));
    }

    #[test]
    fn a_grant_is_ahead_and_within_the_limits(requested: u32, now in 0u32..4_000_000_000, min: u32, max: u32) {
        let now = BlockHeight(now);
        let limits = HoldLimits { hold_blocks_min: min, hold_blocks_max: max };
        if let Ok(deadline) = grant(BlockHeight(requested), now, limits) {
            prop_assert!(now < deadline && deadline <= BlockHeight(requested));
            prop_assert!(now.blocks_until(deadline) <= FIRST_HOP_BLOCKS_MAX);
            prop_assert!(now.blocks_until(deadline) <= max.max(min).max(1));
        }
    }

    #[test]
    fn block_time_bounds_contain_the_mean_and_never_shrink(blocks in 0u32..100_000) {
        let (fast, slow) = block_seconds(blocks);
        prop_assert!(fast <= u64::from(blocks) * 600 && u64::from(blocks) * 600 <= slow);
        let (_, slower) = block_seconds(blocks + 1);
        prop_assert!(slow < slower);
    }
}
