use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Error, OpenFlags, Rows, Statement, ToSql};

use super::row::{Cell, Columns, SqliteRow};
use crate::session::Wanted;
use crate::{QueryError, Row, Value};

/// For an operator's own look into the file; nobody else writes.
const BUSY_SECONDS_MAX: u64 = 30;

const STATEMENTS_CACHED: usize = 512;

/// Who works with the file, in the calling thread: a statement that waits for the disk keeps the thread waiting.
pub(crate) struct Connection {
    connection: rusqlite::Connection,
    /// What is known of each text that was prepared.
    shapes: HashMap<&'static str, Shape>,
}

#[derive(Clone)]
struct Shape {
    columns: Columns,
    /// For each of the statement's parameters which of the caller's it is, from 0: `$2` may come before `$1`.
    parameters: Arc<[usize]>,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

impl Connection {
    pub(crate) fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let access = match access {
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let connection =
            rusqlite::Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_secs(BUSY_SECONDS_MAX))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        connection.pragma_update(None, "foreign_keys", true)?;
        // Otherwise a statement with a parameter as its LIMIT is prepared anew whenever one is bound. The planner knows no LIMIT now.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(Self { connection, shapes: HashMap::new() })
    }

    /// For what is done once, with texts that are made up.
    pub(super) fn raw(&mut self) -> &mut rusqlite::Connection {
        &mut self.connection
    }

    pub(crate) fn set_pragma(&self, name: &str, value: impl ToSql) -> Result<(), Error> {
        self.connection.pragma_update(None, name, value)
    }

    pub(crate) fn set_busy_timeout(&self, patience: Duration) -> Result<(), Error> {
        self.connection.busy_timeout(patience)
    }

    pub(crate) fn run(&mut self, sql: &'static str) -> Result<(), QueryError> {
        self.execute(sql, &[]).map(drop)
    }

    /// The number of rows that it changed.
    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, QueryError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let shape = self.shapes.entry(sql).or_insert_with(|| Shape::of(&statement));
        let mut rows = shape.bound(&mut statement, params)?;
        while rows.next()?.is_some() {}
        drop(rows);
        Ok(if statement.readonly() { 0 } else { self.connection.changes() })
    }

    pub(crate) fn fetch(
        &mut self,
        sql: &'static str,
        params: &[Value],
        wanted: Wanted,
    ) -> Result<Vec<Row>, QueryError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let shape = self.shapes.entry(sql).or_insert_with(|| Shape::of(&statement));
        let mut rows = shape.bound(&mut statement, params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = (0..shape.columns.len()).map(|column| row.get_ref(column).map(Cell::from));
            let cells = cells.collect::<Result<_, _>>()?;
            found.push(SqliteRow::new(shape.columns.clone(), cells).into());
            if matches!(wanted, Wanted::First) {
                break;
            }
        }
        Ok(found)
    }

    pub(crate) fn close(self) -> Result<(), QueryError> {
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

impl Shape {
    fn of(statement: &Statement<'_>) -> Self {
        let columns = statement.column_names().into_iter().map(Box::from).collect();
        let parameters = (1..=statement.parameter_count()).map(|index| {
            let number =
                statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse().ok());
            // One that has no number has no value either.
            number.and_then(|number: usize| number.checked_sub(1)).unwrap_or(usize::MAX)
        });
        Self { columns, parameters: parameters.collect() }
    }

    fn bound<'s>(&self, statement: &'s mut Statement<'_>, params: &[Value]) -> Result<Rows<'s>, Error> {
        for (index, number) in self.parameters.iter().enumerate() {
            let Some(value) = params.get(*number) else {
                return Err(Error::InvalidParameterCount(params.len(), self.parameters.len()));
            };
            statement.raw_bind_parameter(index + 1, value)?;
        }
        Ok(statement.raw_query())
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Integer(value) => value.map(ValueRef::Integer),
            Self::Bool(value) => value.map(|value| ValueRef::Integer(value.into())),
            Self::Text(value) => value.as_ref().map(|text| ValueRef::Text(text.as_bytes())),
            Self::Blob(value) => value.as_ref().map(|bytes| ValueRef::Blob(bytes)),
        };
        Ok(ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null)))
    }
}
