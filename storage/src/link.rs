//! The writer's connection, to either kind of database: what the two have to be able to do.

use crate::session::{Stumble, Wanted};
use crate::{QueryError, Row, Value, postgres, sqlite};

/// The connection that writes, and what it takes to notice that it must not any more.
pub(crate) enum Link {
    Sqlite(Box<sqlite::Link>),
    Postgres(Box<postgres::Link>),
}

/// How the batch stands when the connection is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is to be done, or done again.
    Open,
    /// An earlier attempt whose answer was lost did commit it.
    Committed,
}

/// What is done to the savepoint around an application's transaction.
#[derive(Clone, Copy)]
pub(crate) enum Control {
    Set,
    /// Releases it and sets it anew, in one trip.
    Renew,
    Return,
    Release,
}

impl Control {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Set => "SAVEPOINT application",
            Self::Renew => "RELEASE application; SAVEPOINT application",
            Self::Return => "ROLLBACK TO application",
            Self::Release => "RELEASE application",
        }
    }
}

impl Link {
    /// Whether a batch may be begun, or committed, on it. Connects again if it must.
    pub(crate) async fn look(&mut self) -> Result<Standing, Stumble> {
        match self {
            Self::Sqlite(link) => link.look(),
            Self::Postgres(link) => link.look().await,
        }
    }

    pub(crate) async fn begin(&mut self) -> Result<(), QueryError> {
        match self {
            Self::Sqlite(link) => link.run("BEGIN IMMEDIATE"),
            Self::Postgres(link) => Ok(link.run("BEGIN").await?),
        }
    }

    pub(crate) async fn control(&mut self, control: Control) -> Result<(), QueryError> {
        match self {
            Self::Sqlite(link) => link.control(control),
            Self::Postgres(link) => Ok(link.run(control.sql()).await?),
        }
    }

    /// The number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, QueryError> {
        match self {
            Self::Sqlite(link) => link.execute(sql, params),
            Self::Postgres(link) => Ok(link.execute(sql, params).await?),
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, QueryError> {
        match self {
            Self::Sqlite(link) => link.fetch(sql, params, wanted),
            Self::Postgres(link) => Ok(link.fetch(sql, params, wanted).await?),
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Stumble> {
        match self {
            Self::Sqlite(link) => Ok(link.run("COMMIT")?),
            Self::Postgres(link) => link.commit().await,
        }
    }

    /// There may be nothing left to roll back.
    pub(crate) async fn rollback(&mut self) {
        match self {
            Self::Sqlite(link) => link.rollback(),
            Self::Postgres(link) => link.rollback().await,
        }
    }

    /// Whether the batch's transaction is still open after an error. Postgres keeps it until it is told.
    pub(crate) fn stands(&self) -> bool {
        match self {
            Self::Sqlite(link) => link.stands(),
            Self::Postgres(_) => true,
        }
    }

    /// Changes whenever anybody commits, where that can be seen at all.
    pub(crate) async fn version(&mut self) -> Result<Option<i64>, QueryError> {
        match self {
            Self::Sqlite(link) => link.version(),
            Self::Postgres(_) => Ok(None),
        }
    }

    pub(crate) async fn close(self) -> Result<(), QueryError> {
        match self {
            Self::Sqlite(link) => link.close(),
            Self::Postgres(link) => Ok(link.close().await?),
        }
    }
}
