use super::*;

const NOW: u64 = 1_800_000_000;
const HEIGHT: BlockHeight = BlockHeight(500);
const MAINNET: ChainLimits = ChainLimits { stall_secs: 7_200, ahead_secs_max: 7_200, block_secs_min: 540 };

fn report(blocks: u32) -> ChainReport {
    ChainReport {
        blocks,
        headers: blocks,
        tip: format!("tip {blocks}"),
        tip_time: Some(NOW),
        is_syncing: false,
        connections: Some(8),
    }
}

fn watch() -> ChainWatch {
    let watch = ChainWatch::new(Network::Bitcoin, MAINNET);
    assert_eq!(watch.observe(Some(&report(500)), HEIGHT, NOW), None);
    watch
}

/// What is wrong after `report` was said again and again for `secs`.
fn after(watch: &ChainWatch, report: Option<&ChainReport>, secs: u64) -> Option<ChainTrouble> {
    for second in 0..=secs {
        watch.observe(report, HEIGHT, NOW + second);
    }
    watch.health().trouble
}

#[test]
fn a_chain_in_order_is_no_trouble() {
    assert_eq!(after(&watch(), Some(&report(500)), 7_199), None);
    assert_eq!(
        watch().cautious_height(HEIGHT, NOW + 1_000_000),
        HEIGHT,
        "nothing is estimated without trouble"
    );
}

#[test]
fn silence_is_trouble_after_a_moment_and_over_with_an_answer() {
    let watch = watch();
    assert_eq!(after(&watch, None, UNREACHABLE_SECS - 1), None);
    assert_eq!(after(&watch, None, UNREACHABLE_SECS), Some(ChainTrouble::Unreachable));
    let over = watch.observe(Some(&report(500)), HEIGHT, NOW + 60);
    assert_eq!(over.map(|health| (health.trouble, health.since_unix)), Some((None, NOW + 60)));
}

#[test]
fn every_lie_has_its_name() {
    let cases = [
        (ChainReport { is_syncing: true, ..report(500) }, ChainTrouble::Syncing, 0),
        (report(499), ChainTrouble::WentBack, WENT_BACK_SECS),
        (ChainReport { headers: 503, ..report(500) }, ChainTrouble::BehindHeaders, BEHIND_SECS),
        (report(503), ChainTrouble::NotFollowing, BEHIND_SECS),
        (ChainReport { connections: Some(0), ..report(500) }, ChainTrouble::NoPeers, BEHIND_SECS),
    ];
    for (lie, trouble, secs) in cases {
        let watch = watch();
        if secs > 0 {
            assert_eq!(after(&watch, Some(&lie), secs - 1), None, "{trouble:?} too early");
        }
        assert_eq!(after(&watch, Some(&lie), secs), Some(trouble));
        // It goes silent: what was wrong still is.
        watch.observe(None, HEIGHT, NOW + secs + 1);
        if secs > 0 {
            assert_eq!(watch.health().trouble, Some(trouble));
        }
    }
    let near = ChainReport { headers: 502, ..report(500) };
    assert_eq!(after(&watch(), Some(&near), 3_600), None);
}

#[test]
fn times_that_cannot_be_are_noticed() {
    let judged = |tip_time, tip: &str, now| {
        let watch = watch();
        let new = ChainReport { tip: tip.to_owned(), tip_time: Some(tip_time), ..report(500) };
        watch.observe(Some(&new), HEIGHT, now);
        watch.health().trouble
    };
    assert_eq!(judged(NOW + 7_200, "new", NOW), None);
    assert_eq!(judged(NOW + 7_201, "new", NOW), Some(ChainTrouble::AheadOfClock));
    assert_eq!(judged(NOW, "new", NOW + 14_399), None, "it came just now, and slow miners make old times");
    assert_eq!(judged(NOW, "new", NOW + 14_400), Some(ChainTrouble::BehindClock));
    assert_eq!(judged(NOW, "tip 500", NOW + 7_200), Some(ChainTrouble::Stalled));
}

#[test]
fn a_bitcoind_that_was_stuck_at_the_start_is_stuck() {
    let watch = ChainWatch::new(Network::Bitcoin, MAINNET);
    let old = ChainReport { tip_time: Some(NOW - 7_200), ..report(500) };
    watch.observe(Some(&old), HEIGHT, NOW);
    assert_eq!(watch.health().trouble, Some(ChainTrouble::Stalled));
}

#[test]
fn in_trouble_the_clock_says_how_high_the_chain_may_be() {
    let watch = watch();
    assert_eq!(after(&watch, None, 60), Some(ChainTrouble::Unreachable));
    assert_eq!(watch.cautious_height(HEIGHT, NOW + 539), HEIGHT);
    assert_eq!(watch.cautious_height(HEIGHT, NOW + 540), HEIGHT.plus(1));
    assert_eq!(watch.cautious_height(HEIGHT, NOW + 86_400), HEIGHT.plus(160));
    assert_eq!(watch.cautious_height(HEIGHT, 0), HEIGHT, "a clock that goes back takes nothing away");
}

#[test]
fn regtest_is_only_judged_by_what_is_set() {
    let watch = ChainWatch::new(Network::Regtest, ChainLimits::of(Network::Regtest));
    let odd = ChainReport { connections: Some(0), tip_time: Some(NOW + 1_000_000), ..report(500) };
    assert_eq!(after(&watch, Some(&odd), 100_000), None);
}
