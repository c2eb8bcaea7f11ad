//! The tools that `check` needs, at pinned versions: everybody gets the same findings.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{self, ProcessError};

/// A program that cargo installs.
pub(crate) struct Tool {
    package: &'static str,
    program: &'static str,
    version: &'static str,
}

/// Licences, sources and banned crates.
pub(crate) const DENY: Tool = Tool { package: "cargo-deny", program: "cargo-deny", version: "0.20.2" };
/// Dependencies that nothing uses.
pub(crate) const MACHETE: Tool =
    Tool { package: "cargo-machete", program: "cargo-machete", version: "0.9.2" };
/// Spelling.
pub(crate) const TYPOS: Tool = Tool { package: "typos-cli", program: "typos", version: "1.49.0" };

/// Builds the fuzz targets; needs a nightly compiler to.
pub(crate) const FUZZ: Tool = Tool { package: "cargo-fuzz", program: "cargo-fuzz", version: "0.13.2" };

#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("cannot find the target folder")]
    TargetDir(#[source] io::Error),
    #[error("cannot install {package} {version}")]
    Install { package: &'static str, version: &'static str, source: ProcessError },
    #[error(transparent)]
    Run(#[from] ProcessError),
}

impl Tool {
    /// The tool as a command without arguments yet. It is installed first if this version is not there: that
    /// compiles it, in minutes, once.
    pub(crate) fn command(&self) -> Result<Command, ToolError> {
        let folder = process::target_dir().map_err(ToolError::TargetDir)?.join("tools");
        let path = folder.join("bin").join(self.program);
        if !self.is_at(&path) {
            self.install(&folder)?;
        }
        Ok(process::program(path))
    }

    /// Runs the tool.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(), ToolError> {
        Ok(process::run(self.command()?.args(arguments))?)
    }

    fn is_at(&self, path: &Path) -> bool {
        let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
        output.is_ok_and(|output| {
            // `cargo-deny 0.20.2`, `typos-cli 1.49.0`, or the bare number.
            let text = String::from_utf8_lossy(&output.stdout);
            output.status.success() && text.split_whitespace().last() == Some(self.version)
        })
    }

    fn install(&self, folder: &PathBuf) -> Result<(), ToolError> {
        let Self { package, version, .. } = *self;
        eprintln!("    installing {package} {version} into {} (once)", folder.display());
        let exact = format!("={version}");
        process::run(
            process::cargo()
                .args(["install", "--quiet", "--locked", "--force", package, "--version", &exact, "--root"])
                .arg(folder),
        )
        .map_err(|source| ToolError::Install { package, version, source })
    }
}
