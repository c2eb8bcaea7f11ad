//! What a process is to die of, and whether it did.

use std::collections::VecDeque;
use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;

/// Of `abort`.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// The variables that [`storage::crash`] reads, which may not be linked here.
const CRASH_AT: &str = "LIGHTNING_ROD_CRASH_AT";
const CRASH_TRACE: &str = "LIGHTNING_ROD_CRASH_TRACE";

/// One way to die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doom {
    /// At a crash point: its name, or `name:N` for the N-th time that one process reaches it.
    At(String),
    /// By `kill -9` from outside, when its processes have run for so long together.
    After(Duration),
}

impl fmt::Display for Doom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(point) => f.write_str(point),
            Self::After(runtime) => write!(f, "kill -9 after {} ms", runtime.as_millis()),
        }
    }
}

/// The dooms of one program, which is started again and again: each start may die of the next one. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    dooms: VecDeque<Doom>,
    deaths: usize,
    traced: bool,
    /// It is to be off for a while, which is no death.
    resting: bool,
    /// How much of an [`Doom::After`] is over.
    run: Duration,
    started: Option<Instant>,
}

impl Fate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next start on it dies of these, one after the other; of what it was to die of before, no more.
    pub fn set(&self, dooms: impl IntoIterator<Item = Doom>) {
        let mut state = self.state();
        state.dooms = dooms.into_iter().collect();
        state.run = Duration::ZERO;
        state.deaths = 0;
    }

    /// From the next start on its log tells of every crash point that it reaches.
    pub fn trace(&self) {
        self.state().traced = true;
    }

    /// How often it has died since the last [`Fate::set`].
    pub fn deaths(&self) -> usize {
        self.state().deaths
    }

    /// Everything that was to happen has.
    pub fn is_fulfilled(&self) -> bool {
        self.state().dooms.is_empty()
    }

    /// From now on no process of it runs, until [`Fate::resume`]: whoever looks after it ends the one that does. What it is to
    /// die of stays.
    pub fn rest(&self) {
        self.state().resting = true;
    }

    /// It may run again.
    pub fn resume(&self) {
        self.state().resting = false;
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.state().resting
    }

    /// For the process that is about to start.
    pub(crate) fn begin(&self, command: &mut Command) {
        let mut state = self.state();
        state.started = Some(Instant::now());
        match state.dooms.front() {
            Some(Doom::At(point)) => command.env(CRASH_AT, point),
            _ => command.env_remove(CRASH_AT),
        };
        if state.traced {
            command.env(CRASH_TRACE, "1");
        }
    }

    /// Whether the running process is to be killed now.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        match (state.dooms.front(), state.started) {
            (Some(Doom::After(runtime)), Some(started)) => state.run + started.elapsed() >= *runtime,
            _ => false,
        }
    }

    /// The process has ended. True if that was its doom.
    pub(crate) fn end(&self, status: ExitStatus) -> bool {
        let mut state = self.state();
        let run = state.started.take().map_or(Duration::ZERO, |started| started.elapsed());
        let due = match state.dooms.front() {
            Some(Doom::At(_)) => status.signal() == Some(SIGABRT),
            Some(Doom::After(runtime)) => status.signal() == Some(SIGKILL) && state.run + run >= *runtime,
            None => false,
        };
        if due {
            state.dooms.pop_front();
            state.deaths += 1;
            state.run = Duration::ZERO;
        } else {
            state.run += run;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABORTED: i32 = SIGABRT;
    const KILLED: i32 = SIGKILL;

    #[test]
    fn a_program_dies_of_one_thing_after_the_other() {
        let fate = Fate::default();
        fate.set([Doom::At("here".to_owned()), Doom::At("there:2".to_owned())]);
        fate.begin(&mut Command::new("true"));
        assert!(!fate.end(ExitStatus::from_raw(0)), "it ended before it came there");
        assert!(fate.end(ExitStatus::from_raw(ABORTED)));
        assert!(!fate.is_fulfilled());
        assert!(!fate.end(ExitStatus::from_raw(KILLED)), "nobody was to kill it");
        assert!(fate.end(ExitStatus::from_raw(ABORTED)));
        assert!(fate.is_fulfilled() && fate.deaths() == 2);
        assert!(!fate.end(ExitStatus::from_raw(ABORTED)), "one abort too many");
    }

    #[test]
    fn the_time_to_live_is_that_of_all_its_processes() {
        let fate = Fate::default();
        fate.set([Doom::After(Duration::ZERO)]);
        assert!(!fate.is_over(), "it does not run");
        fate.begin(&mut Command::new("true"));
        assert!(fate.is_over());
        assert!(fate.end(ExitStatus::from_raw(KILLED)));
        assert!(!fate.is_over());
        fate.set([Doom::After(Duration::from_secs(3600))]);
        fate.begin(&mut Command::new("true"));
        assert!(!fate.is_over());
    }
}
