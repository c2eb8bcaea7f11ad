//! `cargo xtask test`.

use std::path::Path;
use std::process::{Command, ExitCode};

use xtask::BIN_DIR_VAR;
use xtask::bitcoind::{self, EXE_VAR};

use crate::arguments::take_flag;
use crate::check;
use crate::postgres::{self, Server};
use crate::process::{self, Beside, cargo};
use crate::steps::{Steps, print_progress};

/// Every check and every test.
///
/// Runs `cargo xtask check`, gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's
/// cache), starts a Postgres of its own if `initdb` and `postgres` are installed (LIGHTNING_ROD_POSTGRES_URL names another),
/// builds the programs, and runs `cargo test --workspace`, the unit tests and those of webhooks over Lightning once more on Postgres, then
/// the tests of tests/interop.
/// The simulator's worlds run beside the other tests, at the lowest priority: they need the processor, the others mostly wait.
/// A failed check does not keep the tests from running; the command fails if anything failed, a Postgres that is installed and
/// does not start included.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave the checks out.
    #[arg(long)]
    no_check: bool,

    /// Handed to `cargo test`, as in `cargo xtask test -p storage -- --nocapture`. With a package chosen (-p), only
    /// its tests run; with any argument, those of tests/interop do not.
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<String>,

    /// Handed to the test programs, as in `cargo xtask test -- --nocapture`.
    #[arg(last = true, value_name = "TEST ARGS")]
    for_tests: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut steps = Steps::default();
    let (no_check, mut test) = arguments.split();
    if !no_check {
        check::run_steps(&mut steps);
    }
    // Without a bitcoind or without the programs, every test on real nodes would fail, and say less.
    let bitcoind = steps.run("bitcoind", || bitcoind::ensure(&mut print_progress));
    let postgres = start_postgres(&mut steps);
    // All targets: built together with the tests, the programs share every dependency with them; alone, they would
    // have some compiled once more with fewer features.
    let built = bitcoind.and_then(|exe| {
        steps
            .run("build", || process::run(cargo().args(["build", "--workspace", "--all-targets"])))
            .map(|()| exe)
    });
    let mut counts = Counts::default();
    if let Some(exe) = built {
        let worlds = arguments.ask_for_all().then(|| {
            // Whatever else a package has in its tests knows no such name.
            test.args(["--", "--skip", SIMULATED_WORLDS]);
            Beside::start("cargo test", with_environment(&mut simulated_worlds(), &exe, None))
        });
        steps.run("test", || {
            process::run_reading(with_environment(&mut test, &exe, postgres.url()), |line| counts.read(line))
        });
        if arguments.ask_for_all() && postgres.is_there() {
            for (step, mut command) in
                [("test on Postgres", on_postgres()), ("test webhooks on Postgres", webhooks_on_postgres())]
            {
                steps.run(step, || {
                    process::run_reading(with_environment(&mut command, &exe, postgres.url()), |line| {
                        counts.read(line)
                    })
                });
            }
        }
        if let Some(worlds) = worlds {
            steps.run("test simulated worlds", || worlds.finish(|line| counts.read(line)));
        }
        if let Some(manifest) = process::interop_manifest().filter(|_| arguments.ask_for_all()) {
            steps.run("test tests/interop", || {
                let mut command = cargo();
                command.args(["test", "--no-fail-fast", "--manifest-path"]).arg(manifest);
                process::run_reading(with_environment(&mut command, &exe, None), |line| counts.read(line))
            });
        }
    }
    let outcome = steps.summary();
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if matches!(postgres, Postgres::NotInstalled) {
        println!("SKIPPED: every test on Postgres, since none is installed");
    }
    outcome
}

/// The one test that takes minutes of the processor. If it ever has another name, it runs with all the others.
const SIMULATED_WORLDS: &str = "no_world_loses_a_payment";

/// Where nothing waits for it, the processor's time is the simulator's.
fn simulated_worlds() -> Command {
    // `--workspace`: the features that everything else was built with.
    let mut command = process::at_lowest_priority(&cargo());
    command.args(["test", "--workspace", "--test", "simulate", "--", SIMULATED_WORLDS, "--nocapture"]);
    command
}

/// The tests that run on one kind of database, which was SQLite before.
fn on_postgres() -> Command {
    // `--workspace`: the features that everything else was built with.
    let mut command = cargo();
    command.args(["test", "--workspace", "--lib", "--no-fail-fast", "--", "--skip", "on_both"]);
    command.env(postgres::USUAL_VAR, "postgres");
    command
}

/// Webhooks that phones set over Lightning, on real processes with their databases there.
fn webhooks_on_postgres() -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--test", "own_devices", "--no-fail-fast", "--", "lsps5"]);
    command.env(postgres::USUAL_VAR, "postgres");
    command
}

/// What the tests on Postgres run on.
enum Postgres {
    Ours(Server),
    /// Named by the environment.
    Theirs,
    NotInstalled,
    Failed,
}

impl Postgres {
    fn is_there(&self) -> bool {
        matches!(self, Self::Ours(_) | Self::Theirs)
    }

    fn url(&self) -> Option<&str> {
        match self {
            Self::Ours(server) => Some(server.url()),
            Self::Theirs | Self::NotInstalled | Self::Failed => None,
        }
    }
}

fn start_postgres(steps: &mut Steps) -> Postgres {
    if std::env::var_os(postgres::URL_VAR).is_some_and(|url| !url.is_empty()) {
        return Postgres::Theirs;
    }
    let Some(programs) = postgres::programs() else {
        print_progress("SKIPPED: found no initdb and postgres: nothing is tested on Postgres");
        return Postgres::NotInstalled;
    };
    let target = steps.run("target folder", process::target_dir);
    let server = target.and_then(|target| steps.run("postgres", || Server::start(&programs, &target)));
    server.map_or(Postgres::Failed, Postgres::Ours)
}

/// What all the test programs say together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// A test program closes with `test result: ok. 3 passed; 0 failed; ...`.
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<_> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                _ => {}
            }
        }
    }
}

impl Arguments {
    fn ask_for_all(&self) -> bool {
        self.rest.is_empty() && self.for_tests.is_empty()
    }

    /// Whether to leave the checks out, and the `cargo test` of this workspace.
    pub(crate) fn split(&self) -> (bool, Command) {
        let (no_check, rest) = take_flag("--no-check", self.no_check, &self.rest);
        let mut command = cargo();
        command.arg("test");
        // Cargo refuses to be told some of these twice, and `--workspace` would outdo `-p`.
        let for_cargo: Vec<&str> = rest.iter().map(String::as_str).take_while(|word| *word != "--").collect();
        let chooses_package = |word: &&str| {
            (word.starts_with("-p") && !word.starts_with("--"))
                || word.starts_with("--package=")
                || ["--package", "--workspace", "--all"].contains(word)
        };
        if !for_cargo.iter().any(chooses_package) {
            command.arg("--workspace");
        }
        if !for_cargo.iter().any(|word| ["--no-fail-fast", "--no-run"].contains(word)) {
            command.arg("--no-fail-fast");
        }
        command.args(rest);
        if !self.for_tests.is_empty() {
            command.arg("--").args(&self.for_tests);
        }
        (no_check, command)
    }
}

/// The tests find the bitcoind, and the programs that were just built, through these.
fn with_environment<'a>(
    command: &'a mut Command,
    bitcoind: &Path,
    postgres: Option<&str>,
) -> &'a mut Command {
    if let Some(url) = postgres {
        command.env(postgres::URL_VAR, url);
    }

    // Built in the profile that this program is in too: cargo's default.
    if let Ok(folder) = xtask::bin_dir() {
        command.env(BIN_DIR_VAR, folder);
    }
    command.env(EXE_VAR, bitcoind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut counts = Counts::default();
        counts.read("running 3 tests");
        counts.read(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        counts.read("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(counts, Counts { passed: 7, failed: 2 });
    }
}
