//! The LSP dies at every point where its work may be half done, and no payment is lost.
//!
//! The points are the `crash_point!`s of the source. For each, the LSP is started so that it dies there, payments are made until it
//! does, it is started again, and the payment that was under way has to come to its end. A point that is never reached fails the test.
//!
//! Usually each point is tried the first time that it is reached, and those of the writer, which every story passes often, at a few
//! other moments too. With `LIGHTNING_ROD_CRASH_MATRIX=all`, every point is tried at its first, second, third ... time, until the
//! stories end before it comes so often.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tests::failure::{Failure, TestResult};
use tests::wait::{SOON, Seen, wait_until};

mod lane;
mod stories;

use lane::Lane;

/// So many LSPs, each with a chain and phones of its own, die at the same time: most of a story is waiting.
const LANES: usize = 5;

/// The writer's points come at the start already; these are in the middle of a story.
const COMMITS: [u32; 2] = [15, 40];

const ALL_VAR: &str = "LIGHTNING_ROD_CRASH_MATRIX";

/// A point, and which time that it is reached.
#[derive(Clone, Debug)]
struct Try {
    point: String,
    at: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_crash_of_an_lsp_loses_a_payment() -> TestResult {
    let all = std::env::var(ALL_VAR).is_ok_and(|value| value == "all");
    let points = points()?;
    assert!(points.len() > 20, "only {points:?}");
    let mut tries: VecDeque<Try> = points.iter().map(|point| Try { point: point.clone(), at: 1 }).collect();
    if !all {
        let commits = points.iter().filter(|point| point.ends_with("_commit"));
        tries.extend(commits.flat_map(|point| COMMITS.map(|at| Try { point: point.clone(), at })));
    }
    let started = Instant::now();
    let queue = Mutex::new(tries);
    let lanes = (0..LANES).map(|_| async {
        let mut lane = Lane::new().await?;
        let mut done = 0_u32;
        while let Some(one) = take(&queue) {
            if lane.is_used_up() {
                lane.finish().await?;
                lane = Lane::new().await?;
            }
            let name = format!("{}:{}", one.point, one.at);
            let begun = Instant::now();
            let crashed = lane
                .survive(&name)
                .await
                .map_err(|error| Failure::wrong(format!("at {name}: {}", xtask::with_causes(&error))))?;
            println!(
                "{name}: {} after {:?}",
                if crashed { "survived" } else { "not reached" },
                begun.elapsed()
            );
            if crashed {
                done += 1;
            } else if one.at == 1 || !all {
                return Err(Failure::wrong(format!("no story reached {name}")));
            }
            if crashed && all {
                give(&queue, Try { point: one.point, at: one.at + 1 });
            }
        }
        lane.finish().await?;
        Ok(done)
    });
    let done: u32 = futures::future::try_join_all(lanes).await?.iter().sum();
    println!("{done} crashes at {} points survived in {:?}", points.len(), started.elapsed());
    Ok(())
}

fn take(queue: &Mutex<VecDeque<Try>>) -> Option<Try> {
    queue.lock().ok()?.pop_front()
}

fn give(queue: &Mutex<VecDeque<Try>>, one: Try) {
    if let Ok(mut queue) = queue.lock() {
        queue.push_back(one);
    }
}

/// The names of all `crash_point!`s of the server and its storage, each of which may stand there only once.
fn points() -> Result<Vec<String>, Failure> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut points = Vec::new();
    for sources in ["storage/src", "lsp-server/src"] {
        find_points(&workspace.join(sources), &mut points)?;
    }
    // Backwards by name: those of the wakes, which wait for a lease to end, are not to come last.
    points.sort_by(|one, other| other.cmp(one));
    match points.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::wrong(format!("two crash points are called {}", pair[0]))),
        None => Ok(points),
    }
}

fn find_points(path: &Path, points: &mut Vec<String>) -> Result<(), Failure> {
    let failure = |source| Failure::File { path: path.to_owned(), source };
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(failure)? {
            find_points(&entry.map_err(failure)?.path(), points)?;
        }
        // The macro's own file shows how it is used.
    } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("storage/src/crash.rs")
    {
        let text = std::fs::read_to_string(path).map_err(failure)?;
        let names = text.split("crash_point!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        points.extend(names.map(|(name, _)| name.to_owned()));
    }
    Ok(())
}

/// Tries until it works: while an LSP is dead, nothing does.
async fn insist<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    wait_until(what, SOON, async || {
        Ok(match attempt().await {
            Ok(done) => Seen::Done(done),
            Err(error) => Seen::NotYet(xtask::with_causes(&error)),
        })
    })
    .await
}

/// Something that is to be said again now and then, since it may be lost.
struct Repeated {
    said: Option<Instant>,
}

impl Repeated {
    const INTERVAL: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self { said: None }
    }

    fn is_due(&mut self) -> bool {
        let due = self.said.is_none_or(|said| said.elapsed() >= Self::INTERVAL);
        if due {
            self.said = Some(Instant::now());
        }
        due
    }
}
