//! Telling an old copy of a database from the newest one.
//!
//! The database counts, and a small file outside it, its witness, remembers how far. A database that counts less than its
//! witness is a copy from before. The count is committed first and witnessed after that, so that a crash in between leaves a database that
//! is ahead of its witness, which is no harm.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::sqlite::owner_only;
use crate::{Commit, Database, DatabaseUrl, StorageError, inspect, postgres, values};

/// A witness is some 60 bytes; a longer file is none.
const WITNESS_BYTES_MAX: u64 = 1_024;

/// What the first line of a witness says.
const MAGIC: &str = "lightning-rod database witness";

/// Which database, and which state of it, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Chosen at random when the database was first witnessed.
    pub database_id: [u8; 16],
    /// From 1.
    pub number: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {}", self.number)
    }
}

impl Database {
    /// What the database itself says; nothing before it was first advanced.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn generation(&self) -> Result<Option<Generation>, StorageError> {
        self.read("generation", |tx| Box::pin(read(tx))).await
    }

    /// Counts one further. `fresh_id` is the database's name for good if it has none yet. Write it to the witnesses once it is
    /// committed.
    pub fn advance_generation(&self, fresh_id: [u8; 16]) -> Commit<Generation, StorageError> {
        self.submit("advance_generation", move |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO generation (id, database_id, number) VALUES (1, $1, 1)
                     ON CONFLICT (id) DO UPDATE SET number = generation.number + 1";
                tx.execute(sql, &values![fresh_id]).await?;
                read(tx).await?.ok_or(StorageError::RowNotFound)
            })
        })
    }
}

/// What a database says that may be in use; nothing if it was never advanced or knows of no generations. Changes nothing.
///
/// # Errors
/// When it cannot be opened or read.
pub async fn peek_generation(url: &DatabaseUrl) -> Result<Option<Generation>, StorageError> {
    inspect(url, |tx| {
        Box::pin(async move { if tx.has_table("generation").await? { read(tx).await } else { Ok(None) } })
    })
    .await
}

async fn read(tx: &mut crate::ReadTx) -> Result<Option<Generation>, StorageError> {
    let row = tx.fetch_optional("SELECT database_id, number FROM generation WHERE id = 1", &[]).await?;
    row.map(|row| {
        let column = || StorageError::ColumnRange { column: "database_id".to_owned() };
        let database_id = row.get_blob("database_id")?.try_into().map_err(|_| column())?;
        let number = u64::try_from(row.get_i64("number")?)
            .map_err(|_| StorageError::ColumnRange { column: "number".to_owned() })?;
        Ok(Generation { database_id, number })
    })
    .transpose()
}

/// Takes the place of the database for the right one, where it was refused with [`StorageError::Moved`]: the next
/// [`Database::open`] does not ask where it was before. For who is certain that it is the newest state.
///
/// # Errors
/// When it cannot be opened or is in use.
pub async fn accept_place(url: &DatabaseUrl) -> Result<(), StorageError> {
    match url {
        // A file is where it is.
        DatabaseUrl::Sqlite(_) => Ok(()),
        DatabaseUrl::Postgres(url) => postgres::accept_place(url).await,
    }
}

/// A file that remembers a [`Generation`].
#[derive(Clone, Debug)]
pub struct Witness {
    path: PathBuf,
}

/// A witness that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It cannot be read or written.
    #[error("the database's witness {} cannot be used", path.display())]
    Io { path: PathBuf, source: io::Error },

    /// It is no witness, or a damaged one.
    #[error("{} is no witness of a database, or a damaged one", path.display())]
    Damaged { path: PathBuf },
}

impl Witness {
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it remembers; nothing if there is no such file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> Result<Option<Generation>, WitnessError> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(WITNESS_BYTES_MAX).read_to_string(&mut text).map_err(|error| self.io(error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        parse(&text).map(Some).ok_or_else(|| WitnessError::Damaged { path: self.path.clone() })
    }

    /// Remembers it; what was there before is there until this is on disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, generation: Generation) -> Result<(), WitnessError> {
        self.replace(generation).map_err(|error| self.io(error))
    }

    fn replace(&self, generation: Generation) -> io::Result<()> {
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let mut file = owner_only().open(&new)?;
        file.set_len(0)?;
        let id = u128::from_be_bytes(generation.database_id);
        write!(file, "{MAGIC}\n{id:032x}\n{}\n", generation.number)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn io(&self, source: io::Error) -> WitnessError {
        WitnessError::Io { path: self.path.clone(), source }
    }
}

fn parse(text: &str) -> Option<Generation> {
    let mut lines = text.lines();
    let (magic, id, number) = (lines.next()?, lines.next()?, lines.next()?);
    let whole = magic == MAGIC && id.len() == 32 && lines.next().is_none() && text.ends_with('\n');
    let id = u128::from_str_radix(id, 16).ok()?;
    let number = number.parse().ok()?;
    whole.then_some(Generation { database_id: id.to_be_bytes(), number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::at(folder.path().join("witness"));
        assert_eq!(witness.read().unwrap(), None);
        for number in [1, 17, u64::MAX] {
            let generation = Generation { database_id: [0xa7; 16], number };
            witness.write(generation).unwrap();
            assert_eq!(witness.read().unwrap(), Some(generation));
        }
    }

    #[test]
    fn a_damaged_witness_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::at(folder.path().join("witness"));
        witness.write(Generation { database_id: [7; 16], number: 12 }).unwrap();
        let whole = fs::read_to_string(witness.path()).unwrap();
        let cut = &whole[..whole.len() - 2];
        for text in
            ["", "\n", cut, &format!("{whole}1\n"), &whole.replace("12", "x"), &whole.replace('0', "g")]
        {
            fs::write(witness.path(), text).unwrap();
            assert!(matches!(witness.read(), Err(WitnessError::Damaged { .. })), "{text:?}");
        }
    }
}
