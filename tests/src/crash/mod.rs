//! The crash matrix: everybody dies wherever work may be half done, and no payment is lost.
//!
//! Two LSPs and two phones with real wallets, each a process. A *story* is a payment; in a *round* one is told while one or
//! more of the four die: at a crash point of the source, the first time or the N-th that it is reached, once more while they
//! recover, or by `kill -9` at a random moment. Dead LSPs are started again at once, dead wallets by the next push or by their
//! user. After each round everything is looked at: see `check.rs`.
//!
//! Which points there are is read from the source, and who reaches which of them when, from a round in which nobody dies. A point
//! that no process of its program has died at in the end is a failure.

mod check;
mod lane;
mod plan;
mod planted;
mod points;
mod report;
mod rows;
mod stories;
mod world;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use lane::{Dooms, Lane, Outcome};
use plan::{Found, Round, Try};

pub use planted::spoil_one_thing_after_the_other;
pub use points::{Kind, Role};
pub use report::Report;
pub use stories::Story;

/// A phone whose wallet died is opened by its user after this time ...
const PATIENCE: Duration = Duration::from_millis(500);

/// ... or, in every other round of a whole run, after this one: the LSP's next push may come before.
const LONG_PATIENCE: Duration = Duration::from_secs(12);

/// What was not reached in company is tried alone, this often.
const ALONE_MAX: u32 = 2;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every occurrence of every point in every story, one at a time; else each point once, four processes at a time.
    pub whole: bool,
    /// Only this point.
    pub point: Option<String>,
    /// Only this process dies.
    pub role: Option<Role>,
    /// Only this story is told.
    pub story: Option<Story>,
    /// In a whole run, every single time that a point is reached, instead of some of them.
    pub every: bool,
    /// No points, only random moments.
    pub random_only: bool,
    /// Rounds in which everybody who may die is killed at a random moment.
    pub random: u32,
    /// For those moments.
    pub seed: u64,
    /// How many stories are told at the same time, each on a chain of its own: most of a story is waiting.
    pub lanes: usize,
}

/// What is left to do, and what came of the rest.
struct Work {
    rounds: Mutex<VecDeque<Round>>,
    report: Mutex<Report>,
    planned: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it, telling how it goes on standard output.
///
/// # Errors
///
/// When the stories cannot be told even while nobody dies. What fails after that is in the report.
pub async fn run(options: &Options) -> Result<Report, Failure> {
    let started = Instant::now();
    let stories = match (options.story, options.random_only) {
        (Some(story), _) => vec![story],
        (None, true) => vec![Story::Main, Story::Mpp],
        // The longest first, since they are told side by side.
        (None, false) => Story::ALL.into_iter().rev().collect(),
    };
    println!("seed {}; {} stories in which nobody dies", options.seed, stories.len());
    let (found, spare) = discover(stories, options.lanes).await?;
    println!("{} points found at work, {:.0} s", found.len(), started.elapsed().as_secs_f64());

    let rounds = plan::plan(options, &found)?;
    let work = Work { planned: rounds.len(), rounds: Mutex::new(rounds.into()), report: Mutex::default() };
    println!("{} rounds", work.planned);
    let spare = Mutex::new(spare);
    let lanes = (0..options.lanes.max(1)).map(|_| work.serve(options, &spare));
    futures::future::join_all(lanes).await.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    let unused = std::mem::take(&mut *lock(&spare));
    for lane in unused {
        lane.finish().await?;
    }
    let mut report = work.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.close(options, started.elapsed())?;
    Ok(report)
}

/// Tells each story once, and answers what everybody reaches in it. The lanes can be used again.
async fn discover(stories: Vec<Story>, lanes: usize) -> Result<(Found, Vec<Lane>), Failure> {
    let queue = Mutex::new(VecDeque::from(stories));
    let found = Mutex::new(Found::default());
    let lanes = (0..lanes.max(1)).map(|_| async {
        let mut lane = None::<Lane>;
        loop {
            let Some(story) = lock(&queue).pop_front() else { break };
            let mut there = fresh(lane.take(), story).await?;
            let begun = Instant::now();
            let nobody = Dooms::default();
            let outcome = there.survive(story, &nobody, PATIENCE).await.map_err(|error| {
                Failure::wrong(format!("{story}, with nobody dying: {}", xtask::with_causes(&error)))
            })?;
            println!("  {story}: {:.1} s", begun.elapsed().as_secs_f64());
            lock(&found).add(story, outcome.reached);
            lane = Some(there);
        }
        Ok::<_, Failure>(lane)
    });
    let lanes = futures::future::try_join_all(lanes).await?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((found, lanes.into_iter().flatten().collect()))
}

/// The same lane if the story can be told in it.
async fn fresh(lane: Option<Lane>, story: Story) -> Result<Lane, Failure> {
    match lane {
        Some(lane) if !lane.is_used_up(story) => Ok(lane),
        lane => {
            if let Some(lane) = lane {
                lane.finish().await?;
            }
            Lane::new(story == Story::Mpp).await
        }
    }
}

impl Work {
    async fn serve(&self, options: &Options, spare: &Mutex<Vec<Lane>>) -> Result<(), Failure> {
        let mut lane = None::<Lane>;
        let mut told = 0_usize;
        while let Some(round) = self.take(lane.as_ref()) {
            if lane.as_ref().is_none_or(|lane| lane.is_used_up(round.story)) {
                let mut spare = lock(spare);
                if let Some(index) = spare.iter().position(|lane| !lane.is_used_up(round.story)) {
                    let better = spare.swap_remove(index);
                    spare.extend(lane.replace(better));
                }
            }
            let mut there = match fresh(lane.take(), round.story).await {
                Ok(there) => there,
                // The other rounds go on.
                Err(error) => {
                    let words =
                        format!("{}, before anybody died: {}", round.story, xtask::with_causes(&error));
                    println!("FAILED {words}");
                    lock(&self.report).failed(&round, words);
                    continue;
                }
            };
            told += 1;
            let patience = if options.whole && told.is_multiple_of(2) { LONG_PATIENCE } else { PATIENCE };
            let begun = Instant::now();
            let dooms = round.dooms();
            match there.survive(round.story, &dooms, patience).await {
                Ok(outcome) => {
                    self.judge(round, &dooms, &outcome, begun.elapsed());
                    lane = Some(there);
                }
                Err(error) => {
                    let words = format!("{}, {dooms}: {}", round.story, xtask::with_causes(&error));
                    println!("FAILED {words}");
                    lock(&self.report).failed(&round, words);
                    // What is wrong in it is shown when it is dropped.
                    drop(there);
                }
            }
        }
        if let Some(lane) = lane {
            lane.finish().await?;
        }
        Ok(())
    }

    /// Preferably one that the lane can be used for.
    fn take(&self, lane: Option<&Lane>) -> Option<Round> {
        let mut rounds = lock(&self.rounds);
        let fitting = lane.and_then(|lane| rounds.iter().position(|round| !lane.is_used_up(round.story)));
        rounds.remove(fitting.unwrap_or(0))
    }

    fn judge(&self, round: Round, dooms: &Dooms, outcome: &Outcome, elapsed: Duration) {
        let mut report = lock(&self.report);
        let mut again = Vec::new();
        let alone = round.tries.len() == 1;
        for one in round.tries {
            let deaths = outcome.deaths[one.role.index()];
            report.deaths(&one, deaths);
            if deaths == one.dooms.len() || !one.must_come {
                continue;
            }
            if alone && one.alone >= ALONE_MAX {
                report.not_reached(&one);
            } else {
                let mut again_one = Try { alone: one.alone + u32::from(alone), ..one };
                // Some points come by chance in one story and always in another.
                let story = again_one.elsewhere.pop().unwrap_or(round.story);
                again.push(Round { story, tries: vec![again_one] });
            }
        }
        let died: usize = outcome.deaths.iter().sum();
        report.told(round.story, elapsed);
        println!(
            "[{}/{}] {}, {dooms}: {died} deaths survived in {:.1} s{}",
            report.rounds(),
            self.planned,
            round.story,
            elapsed.as_secs_f64(),
            if again.is_empty() { "" } else { "; not all were reached" }
        );
        drop(report);
        lock(&self.rounds).extend(again);
    }
}
