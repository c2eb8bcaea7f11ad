//! What the workspace's commands share with the test harness and the demo: a bitcoind to run on, and the folder
//! that the built programs are in. Kept light, because every `cargo xtask` compiles it first.

use std::env;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

pub mod bitcoind;

/// Names the folder with the built `lsp-server` and `wallet` programs. `cargo xtask test` and `cargo xtask demo` set
/// it; [`bin_dir`] reads it.
pub const BIN_DIR_VAR: &str = "LIGHTNING_ROD_BIN_DIR";

/// The folder that the programs of this build are in: what [`BIN_DIR_VAR`] says, else the folder of the running
/// program, or the one above it for a test, which cargo puts into `deps/`.
///
/// # Errors
///
/// When the system cannot say where the running program is.
pub fn bin_dir() -> io::Result<PathBuf> {
    if let Some(folder) = env::var_os(BIN_DIR_VAR).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let exe = env::current_exe()?;
    folder_of_build(&exe)
        .map(Path::to_path_buf)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the running program is in no folder"))
}

fn folder_of_build(exe: &Path) -> Option<&Path> {
    let folder = exe.parent()?;
    if folder.ends_with("deps") { folder.parent() } else { Some(folder) }
}

/// The error and what caused it, on one line: for people, where the type goes no further.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_beside_the_running_one_or_above_a_test() {
        assert_eq!(folder_of_build(Path::new("/t/debug/demo")), Some(Path::new("/t/debug")));
        assert_eq!(folder_of_build(Path::new("/t/debug/deps/story-1f")), Some(Path::new("/t/debug")));
    }
}
