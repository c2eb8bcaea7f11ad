use std::io;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::lease::{Held, Place, Seen};
use super::query::{bound, fetch};
use super::{PostgresUrl, codes, connect, lease};
use crate::database::Durability;
use crate::link::Standing;
use crate::session::{Stumble, Wanted};
use crate::trouble::{Cause, TroubleKind};
use crate::{Failure, Row, StorageError, Value};

/// The connection that writes a Postgres database. Its session has the lease.
///
/// Each batch counts itself in the row of `database_writer`, in the transaction that it is: so a session of a process that has lost
/// the database cannot commit, and after a connection that broke while `COMMIT` was under way the row says whether it was made.
pub(crate) struct Link {
    url: PostgresUrl,
    durability: Durability,
    connection: Option<PgConnection>,
    held: Held,
    /// The place that the row names.
    place: Place,
    /// `COMMIT` was sent, and nothing was heard of it.
    is_committing: bool,
}

impl Link {
    pub(crate) fn new(
        url: PostgresUrl,
        durability: Durability,
        connection: PgConnection,
        held: Held,
        place: Place,
    ) -> Self {
        Self { url, durability, connection: Some(connection), held, place, is_committing: false }
    }

    pub(crate) async fn look(&mut self) -> Result<Standing, Stumble> {
        if self.connection.is_some() {
            return Ok(Standing::Open);
        }
        let mut connection = connect::writer(&self.url, self.durability).await.map_err(to_wait_for)?;
        let is_ours = lease::try_lock(&mut connection).await.map_err(to_wait_for)?;
        let (seen, place) = lease::see(&mut connection).await.map_err(to_wait_for)?;
        let standing = match self.held.judge(&seen, self.is_committing) {
            Seen::Taken => return Err(Stumble::Final(Failure::TakenOver)),
            Seen::WentBack => return Err(Stumble::Final(Failure::WentBack)),
            _ if !is_ours => {
                let reason = "the session that was lost still has the lease".to_owned();
                return Err(Stumble::Wait(Cause::new(TroubleKind::Locked, reason)));
            }
            Seen::NotCommitted => Standing::Open,
            Seen::Committed => Standing::Committed,
        };
        // It has all that was ever committed, so it may be another place after a failover. And what it shows of a commit whose
        // answer was lost may not have reached its synchronous standbys: behind a commit that is answered it has.
        lease::settle(&mut connection, &place).await.map_err(to_wait_for)?;
        if place != self.place {
            tracing::warn!(from = %self.place, to = %place, "another Postgres server answers, and it has all that was committed");
            self.place = place;
        }
        if standing == Standing::Committed {
            self.held.batch += 1;
        }
        self.is_committing = false;
        self.connection = Some(connection);
        Ok(standing)
    }

    pub(crate) async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let done = sqlx::raw_sql(sql).execute(self.connected()?).await;
        self.heard(done).map(drop)
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, sqlx::Error> {
        let done = bound(sql, params).execute(self.connected()?).await;
        self.heard(done).map(|done| done.rows_affected())
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let rows = fetch(self.connected()?, sql, params, wanted).await;
        self.heard(rows)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Stumble> {
        // One trip. If the row is not as this process left it there is no number to put in, and the server goes no further.
        let Held { epoch, holder, batch } = &self.held;
        let sql = format!(
            "UPDATE database_writer SET batch = CASE WHEN epoch = {epoch} AND holder = '{holder}' AND batch = {batch} THEN batch + 1 END; COMMIT"
        );
        let connection = self.connected()?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
        self.is_committing = done.as_ref().is_err_and(codes::is_broken);
        match self.heard(done) {
            Ok(done) if done.rows_affected() == 1 => {
                self.held.batch += 1;
                Ok(())
            }
            Ok(_) => Err(Stumble::Final(Failure::TakenOver)),
            Err(error) => match codes::answer(&error) {
                Some(answer)
                    if answer.code() == codes::NOT_NULL && answer.table() == Some("database_writer") =>
                {
                    Err(Stumble::Final(Failure::TakenOver))
                }
                _ => Err(error.into()),
            },
        }
    }

    pub(crate) async fn rollback(&mut self) {
        if self.connection.is_some()
            && let Err(error) = self.run("ROLLBACK").await
        {
            tracing::debug!(%error, "the connection is given up: it does not roll back");
            self.connection = None;
        }
    }

    /// With the connection the lease goes: for one who keeps it until the process has ended.
    pub(crate) fn into_connection(self) -> Option<PgConnection> {
        self.connection
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        let Some(mut connection) = self.connection else { return Ok(()) };
        // The server ends a session some time after its connection; whoever opens the database next need not wait for that.
        sqlx::raw_sql("ROLLBACK; SELECT pg_advisory_unlock_all()").execute(&mut connection).await?;
        connection.close().await
    }

    fn connected(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    }

    /// A connection that broke is of no use any more.
    fn heard<T>(&mut self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if answer.as_ref().is_err_and(codes::is_broken) {
            self.connection = None;
        }
        answer
    }
}

/// Whatever keeps a connection from being made again may pass: the server comes back, or its standby in its place.
fn to_wait_for(error: StorageError) -> Stumble {
    let kind = match &error {
        StorageError::Unsuitable { .. } => TroubleKind::ReadOnly,
        StorageError::Query(error) | StorageError::Connect { source: error, .. } => {
            error.trouble().unwrap_or(TroubleKind::Unreachable)
        }
        _ => TroubleKind::Unreachable,
    };
    let reason = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Stumble::Wait(Cause::new(kind, reason))
}
