//! `cargo xtask`: the commands of this workspace.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod advisories;
mod arguments;
mod check;
mod demo;
mod process;
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
    Advisories(advisories::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Advisories(arguments) => advisories::run(&arguments),
    }
}
