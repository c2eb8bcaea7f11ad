use sqlx::postgres::PgRow;
use sqlx::{Column as _, Decode, Postgres, Row as _, Type, TypeInfo as _};

use crate::StorageError;
use crate::error::ColumnError;
use crate::sqlite::{OfCell, SqliteRow};

/// One row of an answer. Columns go by their names; `get_` refuses NULL, `opt_` gives `None` for it.
pub struct Row(Inner);

enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self(Inner::Sqlite(row))
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self(Inner::Postgres(row))
    }
}

/// What both kinds of database have, under the same name.
trait Shared<'r>: OfCell<'r> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T: OfCell<'r> + Decode<'r, Postgres> + Type<Postgres>> Shared<'r> for T {}

impl Row {
    fn opt<'r, T: Shared<'r>>(&'r self, column: &str) -> Result<Option<T>, StorageError> {
        let value = match &self.0 {
            Inner::Sqlite(row) => row.opt(column),
            Inner::Postgres(row) => row.try_get(column).map_err(ColumnError::Postgres),
        };
        value.map_err(|source| StorageError::Column { column: column.to_owned(), source })
    }

    fn get<'r, T: Shared<'r>>(&'r self, column: &str) -> Result<T, StorageError> {
        self.opt(column)?.ok_or_else(|| null(column))
    }

    /// A literal in a query is no `BIGINT` to Postgres, but as wide as it needs to be.
    fn postgres_i64(row: &PgRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
        match row.try_column(column)?.type_info().name() {
            "INT4" => Ok(row.try_get::<Option<i32>, _>(column)?.map(i64::from)),
            _ => row.try_get(column),
        }
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing, NULL, or no integer.
    pub fn get_i64(&self, column: &str) -> Result<i64, StorageError> {
        self.opt_i64(column)?.ok_or_else(|| null(column))
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing or no integer.
    pub fn opt_i64(&self, column: &str) -> Result<Option<i64>, StorageError> {
        match &self.0 {
            Inner::Sqlite(_) => self.opt(column),
            Inner::Postgres(row) => Self::postgres_i64(row, column)
                .map_err(|source| StorageError::Column { column: column.to_owned(), source: source.into() }),
        }
    }

    /// # Errors
    /// As [`Row::get_i64`], and [`StorageError::ColumnRange`] if it is negative.
    pub fn get_u64(&self, column: &str) -> Result<u64, StorageError> {
        in_range(column, self.get_i64(column)?)
    }

    /// # Errors
    /// As [`Row::opt_i64`], and [`StorageError::ColumnRange`] if it is negative.
    pub fn opt_u64(&self, column: &str) -> Result<Option<u64>, StorageError> {
        self.opt_i64(column)?.map(|n| in_range(column, n)).transpose()
    }

    /// # Errors
    /// As [`Row::get_i64`], and [`StorageError::ColumnRange`] if it does not fit.
    pub fn get_u32(&self, column: &str) -> Result<u32, StorageError> {
        in_range(column, self.get_i64(column)?)
    }

    /// # Errors
    /// As [`Row::opt_i64`], and [`StorageError::ColumnRange`] if it does not fit.
    pub fn opt_u32(&self, column: &str) -> Result<Option<u32>, StorageError> {
        self.opt_i64(column)?.map(|n| in_range(column, n)).transpose()
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing, NULL, or no truth value.
    pub fn get_bool(&self, column: &str) -> Result<bool, StorageError> {
        self.get(column)
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing, NULL, or no text.
    pub fn get_text(&self, column: &str) -> Result<String, StorageError> {
        self.get(column)
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing or no text.
    pub fn opt_text(&self, column: &str) -> Result<Option<String>, StorageError> {
        self.opt(column)
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing, NULL, or no bytes.
    pub fn get_blob(&self, column: &str) -> Result<Vec<u8>, StorageError> {
        self.get(column)
    }

    /// # Errors
    /// [`StorageError::Column`] if the column is missing or no bytes.
    pub fn opt_blob(&self, column: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.opt(column)
    }

    /// Bytes of a fixed length: a hash, a key, a channel id.
    ///
    /// # Errors
    /// As [`Row::get_blob`], and [`StorageError::ColumnRange`] if the length is another.
    pub fn get_array<const N: usize>(&self, column: &str) -> Result<[u8; N], StorageError> {
        array(column, self.get(column)?)
    }

    /// # Errors
    /// As [`Row::opt_blob`], and [`StorageError::ColumnRange`] if the length is another.
    pub fn opt_array<const N: usize>(&self, column: &str) -> Result<Option<[u8; N]>, StorageError> {
        self.opt::<&[u8]>(column)?.map(|bytes| array(column, bytes)).transpose()
    }
}

fn null(column: &str) -> StorageError {
    StorageError::Column { column: column.to_owned(), source: ColumnError::Null }
}

fn in_range<T: TryFrom<i64>>(column: &str, n: i64) -> Result<T, StorageError> {
    T::try_from(n).map_err(|_| StorageError::ColumnRange { column: column.to_owned() })
}

fn array<const N: usize>(column: &str, bytes: &[u8]) -> Result<[u8; N], StorageError> {
    bytes.try_into().map_err(|_| StorageError::ColumnRange { column: column.to_owned() })
}
