//! `cargo xtask test`.

use std::path::Path;
use std::process::{Command, ExitCode};

use xtask::BIN_DIR_VAR;
use xtask::bitcoind::{self, EXE_VAR};

use crate::arguments::take_flag;
use crate::check;
use crate::process::{self, cargo};
use crate::steps::{Steps, print_progress};

/// Every check and every test.
///
/// Runs `cargo xtask check`, gets a bitcoind (BITCOIND_EXE, else PATH, else on Debian a download into the user's
/// cache), builds the programs, and runs `cargo test --workspace`, then the tests of tests/interop. A failed check
/// does not keep the tests from running; the command fails if anything failed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave the checks out.
    #[arg(long)]
    no_check: bool,

    /// Handed to `cargo test`, as in `cargo xtask test -p storage -- --nocapture`. With a package chosen (-p), only
    /// its tests run; with any argument, those of tests/interop do not.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut steps = Steps::default();
    let (no_check, rest) = take_flag("--no-check", arguments.no_check, &arguments.rest);
    if !no_check {
        check::run_steps(&mut steps);
    }
    // Without a bitcoind or without the programs, every test on real nodes would fail, and say less.
    let bitcoind = steps.run("bitcoind", || bitcoind::ensure(&mut print_progress));
    let built = bitcoind.and_then(|exe| {
        steps.run("build", || process::run(cargo().args(["build", "--workspace", "--bins"]))).map(|()| exe)
    });
    if let Some(exe) = built {
        steps.run("test", || process::run(with_environment(&mut test_command(&rest), &exe)));
        if let Some(manifest) = process::interop_manifest().filter(|_| rest.is_empty()) {
            steps.run("test tests/interop", || {
                let mut command = cargo();
                command.args(["test", "--no-fail-fast", "--manifest-path"]).arg(manifest);
                process::run(with_environment(&mut command, &exe))
            });
        }
    }
    steps.summary()
}

fn test_command(rest: &[String]) -> Command {
    let mut command = cargo();
    command.arg("test");
    let for_cargo: Vec<&str> =
        rest.iter().map(String::as_str).take_while(|argument| *argument != "--").collect();
    let chooses_package = for_cargo.iter().any(|argument| {
        ["-p", "--package", "--manifest-path"].contains(argument)
            || argument.starts_with("--package=")
            || (argument.starts_with("-p") && !argument.starts_with("--"))
    });
    if !chooses_package {
        command.arg("--workspace");
    }
    if !for_cargo.iter().any(|argument| ["--no-fail-fast", "--no-run"].contains(argument)) {
        command.arg("--no-fail-fast");
    }
    command.args(rest);
    command
}

/// The tests find the bitcoind, and the programs that were just built, through these.
fn with_environment<'a>(command: &'a mut Command, bitcoind: &Path) -> &'a mut Command {
    // Built in the profile that this program is in too: cargo's default.
    if let Ok(folder) = xtask::bin_dir() {
        command.env(BIN_DIR_VAR, folder);
    }
    command.env(EXE_VAR, bitcoind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(rest: &[&str]) -> String {
        let rest: Vec<String> = rest.iter().map(|&argument| argument.to_owned()).collect();
        let command = test_command(&rest);
        let arguments = command.get_args().map(|argument| argument.to_string_lossy());
        arguments.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_narrow_what_is_tested() {
        assert_eq!(command_line(&[]), "test --workspace --no-fail-fast");
        assert_eq!(command_line(&["-p", "storage"]), "test --no-fail-fast -p storage");
        assert_eq!(command_line(&["-pstorage", "--no-fail-fast"]), "test -pstorage --no-fail-fast");
        assert_eq!(
            command_line(&["hold", "--", "--nocapture", "-p"]),
            "test --workspace --no-fail-fast hold -- --nocapture -p"
        );
    }
}
