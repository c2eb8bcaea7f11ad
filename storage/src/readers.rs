//! The connections that only read.

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Postgres, Sqlite, Transaction};

use crate::session::Wanted;
use crate::{DatabaseUrl, Row, StorageError, Value, postgres, sqlite};

/// A pool of them.
#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One view of what is committed.
pub(crate) enum View {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Readers {
    /// Of a database that may be in use. Takes no lease and creates nothing.
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, StorageError> {
        Ok(match url {
            DatabaseUrl::Sqlite(path) => {
                Self::Sqlite(sqlite::connect_readers(&sqlite::canonical(path)?).await?)
            }
            DatabaseUrl::Postgres(url) => Self::Postgres(postgres::connect_readers(url).await?),
        })
    }

    pub(crate) async fn begin(&self) -> Result<View, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => View::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => View::Postgres(pool.begin_with(postgres::BEGIN_READ).await?),
        })
    }

    /// One statement by itself.
    pub(crate) async fn fetch(
        &self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => {
                sqlite::query::fetch(&mut *pool.acquire().await?, sql, params, wanted).await
            }
            Self::Postgres(pool) => {
                postgres::query::fetch(&mut *pool.acquire().await?, sql, params, wanted).await
            }
        }
    }

    /// Whether it says that the database is damaged.
    pub(crate) fn is_damage(&self, error: &sqlx::Error) -> bool {
        match self {
            Self::Sqlite(_) => sqlite::codes::is_damage(error),
            Self::Postgres(_) => postgres::codes::is_damage(error),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl View {
    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => sqlite::query::fetch(transaction, sql, params, wanted).await,
            Self::Postgres(transaction) => postgres::query::fetch(transaction, sql, params, wanted).await,
        }
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                sqlite::query::bound(sql, params).execute(&mut **transaction).await?.rows_affected()
            }
            Self::Postgres(transaction) => {
                postgres::query::bound(sql, params).execute(&mut **transaction).await?.rows_affected()
            }
        })
    }

    /// Whether it says that the database is damaged.
    pub(crate) fn is_damage(&self, error: &sqlx::Error) -> bool {
        match self {
            Self::Sqlite(_) => sqlite::codes::is_damage(error),
            Self::Postgres(_) => postgres::codes::is_damage(error),
        }
    }

    pub(crate) const fn has_table(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite::HAS_TABLE,
            Self::Postgres(_) => postgres::HAS_TABLE,
        }
    }

    pub(crate) async fn end(self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await?,
            Self::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}
