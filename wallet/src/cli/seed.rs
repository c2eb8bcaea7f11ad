//! The seed file: 64 hex digits, for its owner's eyes only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hex::{DisplayHex, FromHex};
use node::Seed;

/// Why there is no seed. No text holds any of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("cannot read the seed {}: put this wallet's own seed there", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the seed {} can be read by others (mode {mode:04o}): run `chmod 600` on it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the seed {} is damaged: expected 64 hex digits; put your copy of it there", path.display())]
    Damaged { path: PathBuf },
    #[error("cannot create the seed {}", path.display())]
    Uncreatable { path: PathBuf, source: std::io::Error },
    #[error("the system gives no entropy for a new seed")]
    Entropy,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("seed")
}

pub(super) fn load(path: &Path) -> Result<Seed, SeedError> {
    let unreadable = |source| SeedError::Unreadable { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SeedError::Exposed { path: path.to_owned(), mode });
    }
    let text = fs::read(path).map_err(unreadable)?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| <[u8; 32]>::from_hex(text.trim()).ok())
        .map(Seed::new)
        .ok_or_else(|| SeedError::Damaged { path: path.to_owned() })
}

/// Makes a seed and writes it to a new file, durably. An existing one is never overwritten.
pub(super) fn create(path: &Path) -> Result<Seed, SeedError> {
    let seed = Seed::generate().map_err(|_| SeedError::Entropy)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_seed_is_kept_for_its_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        let seed = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load(&path).unwrap().bytes(), seed.bytes());
        assert!(matches!(create(&path), Err(SeedError::Uncreatable { .. })));
        assert_eq!(load(&path).unwrap().bytes(), seed.bytes());
    }

    #[test]
    fn a_seed_that_others_could_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(SeedError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(matches!(load(&path), Err(SeedError::Damaged { .. })));
    }
}
