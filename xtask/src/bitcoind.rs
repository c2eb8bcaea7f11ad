//! Finds a bitcoind for development, and on Debian fetches one without touching the system.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::with_causes;

mod debian;

pub use debian::DownloadError;

/// The variable that names the bitcoind to use, ahead of everything else.
pub const EXE_VAR: &str = "BITCOIND_EXE";

/// The oldest major version of Bitcoin Core that is used.
pub const VERSION_MIN: u32 = 26;

/// Why there is no bitcoind to run.
#[derive(Debug, thiserror::Error)]
pub enum BitcoindError {
    /// [`EXE_VAR`] is set, and what it names does not do. Nothing else is tried: whoever set it meant it.
    #[error("{EXE_VAR} names {}, which cannot be used", path.display())]
    Configured {
        /// What the variable says.
        path: PathBuf,
        /// What is wrong with it.
        source: ProbeError,
    },
    /// There is none, and none could be downloaded.
    #[error(
        "found no bitcoind: install Bitcoin Core {VERSION_MIN} or newer so that `bitcoind` is on PATH, or set \
         {EXE_VAR} to where it is (macOS: `brew install bitcoin`)"
    )]
    Missing(#[source] DownloadError),
}

/// Why a program is not taken for a bitcoind.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be started.
    #[error("it does not start")]
    Start(#[source] io::Error),
    /// `-version` ended with a failure.
    #[error("`-version` failed with {status}: {stderr}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// `-version` printed no version that we know how to read.
    #[error("`-version` does not look like a bitcoind's: {0:?}")]
    Unrecognized(String),
    /// It is older than [`VERSION_MIN`].
    #[error("its version is {0}, and {VERSION_MIN} or newer is needed")]
    TooOld(u32),
}

/// A bitcoind of version [`VERSION_MIN`] or newer that runs here. Looked for in this order: [`EXE_VAR`], `PATH`, the
/// cache of an earlier download, and on Debian a download into that cache (`lightning-rod/` in `$XDG_CACHE_HOME` or
/// `~/.cache`). Callers in several processes may ask at once: one downloads, the others wait for it.
///
/// `progress` gets a line of text before anything that takes longer than a moment.
///
/// # Errors
///
/// [`BitcoindError`], whose text says what to do about it.
pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, BitcoindError> {
    if let Some(path) = env::var_os(EXE_VAR).filter(|path| !path.is_empty()).map(PathBuf::from) {
        return match probe(&path) {
            Ok(_) => Ok(path),
            Err(source) => Err(BitcoindError::Configured { path, source }),
        };
    }
    for path in on_path(env::var_os("PATH").as_deref().unwrap_or_default()) {
        match probe(&path) {
            Ok(_) => return Ok(path),
            Err(error) => progress(&format!("not using {}: {}", path.display(), with_causes(&error))),
        }
    }
    debian::cached_or_downloaded(progress).map_err(BitcoindError::Missing)
}

fn on_path(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path).map(|folder| folder.join("bitcoind")).filter(|file| file.is_file())
}

/// Runs `exe -version` and returns the major version.
fn probe(exe: &Path) -> Result<u32, ProbeError> {
    let output =
        Command::new(exe).arg("-version").stdin(Stdio::null()).output().map_err(ProbeError::Start)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ProbeError::Failed { status: output.status, stderr });
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let first = stdout.lines().next().unwrap_or_default();
    let major = major_version(first).ok_or_else(|| ProbeError::Unrecognized(first.to_owned()))?;
    if major < VERSION_MIN { Err(ProbeError::TooOld(major)) } else { Ok(major) }
}

/// The major version in the first line of `bitcoind -version`, as in `Bitcoin Core version v26.0.0`.
fn major_version(line: &str) -> Option<u32> {
    let (name, version) = line.split_once(" version v")?;
    if !name.starts_with("Bitcoin") {
        return None;
    }
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_read_from_what_bitcoind_prints() {
        assert_eq!(major_version("Bitcoin Core version v26.0.0"), Some(26));
        assert_eq!(major_version("Bitcoin Core daemon version v30.1.0rc1"), Some(30));
        assert_eq!(major_version("Bitcoin Knots daemon version v29.4.knots20260508"), Some(29));
        assert_eq!(major_version("Elements Core version v23.2.1"), None);
        assert_eq!(major_version("Bitcoin Core version vnext"), None);
        assert_eq!(major_version(""), None);
    }

    #[test]
    fn programs_that_are_no_bitcoind_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| {
            let path = folder.path().join(name);
            // Copied from a closed file: a script that this process has open for writing while another test
            // forks cannot be executed ("text file busy").
            let draft = folder.path().join(format!("{name}.draft"));
            fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
            assert!(Command::new("cp").arg("-p").arg(&draft).arg(&path).status().unwrap().success());
            path
        };
        assert!(matches!(probe(&folder.path().join("none")), Err(ProbeError::Start(_))));
        assert!(matches!(
            probe(&script("fails", "echo broken >&2; exit 3")),
            Err(ProbeError::Failed { stderr, .. }) if stderr == "broken"
        ));
        assert!(matches!(probe(&script("other", "echo hello")), Err(ProbeError::Unrecognized(_))));
        assert!(matches!(
            probe(&script("old", "echo Bitcoin Core version v25.2.0")),
            Err(ProbeError::TooOld(25))
        ));
        assert_eq!(probe(&script("good", "echo Bitcoin Core version v31.0.0")).unwrap(), 31);
    }
}
