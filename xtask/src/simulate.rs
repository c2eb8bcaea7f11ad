//! `cargo xtask simulate`.

use std::process::ExitCode;

use xtask::with_causes;

use crate::process::{self, cargo};

/// Simulated worlds: the server's own parts against a model of LDK, with faults.
///
/// Builds the simulator with optimizations and runs it. A world that goes wrong ends the run, prints all that happened in it
/// and the line that runs it alone.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed to the simulator: `--seeds N` worlds, `--from S` the first seed, `--seed S` one world with all that happens in it,
    /// `--store sqlite|memory` where the databases lie, `--threads N` worlds at once, as many as there are processors if this is not said.
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, value_name = "ARGS")]
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut simulator = cargo();
    simulator.args(["run", "--release", "--quiet", "-p", "tests", "--bin", "simulate", "--"]);
    match process::run(simulator.args(&arguments.rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
