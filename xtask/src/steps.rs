//! Steps that are timed, announced and summed up.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use xtask::with_causes;

struct Outcome {
    name: String,
    failure: Option<String>,
    elapsed: Duration,
}

/// The steps that a command has run so far.
#[derive(Default)]
pub(crate) struct Steps {
    outcomes: Vec<Outcome>,
}

impl Steps {
    /// Runs one step and says how it went. Returns what the step returned, or `None` when it failed.
    pub(crate) fn run<T, E: Error + 'static>(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        eprintln!("\n==> {name}");
        let start = Instant::now();
        let result = step();
        let elapsed = start.elapsed();
        let (value, failure) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(with_causes(&error))),
        };
        let outcome = Outcome { name: name.to_owned(), failure, elapsed };
        eprintln!("    {}", line(&outcome));
        self.outcomes.push(outcome);
        value
    }

    /// Prints every step with its time, and answers with a failure if one of them failed.
    pub(crate) fn summary(self) -> ExitCode {
        let total = self.outcomes.iter().map(|outcome| outcome.elapsed).sum::<Duration>();
        eprintln!("\nSummary, {} in all:", seconds(total));
        for outcome in &self.outcomes {
            eprintln!("    {}", line(outcome));
        }
        if self.outcomes.iter().any(|outcome| outcome.failure.is_some()) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Shows what a step is busy with.
pub(crate) fn print_progress(text: &str) {
    eprintln!("    {text}");
}

fn line(outcome: &Outcome) -> String {
    let Outcome { name, failure, elapsed } = outcome;
    match failure {
        None => format!("ok      {name} ({})", seconds(*elapsed)),
        Some(why) => format!("FAILED  {name} ({}): {why}", seconds(*elapsed)),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
