use std::sync::Arc;

use rusqlite::types::ValueRef;

use crate::error::ColumnError;

/// The names of an answer's columns.
pub(crate) type Columns = Arc<[Box<str>]>;

/// One row of an answer, taken out of SQLite.
pub(crate) struct SqliteRow {
    columns: Columns,
    cells: Box<[Cell]>,
}

/// A value as SQLite has it, whatever its column says.
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real,
    /// Whether it is UTF-8 shows when it is asked for.
    Text(Box<[u8]>),
    Blob(Box<[u8]>),
}

impl SqliteRow {
    pub(super) fn new(columns: Columns, cells: Box<[Cell]>) -> Self {
        Self { columns, cells }
    }

    pub(crate) fn opt<'r, T: OfCell<'r>>(&'r self, column: &str) -> Result<Option<T>, ColumnError> {
        let mut cells = self.columns.iter().zip(&self.cells);
        let (_, cell) = cells.find(|(name, _)| &***name == column).ok_or(ColumnError::Missing)?;
        match cell {
            Cell::Null => Ok(None),
            cell => T::of_cell(cell).map(Some).ok_or(ColumnError::Type),
        }
    }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(_) => Self::Real,
            ValueRef::Text(text) => Self::Text(text.into()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.into()),
        }
    }
}

/// What a cell is read as: nothing is converted, so that what no version wrote shows.
pub(crate) trait OfCell<'r>: Sized {
    fn of_cell(cell: &'r Cell) -> Option<Self>;
}

impl OfCell<'_> for i64 {
    fn of_cell(cell: &Cell) -> Option<Self> {
        if let Cell::Integer(value) = cell { Some(*value) } else { None }
    }
}

impl OfCell<'_> for bool {
    fn of_cell(cell: &Cell) -> Option<Self> {
        i64::of_cell(cell).map(|value| value != 0)
    }
}

impl OfCell<'_> for String {
    fn of_cell(cell: &Cell) -> Option<Self> {
        let Cell::Text(text) = cell else { return None };
        str::from_utf8(text).ok().map(str::to_owned)
    }
}

impl<'r> OfCell<'r> for &'r [u8] {
    fn of_cell(cell: &'r Cell) -> Option<Self> {
        if let Cell::Blob(bytes) = cell { Some(bytes) } else { None }
    }
}

impl OfCell<'_> for Vec<u8> {
    fn of_cell(cell: &Cell) -> Option<Self> {
        <&[u8]>::of_cell(cell).map(<[u8]>::to_vec)
    }
}
