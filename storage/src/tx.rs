use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::link::Link;
use crate::readers::View;
use crate::session::{Obstacle, Session, Wanted};
use crate::writer::Shared;
use crate::{Failure, QueryError, Row, StorageError, Value};

/// A transaction that reads: one consistent view of what is committed.
///
/// SQL is the text both kinds of database take: `$1` and up for parameters. It is prepared once per connection and text.
pub struct ReadTx {
    source: Source,
    aborted: bool,
}

enum Source {
    /// What damage is told to, if the process writes to the database.
    Pool(View, Option<Arc<Shared>>),
    Writer(Box<Session>),
}

/// A transaction of the ordered writer. It reads what was queued before it, committed or not.
///
/// A statement that fails aborts the whole transaction, whatever its code makes of the error. The writer serves
/// everybody: bound the rows of a transaction, and wait for nothing in it but the database. Above all never for a
/// [`Commit`](crate::Commit), which comes only after it.
pub struct Tx {
    transaction: ReadTx,
    savepoint: Savepoint,
}

/// Where the batch stands between two applications' transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    None,
    /// Open, and nothing was written since.
    Clean,
    /// Open, with a transaction in it that is to stay.
    Kept,
}

impl ReadTx {
    pub(crate) fn new(view: View, shared: Option<Arc<Shared>>) -> Self {
        Self { source: Source::Pool(view, shared), aborted: false }
    }

    pub(crate) async fn end(self) -> Result<(), StorageError> {
        match self.source {
            Source::Pool(view, _) => view.end().await,
            Source::Writer(_) => Ok(()),
        }
    }

    async fn rows(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, StorageError> {
        self.usable()?;
        let rows = match &mut self.source {
            Source::Pool(view, shared) => {
                view.fetch(sql, params, wanted).await.map_err(|error| match shared {
                    Some(shared) => shared.read_failed(error),
                    None => error.into(),
                })
            }
            Source::Writer(session) => session.fetch(sql, params, wanted).await.map_err(StorageError::from),
        };
        self.aborted |= rows.is_err();
        rows
    }

    fn usable(&self) -> Result<(), StorageError> {
        if self.aborted { Err(StorageError::Aborted) } else { Ok(()) }
    }

    /// Every row. Bound them with `LIMIT`.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn fetch_all(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StorageError> {
        self.rows(sql, params, Wanted::All).await
    }

    /// Whether there is a table of this name. A database that no server has opened yet has none.
    ///
    /// # Errors
    /// As [`ReadTx::fetch_optional`].
    pub async fn has_table(&mut self, name: &str) -> Result<bool, StorageError> {
        let sql = match &self.source {
            Source::Pool(view, _) => view.has_table(),
            Source::Writer(session) => session.has_table(),
        };
        Ok(self.fetch_optional(sql, &[name.into()]).await?.is_some())
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn fetch_optional(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Option<Row>, StorageError> {
        Ok(self.rows(sql, params, Wanted::First).await?.into_iter().next())
    }

    /// The first row.
    ///
    /// # Errors
    /// [`StorageError::RowNotFound`] (which does not abort the transaction), [`StorageError::Query`], or
    /// [`StorageError::Aborted`] after one.
    pub async fn fetch_one(&mut self, sql: &'static str, params: &[Value]) -> Result<Row, StorageError> {
        self.fetch_optional(sql, params).await?.ok_or(StorageError::RowNotFound)
    }
}

impl From<Obstacle> for StorageError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Refused(error) => error.into(),
            Obstacle::Final(failure) => Self::NotCommitted(failure),
        }
    }
}

impl Tx {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            transaction: ReadTx { source: Source::Writer(Box::new(session)), aborted: false },
            savepoint: Savepoint::None,
        }
    }

    /// Runs a statement; gives the number of rows that it changed.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StorageError> {
        self.transaction.usable()?;
        let done = match &mut self.transaction.source {
            Source::Writer(session) => session.execute(sql, params).await,
            Source::Pool(view, _) => view.execute(sql, params).await.map_err(Obstacle::Refused),
        };
        self.transaction.aborted |= done.is_err();
        Ok(done?)
    }

    /// Writes zeros over what is deleted from now on, or does not any more. SQLite does as it is told; Postgres keeps what is
    /// deleted until it vacuums.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn erase_deleted(&mut self, erase: bool) -> Result<(), StorageError> {
        let sql = if erase { "PRAGMA secure_delete = ON" } else { "PRAGMA secure_delete = OFF" };
        match self.session().is_some_and(|session| session.is_sqlite()) {
            true => self.fetch_all(sql, &[]).await.map(drop),
            false => Ok(()),
        }
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.transaction.aborted
    }

    /// What has made the database useless, whatever an application made of the error.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match &self.transaction.source {
            Source::Writer(session) => session.failure().cloned(),
            Source::Pool(..) => None,
        }
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Failure> {
        self.savepoint = Savepoint::None;
        self.transaction.aborted = false;
        match self.session() {
            Some(session) => session.begin().await,
            None => Ok(()),
        }
    }

    /// A write of the writer's own, outside the applications' transactions. Its failure is the batch's.
    pub(crate) async fn write(&mut self, sql: &'static str, params: &[Value]) -> Result<(), Failure> {
        self.leave_savepoint().await?;
        match self.session() {
            Some(session) => Ok(session.execute(sql, params).await.map(drop)?),
            None => Ok(()),
        }
    }

    /// Starts the next application's transaction in the batch.
    pub(crate) async fn enter_savepoint(&mut self) -> Result<(), Failure> {
        self.transaction.aborted = false;
        if self.savepoint != Savepoint::Clean
            && let Some(session) = self.session()
        {
            session.set_savepoint().await?;
        }
        self.savepoint = Savepoint::Clean;
        Ok(())
    }

    /// The commit releases it, or whoever comes next.
    pub(crate) fn keep_savepoint(&mut self) {
        self.savepoint = Savepoint::Kept;
    }

    pub(crate) async fn undo_savepoint(&mut self) -> Result<(), Failure> {
        match self.session() {
            Some(session) => Ok(session.return_to_savepoint().await?),
            None => Ok(()),
        }
    }

    /// For what needs no savepoint: under one SQLite copies every page before it writes to it.
    async fn leave_savepoint(&mut self) -> Result<(), Failure> {
        if self.savepoint != Savepoint::None
            && let Some(session) = self.session()
        {
            session.release_savepoint().await?;
            self.savepoint = Savepoint::None;
        }
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        self.savepoint = Savepoint::None;
        match self.session() {
            Some(session) => session.commit().await,
            None => Ok(()),
        }
    }

    pub(crate) async fn close(self) -> Result<(), QueryError> {
        match self.transaction.source {
            Source::Writer(session) => session.close().await,
            Source::Pool(..) => Ok(()),
        }
    }

    /// The connection of a writer that has failed.
    pub(crate) fn into_link(self) -> Option<Link> {
        match self.transaction.source {
            Source::Writer(session) => Some(session.into_link()),
            Source::Pool(..) => None,
        }
    }

    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.transaction.source {
            Source::Writer(session) => Some(session),
            Source::Pool(..) => None,
        }
    }
}

/// What reads with a [`ReadTx`] reads with a [`Tx`] just as well.
impl Deref for Tx {
    type Target = ReadTx;

    fn deref(&self) -> &ReadTx {
        &self.transaction
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut ReadTx {
        &mut self.transaction
    }
}
