//! Whether the files that are open are still the ones that their names mean.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::lease;

/// The database, its log and its lease. A name that is gone may come back (moved aside, a volume that went away); a name that
/// means another file now means that what is written here is read by nobody.
pub(crate) struct Files {
    database: Watched,
    log: Watched,
    lease: Watched,
}

struct Watched {
    path: PathBuf,
    /// Not known before the file is first seen: SQLite makes its log when it needs it.
    identity: Option<Identity>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// What is wrong with a file.
pub(crate) enum Astray {
    /// Nothing has this name, or it cannot be looked at.
    Gone { path: PathBuf, source: io::Error },
    /// Another database, or another log, has this name.
    Replaced { path: PathBuf },
    /// Another process can have the lease.
    LeaseLost { path: PathBuf },
}

impl Files {
    pub(crate) fn of(database: &Path) -> io::Result<Self> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self {
            database: Watched::existing(database.to_owned())?,
            log: Watched { path: log.into(), identity: None },
            lease: Watched::existing(lease::path(database))?,
        })
    }

    /// Looks at three names: a few microseconds.
    pub(crate) fn check(&mut self) -> Result<(), Astray> {
        if !self.lease.is_in_place()? {
            return Err(Astray::LeaseLost { path: self.lease.path.clone() });
        }
        for file in [&mut self.database, &mut self.log] {
            if !file.is_in_place()? {
                return Err(Astray::Replaced { path: file.path.clone() });
            }
        }
        Ok(())
    }
}

impl Watched {
    fn existing(path: PathBuf) -> io::Result<Self> {
        let identity = Some(Identity::of(&path)?);
        Ok(Self { path, identity })
    }

    fn is_in_place(&mut self) -> Result<bool, Astray> {
        match (Identity::of(&self.path), self.identity) {
            (Ok(found), Some(known)) => Ok(found == known),
            (Ok(found), None) => {
                self.identity = Some(found);
                Ok(true)
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            (Err(source), _) => Err(Astray::Gone { path: self.path.clone(), source }),
        }
    }
}

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }

    /// Whether it is there at all: elsewhere nobody can take an open file's name away.
    #[cfg(not(unix))]
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|_| Self { device: 0, inode: 0 })
    }
}
