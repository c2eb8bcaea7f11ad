//! The short form of the crash matrix. `cargo xtask crash` runs the whole one.

use tests::crash::{Options, run, spoil_one_thing_after_the_other};
use tests::failure::TestResult;

/// Rounds in which everybody is killed at a random moment.
const RANDOM: u32 = 3;

/// Always the same, so that a failure is no accident of the day.
const SEED: u64 = 1;

const LANES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn no_crash_of_anybody_loses_a_payment() -> TestResult {
    let options = Options {
        whole: false,
        point: None,
        role: None,
        story: None,
        every: false,
        random_only: false,
        random: RANDOM,
        seed: SEED,
        lanes: LANES,
    };
    let report = run(&options).await?;
    println!("{report}");
    assert!(report.is_good(), "{report}");
    Ok(())
}

/// A matrix whose checks see nothing would pass, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_checks_see_what_is_wrong() -> TestResult {
    spoil_one_thing_after_the_other().await?;
    Ok(())
}
