//! `cargo xtask`: the commands of this workspace.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod advisories;
mod arguments;
mod bench;
mod check;
mod crash;
mod demo;
mod fuzz;
mod postgres;
mod process;
mod simulate;
mod steps;
mod test;
mod tools;

/// The commands of this workspace. `cargo xtask <COMMAND> --help` says more about each.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Test(test::Arguments),
    Check(check::Arguments),
    Simulate(simulate::Arguments),
    Crash(crash::Arguments),
    Advisories(advisories::Arguments),
    Fuzz(fuzz::Arguments),
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Crash(arguments) => crash::run(&arguments),
        Command::Advisories(arguments) => advisories::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_narrow_what_is_tested() {
        let cargo_line = |line: &str| {
            let Command::Test(arguments) = parse(line) else { panic!("{line} is not test") };
            let (no_check, command) = arguments.split();
            let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
            (no_check, words.collect::<Vec<_>>().join(" "))
        };
        let expect = |no_check: bool, line: &str| (no_check, line.to_owned());
        assert_eq!(cargo_line("xtask test"), expect(false, "test --workspace --no-fail-fast"));
        assert_eq!(
            cargo_line("xtask test -p storage --no-check"),
            expect(true, "test --no-fail-fast -p storage")
        );
        assert_eq!(
            cargo_line("xtask test -pstorage --no-fail-fast"),
            expect(false, "test -pstorage --no-fail-fast")
        );
        assert_eq!(
            cargo_line("xtask test hold -- --nocapture --no-check -p"),
            expect(false, "test --workspace --no-fail-fast hold -- --nocapture --no-check -p")
        );
    }

    #[test]
    fn the_benchmark_gets_everything() {
        let Command::Bench(arguments) = parse("xtask bench --quick --only held") else { panic!() };
        assert_eq!(arguments.rest, ["--quick", "--only", "held"]);
    }

    #[test]
    fn the_demo_gets_what_is_not_ours() {
        let Command::Demo(arguments) = parse("xtask demo --lsps 1 --release --keep") else { panic!() };
        let (release, rest) = arguments.split();
        assert!(release);
        assert_eq!(rest, ["--lsps", "1", "--keep"]);
    }
}
