use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::Files;
use super::files::Astray;
use super::query::{bound, fetch};
use crate::link::Standing;
use crate::session::{Stumble, Wanted};
use crate::trouble::Cause;
use crate::{Failure, Row, Value};

/// The connection that writes a SQLite file.
pub(crate) struct Link {
    connection: SqliteConnection,
    /// Only reads, and so notices whatever is committed. The writing connection's own `data_version` moves with its errors too.
    watcher: SqliteConnection,
    files: Files,
}

impl Link {
    pub(crate) fn new(connection: SqliteConnection, watcher: SqliteConnection, files: Files) -> Self {
        Self { connection, watcher, files }
    }

    pub(crate) fn look(&mut self) -> Result<Standing, Stumble> {
        match self.files.check() {
            Ok(()) => Ok(Standing::Open),
            Err(Astray::Gone { path, source }) => Err(Stumble::Wait(Cause::gone(&path, &source))),
            Err(Astray::Replaced { path }) => Err(Stumble::Final(Failure::Replaced { path })),
            Err(Astray::LeaseLost { path }) => Err(Stumble::Final(Failure::LeaseLost { path })),
        }
    }

    pub(crate) async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut self.connection).await.map(drop)
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, sqlx::Error> {
        bound(sql, params).execute(&mut self.connection).await.map(|done| done.rows_affected())
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, sqlx::Error> {
        fetch(&mut self.connection, sql, params, wanted).await
    }

    pub(crate) async fn rollback(&mut self) {
        if let Err(error) = self.run("ROLLBACK").await {
            tracing::trace!(%error, "SQLite had rolled back by itself");
        }
    }

    pub(crate) async fn version(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query("PRAGMA data_version").fetch_one(&mut self.watcher).await?.try_get(0)
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.watcher.close().await?;
        self.connection.close().await
    }
}
