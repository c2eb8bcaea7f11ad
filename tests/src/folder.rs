//! Temporary folders that do not outlive the program, however it ends.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::Failure;
use crate::process::guardian;

/// A temporary folder, removed on drop.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// A fresh one.
    ///
    /// # Errors
    ///
    /// When the system's temporary folder cannot be written to.
    pub fn new() -> Result<Self, Failure> {
        Self::new_in(&std::env::temp_dir())
    }

    /// A fresh one in `parent`.
    ///
    /// # Errors
    ///
    /// When `parent` cannot be written to.
    pub fn new_in(parent: &Path) -> Result<Self, Failure> {
        let failure = |source| Failure::File { path: parent.to_owned(), source };
        let folder = tempfile::Builder::new().prefix("lightning-rod-").tempdir_in(parent).map_err(failure)?;
        guardian::watch_folder(folder.path()).map_err(failure)?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Keeps it on disk for good.
    pub fn keep(self) -> PathBuf {
        self.0.keep()
    }
}
