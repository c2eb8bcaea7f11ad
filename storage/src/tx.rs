use std::ops::{Deref, DerefMut};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Connection as _, Sqlite, Transaction};

use crate::{Row, StorageError, Value};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A transaction that reads: one consistent view of what is committed.
///
/// SQL is the text both kinds of database take: `$1` and up for parameters. It is prepared once per connection and text.
pub struct ReadTx {
    source: Source,
    aborted: bool,
}

enum Source {
    Pool(Transaction<'static, Sqlite>),
    Writer(SqliteConnection),
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
    pub(crate) fn new(transaction: Transaction<'static, Sqlite>) -> Self {
        Self { source: Source::Pool(transaction), aborted: false }
    }

    pub(crate) async fn end(self) -> Result<(), StorageError> {
        match self.source {
            Source::Pool(transaction) => Ok(transaction.rollback().await?),
            Source::Writer(_) => Ok(()),
        }
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        match &mut self.source {
            Source::Pool(transaction) => transaction,
            Source::Writer(connection) => connection,
        }
    }

    fn query(&self, sql: &'static str, params: &[Value]) -> Result<Query, StorageError> {
        if self.aborted {
            return Err(StorageError::Aborted);
        }
        Ok(params.iter().fold(sqlx::query(sql), |query, value| match value.clone() {
            Value::Integer(value) => query.bind(value),
            Value::Bool(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        }))
    }

    fn checked<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        self.aborted |= result.is_err();
        Ok(result?)
    }

    /// Every row. Bound them with `LIMIT`.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn fetch_all(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StorageError> {
        let rows = self.query(sql, params)?.fetch_all(self.connection()).await;
        Ok(self.checked(rows)?.into_iter().map(Row::new).collect())
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
        let row = self.query(sql, params)?.fetch_optional(self.connection()).await;
        Ok(self.checked(row)?.map(Row::new))
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

impl Tx {
    pub(crate) fn new(connection: SqliteConnection) -> Self {
        Self {
            transaction: ReadTx { source: Source::Writer(connection), aborted: false },
            savepoint: Savepoint::None,
        }
    }

    /// Runs a statement; gives the number of rows that it changed.
    ///
    /// # Errors
    /// [`StorageError::Query`], or [`StorageError::Aborted`] after one.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StorageError> {
        let done = self.transaction.query(sql, params)?.execute(self.transaction.connection()).await;
        Ok(self.transaction.checked(done)?.rows_affected())
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.transaction.aborted
    }

    /// A statement of the writer's own, outside the applications' transactions.
    pub(crate) async fn control(&mut self, query: Query) -> Result<(), sqlx::Error> {
        query.execute(self.transaction.connection()).await.map(drop)
    }

    /// Starts the next application's transaction in the batch.
    pub(crate) async fn enter_savepoint(&mut self) -> Result<(), sqlx::Error> {
        self.transaction.aborted = false;
        match self.savepoint {
            Savepoint::None => self.control(sqlx::query("SAVEPOINT application")).await?,
            Savepoint::Clean => {}
            // Both in one trip to the connection's thread.
            Savepoint::Kept => {
                self.control(sqlx::query("RELEASE application; SAVEPOINT application")).await?
            }
        }
        self.savepoint = Savepoint::Clean;
        Ok(())
    }

    /// The commit releases it, or whoever comes next.
    pub(crate) fn keep_savepoint(&mut self) {
        self.savepoint = Savepoint::Kept;
    }

    /// If SQLite has rolled the whole batch back by itself (disk full, IO error) then there is no savepoint to return
    /// to, and this fails, as it must.
    pub(crate) async fn undo_savepoint(&mut self) -> Result<(), sqlx::Error> {
        self.control(sqlx::query("ROLLBACK TO application")).await
    }

    /// For what needs no savepoint: under one SQLite copies every page before it writes to it.
    pub(crate) async fn leave_savepoint(&mut self) -> Result<(), sqlx::Error> {
        if self.savepoint != Savepoint::None {
            self.control(sqlx::query("RELEASE application")).await?;
            self.savepoint = Savepoint::None;
        }
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.savepoint = Savepoint::None;
        self.control(sqlx::query("COMMIT")).await
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self.transaction.source {
            Source::Writer(connection) => connection.close().await,
            Source::Pool(_) => Ok(()),
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
