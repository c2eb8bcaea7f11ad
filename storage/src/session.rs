//! The writer's connection, and the batch that it can do again.
//!
//! When SQLite cannot write it rolls back by itself, sometimes the statement, sometimes the whole transaction, depending on what
//! failed where (<https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction>); a Postgres server that is
//! gone takes its whole transaction along. So nothing is concluded from the error: the batch is rolled back whole, and what it did is done again from a list, statement by statement,
//! until it goes through. Since nobody else writes, every statement changes the same rows as the first time; if one does not,
//! or if another connection has committed meanwhile, then the answers that were computed meanwhile are worth nothing, and the
//! process has to stop.

use std::sync::Arc;

use crate::link::{Control, Link, Standing};
use crate::trouble::{Cause, Patience};
use crate::writer::Shared;
use crate::{Failure, QueryError, Row, Value};

/// The connection that writes.
pub(crate) struct Session {
    link: Link,
    shared: Arc<Shared>,
    /// What the open batch has done and is to keep.
    journal: Vec<Statement>,
    savepoint: Option<Savepoint>,
    /// The database is told of savepoints in this batch.
    sets_savepoints: bool,
    /// Batches that are going to set savepoints, since one had something to undo.
    wary_batches: u32,
    patience: Patience,
    failure: Option<Failure>,
}

/// After a batch that had to be done again to undo a part of it, so many set savepoints from the start: whoever makes that happen
/// often gains nothing by it.
const WARY_BATCHES: u32 = 100;

/// Where the application's transaction begins.
#[derive(Clone, Copy)]
struct Savepoint {
    /// In the journal.
    from: usize,
    /// The database knows of it.
    is_set: bool,
}

/// A statement that changed something, with how many rows it changed or returned.
struct Statement {
    sql: &'static str,
    params: Vec<Value>,
    returned: bool,
    rows: u64,
}

impl Statement {
    /// What SQLite says of other statements than these is the count of an earlier one.
    fn may_have_changed(&self) -> bool {
        self.rows > 0 || !is_any_of(self.sql, &["INSERT", "UPDATE", "DELETE"])
    }
}

/// What stands in the way of a statement.
pub(crate) enum Obstacle {
    /// The statement is refused, and may be refused again: a constraint, a wrong query.
    Refused(QueryError),
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

impl Session {
    pub(crate) fn new(link: Link, shared: Arc<Shared>) -> Self {
        Self {
            link,
            shared,
            journal: Vec::new(),
            savepoint: None,
            sets_savepoints: false,
            wary_batches: 0,
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
        // After an error Postgres takes nothing more from a transaction without one.
        self.sets_savepoints = !self.is_sqlite() || self.wary_batches > 0;
        self.wary_batches = self.wary_batches.saturating_sub(1);
        loop {
            match self.begin_once().await {
                Ok(()) => return Ok(()),
                Err(stumble) => {
                    let cause = self.cause(stumble)?;
                    self.link.rollback().await;
                    self.wait(&cause).await?;
                }
            }
        }
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, Obstacle> {
        loop {
            match self.link.execute(sql, params).await {
                Ok(rows) => {
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
    ) -> Result<Vec<Row>, Obstacle> {
        let reads = !is_undone_by_rollback(sql);
        // One that writes writes all its rows, whoever looks at them.
        let wanted = if reads { wanted } else { Wanted::All };
        loop {
            match self.link.fetch(sql, params, wanted).await {
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

    /// What follows can be undone alone, and what came before cannot any more. Under a savepoint SQLite copies every page before it
    /// changes it, for a case that is rare: so it is told of none until one is needed, and then the batch is done again.
    pub(crate) async fn set_savepoint(&mut self) -> Result<(), Obstacle> {
        if self.sets_savepoints {
            let is_set = self.savepoint.is_some_and(|savepoint| savepoint.is_set);
            self.control(if is_set { Control::Renew } else { Control::Set }).await?;
        }
        self.savepoint = Some(Savepoint { from: self.journal.len(), is_set: self.sets_savepoints });
        Ok(())
    }

    /// Undoes what was done since the savepoint, which stays.
    pub(crate) async fn return_to_savepoint(&mut self) -> Result<(), Obstacle> {
        let Some(savepoint) = self.savepoint else { return Ok(()) };
        let is_changed = self.journal.drain(savepoint.from..).any(|statement| statement.may_have_changed());
        if savepoint.is_set {
            return self.control(Control::Return).await;
        }
        // A statement that was refused has left nothing, but for an error at which SQLite undoes the whole batch.
        if is_changed || !self.link.stands() {
            self.sets_savepoints = true;
            self.wary_batches = WARY_BATCHES;
            self.savepoint = Some(Savepoint { is_set: true, ..savepoint });
            self.again(None).await.map_err(Obstacle::Final)?;
        }
        Ok(())
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), Obstacle> {
        if self.savepoint.is_some_and(|savepoint| savepoint.is_set) {
            self.control(Control::Release).await?;
        }
        self.savepoint = None;
        Ok(())
    }

    /// Returns once the batch is on disk, however long that takes, or when it can never be.
    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        loop {
            let stumble = match self.commit_once().await {
                Ok(()) => break,
                Err(stumble) => stumble,
            };
            let cause = self.cause(stumble)?;
            if self.again(Some(cause)).await? == Standing::Committed {
                break;
            }
        }
        self.journal.clear();
        self.savepoint = None;
        self.patience.ends(&self.shared.trouble);
        Ok(())
    }

    pub(crate) async fn close(self) -> Result<(), QueryError> {
        self.link.close().await
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self.link, Link::Sqlite(_))
    }

    pub(crate) fn has_table(&self) -> &'static str {
        match &self.link {
            Link::Sqlite(_) => crate::sqlite::HAS_TABLE,
            Link::Postgres(_) => crate::postgres::HAS_TABLE,
        }
    }

    pub(crate) fn into_link(self) -> Link {
        self.link
    }

    async fn control(&mut self, control: Control) -> Result<(), Obstacle> {
        loop {
            match self.link.control(control).await {
                Ok(()) => return Ok(()),
                Err(error) => self.overcome(error).await?,
            }
        }
    }

    async fn begin_once(&mut self) -> Result<(), Stumble> {
        self.link.look().await?;
        Ok(self.link.begin().await?)
    }

    async fn commit_once(&mut self) -> Result<(), Stumble> {
        self.link.look().await?;
        #[cfg(feature = "faults")]
        self.shared.faults.at_commit()?;
        self.link.commit().await
    }

    /// After an error in the middle of the batch: `Ok` once the batch stands where it stood before the statement.
    async fn overcome(&mut self, error: QueryError) -> Result<(), Obstacle> {
        if error.trouble().is_none() && !error.is_damage() {
            return Err(Obstacle::Refused(error));
        }
        let outcome = match self.cause(Stumble::Query(error)) {
            Ok(cause) => self.again(Some(cause)).await.map(drop),
            Err(failure) => Err(failure),
        };
        outcome.map_err(Obstacle::Final)
    }

    /// Does the batch again, as far as it had come and is to be kept, as often as it takes. Waits first if it has cause to.
    async fn again(&mut self, mut cause: Option<Cause>) -> Result<Standing, Failure> {
        let mut version = None;
        loop {
            // At once: nobody else is kept from a lock by one who only waits.
            self.link.rollback().await;
            if version.is_none() {
                version = self.link.version().await.ok().flatten();
            }
            if let Some(cause) = &cause {
                self.wait(cause).await?;
            }
            cause = match self.replay(version).await {
                Ok(standing) => return Ok(standing),
                Err(stumble) => Some(self.cause(stumble)?),
            };
        }
    }

    async fn replay(&mut self, version: Option<i64>) -> Result<Standing, Stumble> {
        if self.link.look().await? == Standing::Committed {
            return Ok(Standing::Committed);
        }
        self.link.begin().await?;
        let found = self.link.version().await?;
        if version.is_some() && version != found {
            return Err(Stumble::Changed);
        }
        for position in 0..=self.journal.len() {
            if self.savepoint.is_some_and(|savepoint| savepoint.is_set && savepoint.from == position) {
                self.link.control(Control::Set).await?;
            }
            let Some(statement) = self.journal.get(position) else { break };
            let rows = if statement.returned {
                self.link.fetch(statement.sql, &statement.params, Wanted::All).await?.len() as u64
            } else {
                self.link.execute(statement.sql, &statement.params).await?
            };
            if rows != statement.rows {
                return Err(Stumble::Changed);
            }
        }
        Ok(Standing::Open)
    }

    /// Why to try again, or why not to.
    fn cause(&mut self, stumble: Stumble) -> Result<Cause, Failure> {
        let failure = match stumble {
            Stumble::Wait(cause) => return Ok(cause),
            Stumble::Query(error) => match error.trouble() {
                Some(kind) => return Ok(Cause::new(kind, error.to_string())),
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
pub(crate) enum Stumble {
    Query(QueryError),
    Wait(Cause),
    Changed,
    Final(Failure),
}

impl From<QueryError> for Stumble {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<sqlx::Error> for Stumble {
    fn from(error: sqlx::Error) -> Self {
        Self::Query(error.into())
    }
}

#[cfg(feature = "faults")]
impl From<crate::faults::Fault> for Stumble {
    fn from(fault: crate::faults::Fault) -> Self {
        Self::Query(fault.into())
    }
}

/// What is neither a query nor a setting of the connection.
fn is_undone_by_rollback(sql: &str) -> bool {
    !is_any_of(sql, &["SELECT", "PRAGMA"])
}

fn is_any_of(sql: &str, words: &[&str]) -> bool {
    let first = sql.split_ascii_whitespace().next().unwrap_or_default();
    words.iter().any(|word| first.eq_ignore_ascii_case(word))
}
