//! `lsp-server doctor`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::clock::SystemClock;
use crate::doctor::{self, Check, Verdict};

/// Check everything that the server needs, and say what to do about what is wrong.
///
/// Looks at the config, the files and their permissions, the database, the disk, bitcoind, the clock and the ports.
/// Changes nothing, and may be used while the server runs. The exit code is 1 if the server could not run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {}

pub(in crate::cli) async fn run(data_dir: &Path, _: Arguments, output: Output) -> Result<ExitCode, CliError> {
    let checks = doctor::examine(data_dir, &SystemClock).await;
    output.print(&checks, |checks| report(checks))?;
    let failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut line = |mark: &str, name: &str, what: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark:7}  {name:width$}  {what}");
    };
    for check in checks {
        let mark = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Warning => "WARNING",
            Verdict::Failed => "FAILED",
        };
        line(mark, check.name, &check.found);
        if !check.remedy.is_empty() {
            line("", "", &format!("-> {}", check.remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_under_its_finding() {
        let check = |name, verdict, remedy: &str| Check {
            name,
            verdict,
            found: "this".to_owned(),
            remedy: remedy.to_owned(),
        };
        let checks = [check("seed", Verdict::Ok, ""), check("clock", Verdict::Failed, "set it")];
        assert_eq!(
            report(&checks),
            "ok       seed   this\nFAILED   clock  this\n                -> set it\n"
        );
    }
}
