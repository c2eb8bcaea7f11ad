use super::Files;
use super::connection::Connection;
use super::files::Astray;
use crate::link::{Control, Standing};
use crate::session::{Stumble, Wanted};
use crate::trouble::Cause;
use crate::{Failure, QueryError, Row, Value};

/// The connection that writes a SQLite file.
pub(crate) struct Link {
    connection: Connection,
    /// Only reads, and so notices whatever is committed. The writing connection's own `data_version` moves with its errors too.
    watcher: Connection,
    files: Files,
}

impl Link {
    pub(crate) fn new(connection: Connection, watcher: Connection, files: Files) -> Self {
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

    pub(crate) fn run(&mut self, sql: &'static str) -> Result<(), QueryError> {
        self.connection.run(sql)
    }

    pub(crate) fn control(&mut self, control: Control) -> Result<(), QueryError> {
        // One after the other: a text of two statements would be read anew each time.
        match control {
            Control::Renew => {
                self.run(Control::Release.sql())?;
                self.run(Control::Set.sql())
            }
            control => self.run(control.sql()),
        }
    }

    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, QueryError> {
        self.connection.execute(sql, params)
    }

    pub(crate) fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, QueryError> {
        self.connection.fetch(sql, params, wanted)
    }

    pub(crate) fn rollback(&mut self) {
        if let Err(error) = self.run("ROLLBACK") {
            tracing::trace!(%error, "SQLite had rolled back by itself");
        }
    }

    /// Whether the transaction is still open.
    pub(crate) fn stands(&self) -> bool {
        self.connection.is_in_transaction()
    }

    /// Nothing if the answer is no number.
    pub(crate) fn version(&mut self) -> Result<Option<i64>, QueryError> {
        let rows = self.watcher.fetch("PRAGMA data_version", &[], Wanted::First)?;
        Ok(rows.first().and_then(|row| row.get_i64("data_version").ok()))
    }

    pub(crate) fn close(self) -> Result<(), QueryError> {
        self.watcher.close()?;
        self.connection.close()
    }
}
