//! `cargo xtask check`.

use std::process::ExitCode;

use crate::process::{self, cargo};
use crate::steps::Steps;
use crate::tools::{DENY, MACHETE, TYPOS};

/// Format, lints, documentation, licences, unused dependencies, spelling.
///
/// Runs every check and reports all that failed, with the time each took: `cargo fmt --check`, clippy and rustdoc
/// with warnings denied, `cargo deny` (banned crates, licences, sources; see deny.toml), `cargo machete` (unused
/// dependencies) and typos (spelling; see typos.toml). The last three are installed into target/tools the first time,
/// at pinned versions; that takes a few minutes.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments) -> ExitCode {
    let mut steps = Steps::default();
    run_steps(&mut steps);
    steps.summary()
}

/// Cheap steps first.
pub(crate) fn run_steps(steps: &mut Steps) {
    let interop = process::interop_manifest();
    let fuzz = process::fuzz_manifest();

    steps.run("fmt", || process::run(cargo().args(["fmt", "--all", "--check"])));
    if let Some(manifest) = &interop {
        steps.run("fmt tests/interop", || {
            process::run(cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest))
        });
    }
    // What its targets call is checked with the crates that it is in; they themselves need libFuzzer, and so a C++ compiler.
    steps.run("fmt fuzz", || process::run(cargo().args(["fmt", "--check", "--manifest-path"]).arg(&fuzz)));
    // Ahead of everything that would mend the lock file in passing: one that does not fit the manifests is a finding.
    // And cargo-deny, offline, reads every crate in it, those for other platforms too.
    steps.run("fetch", || process::run(cargo().args(["fetch", "--quiet", "--locked"])));
    if let Some(manifest) = &interop {
        steps.run("fetch tests/interop", || {
            process::run(cargo().args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(manifest))
        });
    }
    steps.run("fetch fuzz", || {
        process::run(cargo().args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(&fuzz))
    });
    steps.run("typos", || TYPOS.run(&[]));
    steps.run("machete", || MACHETE.run(&["--with-metadata"]));
    steps.run("deny", || DENY.run(&["--offline", "check", "bans", "licenses", "sources"]));
    steps.run("clippy", || {
        process::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    if let Some(manifest) = &interop {
        steps.run("clippy tests/interop", || {
            let mut command = cargo();
            command.args(["clippy", "--all-targets", "--manifest-path"]).arg(manifest);
            process::run(command.args(["--", "--deny", "warnings"]))
        });
    }
    steps.run("doc", || {
        process::run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    });
    if let Some(manifest) = &interop {
        steps.run("doc tests/interop", || {
            let mut command = cargo();
            command.args(["doc", "--no-deps", "--manifest-path"]).arg(manifest);
            process::run(command.env("RUSTDOCFLAGS", "-D warnings"))
        });
    }
}
