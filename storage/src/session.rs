//! The writer's connection, and the batch that it can do again.
//!
//! When SQLite cannot write it rolls back by itself, sometimes the statement, sometimes the whole transaction, depending on what
//! failed where (<https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction>). So nothing is
//! concluded from the error: the batch is rolled back whole, and what it did is done again from a list, statement by statement,
//! until it goes through. Since nobody else writes, every statement changes the same rows as the first time; if one does not,
//! or if another connection has committed meanwhile, then the answers that were computed meanwhile are worth nothing, and the
//! process has to stop.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _, Sqlite};

use crate::files::Files;
use crate::trouble::{Cause, Patience, TroubleKind, is_damage};
use crate::writer::Shared;
use crate::{Failure, Value};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// The connection that writes.
pub(crate) struct Session {
    connection: SqliteConnection,
    /// Only reads, and so notices whatever is committed. The writing connection's own `data_version` moves with its errors too.
    watcher: SqliteConnection,
    files: Files,
    shared: Arc<Shared>,
    /// What the open batch has done and is to keep.
    journal: Vec<Statement>,
    savepoint: Option<usize>,
    patience: Patience,
    failure: Option<Failure>,
}

/// A statement that changed something, with how many rows it changed or returned.
struct Statement {
    sql: &'static str,
    params: Vec<Value>,
    returned: bool,
    rows: u64,
}

/// What stands in the way of a statement.
pub(crate) enum Obstacle {
    /// The statement is refused, and may be refused again: a constraint, a wrong query.
    Refused(sqlx::Error),
    /// The database is not to be used any more.
    Final(Failure),
}

impl From<Obstacle> for Failure {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Refused(error) => error.into(),
            Obstacle::Final(failure) => failure,
        }
    }
}

/// How many of a query's rows somebody wants to see.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    First,
    All,
}

impl Wanted {
    pub(crate) async fn fetch(
        self,
        query: Query,
        connection: &mut SqliteConnection,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        match self {
            Self::First => Ok(query.fetch_optional(connection).await?.into_iter().collect()),
            Self::All => query.fetch_all(connection).await,
        }
    }
}

/// The query with its parameters.
pub(crate) fn bound(sql: &'static str, params: &[Value]) -> Query {
    params.iter().fold(sqlx::query(sql), |query, value| match value.clone() {
        Value::Integer(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}

impl Session {
    pub(crate) fn new(
        connection: SqliteConnection,
        watcher: SqliteConnection,
        files: Files,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            connection,
            watcher,
            files,
            shared,
            journal: Vec::new(),
            savepoint: None,
            patience: Patience::default(),
            failure: None,
        }
    }

    /// What has made the database useless, if anything has, whatever the transaction made of it.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Failure> {
        self.journal.clear();
        self.savepoint = None;
        loop {
            let begun = match self.look() {
                Ok(()) => self.begin_once().await.map_err(Stumble::Query),
                Err(stumble) => Err(stumble),
            };
            match begun {
                Ok(()) => return Ok(()),
                Err(stumble) => {
                    let cause = self.cause(stumble)?;
                    self.rollback().await;
                    self.wait(&cause).await?;
                }
            }
        }
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, Obstacle> {
        loop {
            match bound(sql, params).execute(&mut self.connection).await {
                Ok(done) => {
                    let rows = done.rows_affected();
                    if is_undone_by_rollback(sql) {
                        self.journal.push(Statement { sql, params: params.to_vec(), returned: false, rows });
                    }
                    return Ok(rows);
                }
                Err(error) => self.overcome(error).await?,
            }
        }
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<SqliteRow>, Obstacle> {
        let reads = !is_undone_by_rollback(sql);
        // One that writes writes all its rows, whoever looks at them.
        let wanted = if reads { wanted } else { Wanted::All };
        loop {
            match wanted.fetch(bound(sql, params), &mut self.connection).await {
                Ok(rows) => {
                    if !reads {
                        let rows = rows.len() as u64;
                        self.journal.push(Statement { sql, params: params.to_vec(), returned: true, rows });
                    }
                    return Ok(rows);
                }
                Err(error) => self.overcome(error).await?,
            }
        }
    }

    /// What follows can be undone alone, and what came before cannot any more.
    pub(crate) async fn set_savepoint(&mut self) -> Result<(), Obstacle> {
        let sql = match self.savepoint {
            None => "SAVEPOINT application",
            // Both in one trip to the connection's thread.
            Some(_) => "RELEASE application; SAVEPOINT application",
        };
        self.control(sql).await?;
        self.savepoint = Some(self.journal.len());
        Ok(())
    }

    /// Undoes what was done since the savepoint, which stays.
    pub(crate) async fn return_to_savepoint(&mut self) -> Result<(), Obstacle> {
        if let Some(from) = self.savepoint {
            self.journal.truncate(from);
        }
        self.control("ROLLBACK TO application").await
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), Obstacle> {
        self.control("RELEASE application").await?;
        self.savepoint = None;
        Ok(())
    }

    /// Returns once the batch is on disk, however long that takes, or when it can never be.
    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        loop {
            let committed = match self.look() {
                Ok(()) => self.commit_once().await.map_err(Stumble::Query),
                Err(stumble) => Err(stumble),
            };
            match committed {
                Ok(()) => break,
                Err(stumble) => {
                    let cause = self.cause(stumble)?;
                    self.again(cause).await?;
                }
            }
        }
        self.journal.clear();
        self.savepoint = None;
        self.patience.ends(&self.shared.trouble);
        Ok(())
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.watcher.close().await?;
        self.connection.close().await
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Obstacle> {
        loop {
            match sqlx::query(sql).execute(&mut self.connection).await {
                Ok(_) => return Ok(()),
                Err(error) => self.overcome(error).await?,
            }
        }
    }

    async fn begin_once(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await.map(drop)
    }

    /// Changes whenever anybody commits.
    async fn data_version(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query("PRAGMA data_version").fetch_one(&mut self.watcher).await?.try_get(0)
    }

    async fn commit_once(&mut self) -> Result<(), sqlx::Error> {
        #[cfg(feature = "faults")]
        self.shared.faults.at_commit()?;
        sqlx::query("COMMIT").execute(&mut self.connection).await.map(drop)
    }

    /// There may be nothing left to roll back.
    async fn rollback(&mut self) {
        if let Err(error) = sqlx::query("ROLLBACK").execute(&mut self.connection).await {
            tracing::trace!(%error, "SQLite had rolled back by itself");
        }
    }

    /// After an error in the middle of the batch: `Ok` once the batch stands where it stood before the statement.
    async fn overcome(&mut self, error: sqlx::Error) -> Result<(), Obstacle> {
        if TroubleKind::of(&error).is_none() && !is_damage(&error) {
            return Err(Obstacle::Refused(error));
        }
        let outcome = match self.cause(Stumble::Query(error)) {
            Ok(cause) => self.again(cause).await,
            Err(failure) => Err(failure),
        };
        outcome.map_err(Obstacle::Final)
    }

    /// Does the batch again, as far as it had come, as often as it takes.
    async fn again(&mut self, mut cause: Cause) -> Result<(), Failure> {
        let mut version = None;
        loop {
            // At once: nobody else is kept from a lock by one who only waits.
            self.rollback().await;
            if version.is_none() {
                version = self.data_version().await.ok();
            }
            self.wait(&cause).await?;
            cause = match self.replay(version).await {
                Ok(()) => return Ok(()),
                Err(stumble) => self.cause(stumble)?,
            };
        }
    }

    async fn replay(&mut self, version: Option<i64>) -> Result<(), Stumble> {
        self.look()?;
        self.begin_once().await?;
        let found = self.data_version().await?;
        if version.is_some_and(|version| version != found) {
            return Err(Stumble::Changed);
        }
        for position in 0..=self.journal.len() {
            if self.savepoint == Some(position) {
                sqlx::query("SAVEPOINT application").execute(&mut self.connection).await?;
            }
            let Some(statement) = self.journal.get(position) else { break };
            let query = bound(statement.sql, &statement.params);
            let rows = if statement.returned {
                query.fetch_all(&mut self.connection).await?.len() as u64
            } else {
                query.execute(&mut self.connection).await?.rows_affected()
            };
            if rows != statement.rows {
                return Err(Stumble::Changed);
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Stumble> {
        self.files.check().map_err(|astray| match Cause::try_from(astray) {
            Ok(cause) => Stumble::Wait(cause),
            Err(failure) => Stumble::Final(failure),
        })
    }

    /// Why to try again, or why not to.
    fn cause(&mut self, stumble: Stumble) -> Result<Cause, Failure> {
        let failure = match stumble {
            Stumble::Wait(cause) => return Ok(cause),
            Stumble::Query(error) => match Cause::of(&error) {
                Some(cause) => return Ok(cause),
                None => error.into(),
            },
            Stumble::Changed => Failure::Changed,
            Stumble::Final(failure) => failure,
        };
        self.failure = Some(failure.clone());
        Err(failure)
    }

    async fn wait(&mut self, cause: &Cause) -> Result<(), Failure> {
        #[cfg(feature = "faults")]
        if self.shared.faults.is_cut() {
            self.failure = Some(Failure::TornDown);
            return Err(Failure::TornDown);
        }
        #[cfg(feature = "faults")]
        if self.shared.faults.takes_turns() {
            // Who is refused meanwhile would depend on the machine's pace.
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.patience.wait(&self.shared.trouble, cause).await;
        Ok(())
    }
}

/// Why an attempt at the batch has ended.
enum Stumble {
    Query(sqlx::Error),
    Wait(Cause),
    Changed,
    Final(Failure),
}

impl From<sqlx::Error> for Stumble {
    fn from(error: sqlx::Error) -> Self {
        Self::Query(error)
    }
}

/// What is neither a query nor a setting of the connection.
fn is_undone_by_rollback(sql: &str) -> bool {
    let first = sql.split_ascii_whitespace().next().unwrap_or_default();
    !["SELECT", "PRAGMA"].iter().any(|word| first.eq_ignore_ascii_case(word))
}
