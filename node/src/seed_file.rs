//! The seed file: 64 hex digits, for its owner's eyes only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bitcoin::hex::{DisplayHex, FromHex};

use crate::Seed;

/// Why there is no seed. No text holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// There is none, or not for this user.
    #[error("cannot read the seed {}: put the node's own seed there, or run `init` for a new node", path.display())]
    Unreadable {
        /// The seed file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the seed {} can be read by others (mode {mode:04o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The seed file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Damaged.
    #[error("the seed {} is damaged: expected 64 hex digits; put your copy of it there", path.display())]
    Damaged {
        /// The seed file.
        path: PathBuf,
    },
    /// It cannot be written; an existing one is never overwritten.
    #[error("cannot create the seed {}", path.display())]
    Uncreatable {
        /// The seed file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No randomness.
    #[error("the system gives no entropy for a new seed: {0}")]
    Entropy(getrandom::Error),
}

impl Seed {
    /// Reads a seed file, unless others could too.
    ///
    /// # Errors
    /// [`SeedError`]
    pub fn load(path: &Path) -> Result<Self, SeedError> {
        let unreadable = |source| SeedError::Unreadable { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(unreadable)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SeedError::Exposed { path: path.to_owned(), mode });
        }
        let text = fs::read(path).map_err(unreadable)?;
        std::str::from_utf8(&text)
            .ok()
            .and_then(|text| <[u8; 32]>::from_hex(text.trim()).ok())
            .map(Self::new)
            .ok_or_else(|| SeedError::Damaged { path: path.to_owned() })
    }

    /// Makes a seed and writes it to a new file, durably, readable by its owner only.
    ///
    /// # Errors
    /// [`SeedError`]; when the file is there already, above all.
    pub fn create(path: &Path) -> Result<Self, SeedError> {
        let seed = Self::generate().map_err(SeedError::Entropy)?;
        let uncreatable = |source| SeedError::Uncreatable { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(uncreatable)?;
        let written = writeln!(file, "{}", seed.bytes().as_hex()).and_then(|()| file.sync_all());
        if let Err(source) = written {
            // Half a seed is none, and would stand in the way of the next attempt. The file is ours: it was new.
            let _ = fs::remove_file(path);
            return Err(uncreatable(source));
        }
        Ok(seed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_seed_is_kept_for_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let made = Seed::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Seed::load(&path).unwrap().bytes(), made.bytes());
        assert!(matches!(Seed::create(&path), Err(SeedError::Uncreatable { .. })));
        assert_eq!(Seed::load(&path).unwrap().bytes(), made.bytes());
    }

    #[test]
    fn a_seed_that_others_can_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        assert!(matches!(Seed::load(&path), Err(SeedError::Unreadable { .. })));
        Seed::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Seed::load(&path).unwrap_err();
        assert!(
            matches!(error, SeedError::Exposed { mode: 0o640, .. }) && error.to_string().contains("0640"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(matches!(Seed::load(&path), Err(SeedError::Damaged { .. })));
    }
}
