//! The writer's connection, to either kind of database: what the two have to be able to do.

use crate::session::{Stumble, Wanted};
use crate::trouble::TroubleKind;
use crate::{Row, Value, postgres, sqlite};

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

    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.run("BEGIN IMMEDIATE").await,
            Self::Postgres(link) => link.run("BEGIN").await,
        }
    }

    pub(crate) async fn control(&mut self, control: Control) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.run(control.sql()).await,
            Self::Postgres(link) => link.run(control.sql()).await,
        }
    }

    /// The number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.execute(sql, params).await,
            Self::Postgres(link) => link.execute(sql, params).await,
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.fetch(sql, params, wanted).await,
            Self::Postgres(link) => link.fetch(sql, params, wanted).await,
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Stumble> {
        match self {
            Self::Sqlite(link) => Ok(link.run("COMMIT").await?),
            Self::Postgres(link) => link.commit().await,
        }
    }

    /// There may be nothing left to roll back.
    pub(crate) async fn rollback(&mut self) {
        match self {
            Self::Sqlite(link) => link.rollback().await,
            Self::Postgres(link) => link.rollback().await,
        }
    }

    /// Changes whenever anybody commits, where that can be seen at all.
    pub(crate) async fn version(&mut self) -> Result<Option<i64>, sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.version().await.map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// What the error says of the database, unless it is the statement's own or final.
    pub(crate) fn trouble(&self, error: &sqlx::Error) -> Option<TroubleKind> {
        match self {
            Self::Sqlite(_) => sqlite::codes::trouble(error),
            Self::Postgres(_) => postgres::codes::trouble(error),
        }
    }

    /// Whether the database is damaged.
    pub(crate) fn is_damage(&self, error: &sqlx::Error) -> bool {
        match self {
            Self::Sqlite(_) => sqlite::codes::is_damage(error),
            Self::Postgres(_) => postgres::codes::is_damage(error),
        }
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.close().await,
            Self::Postgres(link) => link.close().await,
        }
    }
}
