//! Whether both kinds of database get the same tables.

use std::fs;
use std::path::Path;

use super::must;
use crate::{Database, MigrationSet, Row, StorageError};

/// Every migration's file of a set is in the set's list, for both kinds of database: one that is not would never be applied.
///
/// # Panics
/// If not.
pub fn assert_migrations_listed(set: &MigrationSet) {
    for (kind, steps) in [("sqlite", set.sqlite), ("postgres", set.postgres)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(kind).join(set.name);
        let mut found: Vec<_> = must(fs::read_dir(&folder), "the folder of the migrations")
            .map(|entry| must(entry, "a file of it").file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let listed: Vec<_> =
            steps.iter().map(|step| format!("{:04}_{}.sql", step.version, step.name)).collect();
        assert_eq!(found, listed, "{}", folder.display());
    }
}

const SQLITE_COLUMNS: &str = "SELECT t.name AS of_table, c.name AS column_name, \
    CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE lower(c.type) END AS kind, \
    CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN 1 ELSE 0 END AS needed \
    FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c \
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!' AND t.name NOT LIKE '!_migrations!_%' ESCAPE '!'";

/// All but the tables with which Postgres has what SQLite has of itself.
const POSTGRES_COLUMNS: &str = "SELECT table_name::text AS of_table, column_name::text AS column_name, \
    data_type::text AS kind, CASE WHEN is_nullable = 'NO' THEN 1 ELSE 0 END AS needed \
    FROM information_schema.columns WHERE table_schema = current_schema() \
    AND table_name NOT IN ('database_writer', 'row_id') AND table_name NOT LIKE '\\_migrations\\_%'";

const SQLITE_INDEXES: &str = "SELECT t.name AS of_table, i.name AS index_name, i.\"unique\" AS is_unique, \
    i.partial AS is_partial, (SELECT group_concat(k.name, ',') FROM \
    (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno) AS k) AS columns \
    FROM sqlite_schema AS t JOIN pragma_index_list(t.name) AS i WHERE t.type = 'table' AND i.origin = 'c'";

const POSTGRES_INDEXES: &str = "SELECT t.relname::text AS of_table, n.relname::text AS index_name, \
    CASE WHEN i.indisunique THEN 1 ELSE 0 END AS is_unique, CASE WHEN i.indpred IS NULL THEN 0 ELSE 1 END AS is_partial, \
    (SELECT string_agg(replace(pg_get_indexdef(i.indexrelid, place::integer, false), '\"', ''), ',' ORDER BY place) \
    FROM generate_series(1, i.indnkeyatts) AS place) AS columns \
    FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_class AS n ON n.oid = i.indexrelid \
    WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
    AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)";

/// Every column and every index of a database, a line each, as Postgres calls them.
///
/// # Panics
/// If the database fails.
pub async fn schema(database: &Database, is_postgres: bool) -> Vec<String> {
    let (columns, indexes) =
        if is_postgres { (POSTGRES_COLUMNS, POSTGRES_INDEXES) } else { (SQLITE_COLUMNS, SQLITE_INDEXES) };
    let lines = database.read("schema", move |tx| {
        Box::pin(async move {
            let mut lines = Vec::new();
            for row in tx.fetch_all(columns, &[]).await? {
                lines.push(column(&row)?);
            }
            for row in tx.fetch_all(indexes, &[]).await? {
                lines.push(index(&row)?);
            }
            lines.sort();
            Ok::<_, StorageError>(lines)
        })
    });
    must(lines.await, "the schema")
}

fn column(row: &Row) -> Result<String, StorageError> {
    let (table, name, kind) =
        (row.get_text("of_table")?, row.get_text("column_name")?, row.get_text("kind")?);
    let null = if row.get_i64("needed")? == 1 { "NOT NULL" } else { "NULL" };
    Ok(format!("{table}.{name} {kind} {null}"))
}

fn index(row: &Row) -> Result<String, StorageError> {
    let (table, name, columns) =
        (row.get_text("of_table")?, row.get_text("index_name")?, row.get_text("columns")?);
    let unique = if row.get_i64("is_unique")? == 1 { " UNIQUE" } else { "" };
    let partial = if row.get_i64("is_partial")? == 1 { " WHERE" } else { "" };
    Ok(format!("{name} ON {table} ({columns}){unique}{partial}"))
}
