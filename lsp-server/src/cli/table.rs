//! Tables in plain text.

use std::fmt;

/// Between columns.
const GAP: &str = "  ";

/// Rows under a header, each column as wide as its widest cell.
#[derive(Clone, Debug)]
pub(super) struct Table {
    empty: &'static str,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `empty` is said when there are no rows.
    pub(super) fn new(empty: &'static str, header: &[&'static str]) -> Self {
        Self { empty, header: header.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "{}", self.empty);
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let header = self.header.get(column).map_or(0, |cell| cell.chars().count());
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(header)
        };
        let widths: Vec<_> = (0..self.header.len()).map(width).collect();
        write_row(f, &widths, self.header.iter().copied())?;
        self.rows.iter().try_for_each(|row| write_row(f, &widths, row.iter().map(String::as_str)))
    }
}

fn write_row<'a>(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize],
    cells: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(&format!("{cell:width$}{GAP}"));
    }
    writeln!(f, "{}", line.trim_end())
}

/// Names and values, one pair per line.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    fields: Vec<(&'static str, String)>,
}

impl Fields {
    pub(super) fn field(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        self.fields.iter().try_for_each(|(name, value)| writeln!(f, "{name:width$}{GAP}{value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("none", &["id", "what"]);
        table.row(["1".to_owned(), "ä".to_owned()]);
        table.row(["200".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "id   what\n1    ä\n200\n");
        assert_eq!(Table::new("no holds", &["id"]).to_string(), "no holds\n");
    }

    #[test]
    fn fields_line_up() {
        let fields = Fields::default().field("a", 1).field("long name", "x");
        assert_eq!(fields.to_string(), "a          1\nlong name  x\n");
    }
}
