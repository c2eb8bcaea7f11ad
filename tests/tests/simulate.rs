//! The simulator's short run: some thousand worlds on SQLite files, and every seed that ever found something.

use tests::simulate::{pinned, run};

/// The first seed of the short run.
const FROM: u64 = 1;

/// Worlds in the short run: four minutes' worth on two cores.
const SEEDS: u64 = 2_000;

/// Worlds that are run twice.
const TWICE: u64 = 20;

#[test]
fn no_world_loses_a_payment() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = run::many(FROM, SEEDS, threads, &std::env::temp_dir(), |_| ()).unwrap();
    for (what, count) in &summary.counts {
        println!("{count:>10}  {what}");
    }
    println!("{} worlds in {:.1?}", summary.seeds, summary.took);
    for failed in &summary.failed {
        println!("{}", failed.report());
    }
    assert!(summary.failed.is_empty(), "a world went wrong: see above");
}

#[test]
fn what_was_found_stays_mended() {
    for (seed, found) in pinned::PINNED {
        let trace = run::one(*seed, &std::env::temp_dir()).unwrap();
        assert!(trace.violations().is_empty(), "seed {seed}, {found}: {:?}", trace.violations());
    }
}

#[test]
fn a_seed_is_always_the_same_world() {
    for seed in FROM..FROM + TWICE {
        let [first, second] = [(); 2].map(|()| run::one(seed, &std::env::temp_dir()).unwrap());
        let differs = first.lines().iter().zip(second.lines()).find(|(first, second)| first != second);
        assert_eq!(first.hash(), second.hash(), "seed {seed} differs at {differs:?}");
    }
}
