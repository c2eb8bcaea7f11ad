//! No start from an old copy of the database.
//!
//! A node that starts from an old copy has forgotten which commitments it revoked, and may publish one. The database counts its
//! generations, and witnesses outside it remember how far it had come; see ADR 10.

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::{Database, Generation, StorageError, Witness, WitnessError};

use crate::config::Config;

/// How old a copy may be that cannot be told from the newest state: the count goes up at this pace while anything is written.
const ADVANCE_INTERVAL: Duration = Duration::from_secs(60);

/// In the data directory: the first witness.
pub const WITNESS_FILE: &str = "witness";

/// In the data directory: a peer has proved that this database is old.
const STALE_FILE: &str = "stale";

/// Why the server does not start from this database. Nothing was told to anybody.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The copy is older than what its witness saw.
    #[error(
        "the database is an OLD COPY: it is at {found}, and {} saw {witnessed}. Starting from it may lose whole \
         channels. Put the newest database in place; `docs/operations.md`, Backup, says what else there is",
        witness.display()
    )]
    Stale {
        /// Of the database.
        found: Generation,
        /// Of the witness.
        witnessed: Generation,
        /// Its path.
        witness: PathBuf,
    },
    /// The witness saw another database, or this one has never been witnessed.
    #[error(
        "{} belongs to another database than the one that is configured, or to one that is lost: put the right database in \
         place (see `docs/operations.md`, Backup)",
        witness.display()
    )]
    Foreign {
        /// Its path.
        witness: PathBuf,
    },
    /// Nobody can say whether this is the newest state.
    #[error(
        "the database has run before (it is at {found}), and its witness {} is missing: if it is a copy, put the newest \
         database and its witness in place; if it is certainly the newest state, see `lsp-server accept-database --help`",
        witness.display()
    )]
    NoWitness {
        /// Of the database.
        found: Generation,
        /// Where the witness should be.
        witness: PathBuf,
    },
    /// A peer proved it, in an earlier run.
    #[error(
        "a peer has PROVED that this database is an old copy ({} says when): it must not run. `docs/operations.md`, \
         Backup, says what can be saved",
        marker.display()
    )]
    ProvedStale {
        /// The file that remembers it.
        marker: PathBuf,
    },
    /// `accept-database` names another generation than the database has.
    #[error("the database is at {found}, not at generation {named}: nothing was changed")]
    OtherGeneration {
        /// Of the database.
        found: Generation,
        /// By the operator.
        named: u64,
    },
    /// `accept-database`: the database was never witnessed.
    #[error("the database has no generation yet: there is nothing to accept")]
    NothingToAccept,
    /// A witness cannot be used.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// A file beside it cannot be used.
    #[error("{} cannot be removed", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The database's witnesses.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The first is in the data directory.
    witnesses: Vec<Witness>,
    marker: PathBuf,
}

/// Where it is remembered that a peer has proved the database of this data directory to be old.
pub(crate) fn stale_marker(data_dir: &Path) -> PathBuf {
    data_dir.join(STALE_FILE)
}

/// Remembers it, for the next start to refuse.
pub(crate) fn mark_stale(marker: &Path, words: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(marker)?;
    writeln!(file, "{words}")?;
    file.sync_all()
}

impl Guard {
    /// The guard of a configured database.
    pub fn new(config: &Config) -> Self {
        let first = Witness::at(config.data_dir.join(WITNESS_FILE));
        let second = config.database_witness.clone().map(Witness::at);
        Self {
            witnesses: std::iter::once(first).chain(second).collect(),
            marker: stale_marker(&config.data_dir),
        }
    }

    /// Whether the database may be started from. Changes nothing.
    ///
    /// # Errors
    /// When it is not certain that it may.
    pub async fn admit(&self, db: &Database) -> Result<(), GuardError> {
        self.judge(db.generation().await?)
    }

    /// What [`Guard::admit`] says of a database at this generation.
    ///
    /// # Errors
    /// When it is not certain that it may be started from.
    pub fn judge(&self, found: Option<Generation>) -> Result<(), GuardError> {
        if self.marker.exists() {
            return Err(GuardError::ProvedStale { marker: self.marker.clone() });
        }
        for (position, witness) in self.witnesses.iter().enumerate() {
            let path = || witness.path().to_owned();
            match (found, witness.read()?) {
                (None, None) => {}
                // The second may be new.
                (Some(found), None) if position == 0 => {
                    return Err(GuardError::NoWitness { found, witness: path() });
                }
                (Some(_), None) => {
                    tracing::warn!(path = %witness.path().display(), "a new witness of the database");
                }
                (None, Some(_)) => return Err(GuardError::Foreign { witness: path() }),
                (Some(found), Some(witnessed)) if found.database_id != witnessed.database_id => {
                    return Err(GuardError::Foreign { witness: path() });
                }
                (Some(found), Some(witnessed)) if found.number < witnessed.number => {
                    return Err(GuardError::Stale { found, witnessed, witness: path() });
                }
                (Some(_), Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Counts one further and has it witnessed. `random` names the database if it has no name yet.
    ///
    /// # Errors
    /// When the database or a witness cannot be written.
    pub async fn advance(&self, db: &Database, random: [u8; 32]) -> Result<Generation, GuardError> {
        let mut fresh_id = [0; 16];
        fresh_id.copy_from_slice(&random[..16]);
        let generation = db.advance_generation(fresh_id).await?;
        storage::crash_point!("generation_advanced");
        for witness in &self.witnesses {
            witness.write(generation)?;
        }
        Ok(generation)
    }

    /// Goes on counting as long as something is written. For ever.
    pub(crate) async fn run(self, db: Database) {
        let mut seen = db.stats().commits;
        loop {
            tokio::time::sleep(ADVANCE_INTERVAL).await;
            db.out_of_trouble().await;
            if db.stats().commits == seen {
                continue;
            }
            // It has its name by now.
            if let Err(error) = self.advance(&db, [0; 32]).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the database's witness is not up to date: an old copy may not be noticed"
                );
            }
            seen = db.stats().commits;
        }
    }

    /// Whether `named` is the database's generation.
    ///
    /// # Errors
    /// [`GuardError::OtherGeneration`], [`GuardError::NothingToAccept`].
    pub fn check_named(&self, found: Option<Generation>, named: u64) -> Result<Generation, GuardError> {
        let found = found.ok_or(GuardError::NothingToAccept)?;
        if found.number == named { Ok(found) } else { Err(GuardError::OtherGeneration { found, named }) }
    }

    /// Takes the database as it is: the witnesses say what it says, and what a peer has proved is forgotten.
    ///
    /// # Errors
    /// [`GuardError::OtherGeneration`] unless `named` is the database's; when a file cannot be written.
    pub async fn accept(&self, db: &Database, named: u64) -> Result<Generation, GuardError> {
        let found = self.check_named(db.generation().await?, named)?;
        for witness in &self.witnesses {
            witness.write(found)?;
        }
        match fs::remove_file(&self.marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(GuardError::Remove { path: self.marker.clone(), source: error })
            }
            _ => Ok(found),
        }
    }
}
