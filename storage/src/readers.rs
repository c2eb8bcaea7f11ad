//! The connections that only read.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use futures::executor::block_on;
use futures::future::BoxFuture;
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};

use crate::session::Wanted;
use crate::sqlite::Lent;
use crate::writer::Shared;
use crate::{DatabaseUrl, QueryError, ReadTx, Row, StorageError, Value, postgres, sqlite};

#[derive(Clone)]
pub(crate) enum Readers {
    Sqlite(sqlite::Readers),
    Postgres(PgPool),
}

/// One consistent view of what is committed.
pub(crate) enum View {
    Sqlite(Lent),
    Postgres(Transaction<'static, Postgres>),
}

impl Readers {
    pub(crate) async fn read<T, E, F>(&self, shared: Arc<Shared>, body: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        match self {
            Self::Sqlite(readers) => {
                let work = move |connection: &Lent| read_sqlite(connection, Some(shared), body);
                readers.run(work).await?.unwrap_or_else(|panic| panic::resume_unwind(panic))
            }
            Self::Postgres(pool) => read_postgres(pool, Some(shared), body).await,
        }
    }

    /// One statement needs no transaction to see one view.
    pub(crate) async fn fetch(
        &self,
        shared: &Shared,
        sql: &'static str,
        params: Vec<Value>,
        wanted: Wanted,
    ) -> Result<Vec<Row>, StorageError> {
        let rows = match self {
            Self::Sqlite(readers) => {
                readers.run(move |connection| connection.get().fetch(sql, &params, wanted)).await?
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                postgres::query::fetch(&mut connection, sql, &params, wanted).await.map_err(QueryError::from)
            }
        };
        rows.map_err(|error| shared.read_failed(error))
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(readers) => readers.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// In the thread that has the connection. A panic is the caller's, not the thread's.
fn read_sqlite<T, E, F>(
    connection: &Lent,
    shared: Option<Arc<Shared>>,
    body: F,
) -> std::thread::Result<Result<T, E>>
where
    E: From<StorageError>,
    F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>>,
{
    if let Err(error) = connection.get().run("BEGIN") {
        return Ok(Err(StorageError::from(error).into()));
    }
    let mut tx = ReadTx::new(View::Sqlite(connection.clone()), shared);
    let result = panic::catch_unwind(AssertUnwindSafe(|| block_on(body(&mut tx))));
    match connection.get().run("ROLLBACK") {
        Ok(()) => result,
        Err(error) => Ok(Err(StorageError::from(error).into())),
    }
}

/// Reads one view of a database that another process may be writing to.
pub(crate) async fn look<T, E, F>(url: &DatabaseUrl, body: F) -> Result<T, E>
where
    E: From<StorageError>,
    F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>>,
{
    match url {
        DatabaseUrl::Sqlite(path) => {
            let connection = Lent::open(&sqlite::canonical(path)?)?;
            read_sqlite(&connection, None, body).unwrap_or_else(|panic| panic::resume_unwind(panic))
        }
        DatabaseUrl::Postgres(url) => {
            let pool = postgres::connect_readers(url).await?;
            let result = read_postgres(&pool, None, body).await;
            pool.close().await;
            result
        }
    }
}

async fn read_postgres<T, E, F>(pool: &PgPool, shared: Option<Arc<Shared>>, body: F) -> Result<T, E>
where
    E: From<StorageError>,
    F: for<'a> FnOnce(&'a mut ReadTx) -> BoxFuture<'a, Result<T, E>>,
{
    let begun = pool.begin_with(postgres::BEGIN_READ).await.map_err(StorageError::from)?;
    let mut tx = ReadTx::new(View::Postgres(begun), shared);
    let result = body(&mut tx).await;
    tx.end().await?;
    result
}

impl View {
    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, QueryError> {
        match self {
            Self::Sqlite(connection) => connection.get().fetch(sql, params, wanted),
            Self::Postgres(transaction) => {
                Ok(postgres::query::fetch(transaction, sql, params, wanted).await?)
            }
        }
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, QueryError> {
        Ok(match self {
            Self::Sqlite(connection) => connection.get().execute(sql, params)?,
            Self::Postgres(transaction) => {
                postgres::query::bound(sql, params).execute(&mut **transaction).await?.rows_affected()
            }
        })
    }

    pub(crate) const fn has_table(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite::HAS_TABLE,
            Self::Postgres(_) => postgres::HAS_TABLE,
        }
    }

    /// Nothing is left of it. SQLite's is ended by whoever lent the connection.
    pub(crate) async fn end(self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(transaction) => Ok(transaction.rollback().await?),
        }
    }
}
