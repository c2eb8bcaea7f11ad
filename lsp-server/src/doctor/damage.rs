//! Is everything in the database what the server wrote there?

use storage::DatabaseUrl;

use super::Check;
use crate::config::Config;
use crate::damage;
use crate::error::with_causes;

const PAGES: &str = "database pages";
const ROWS: &str = "database rows";

/// Reads all of the file, whether a server has it open or not. The pages of a Postgres server are its own affair.
pub(super) async fn examine(config: &Config) -> Vec<Check> {
    let path = match &config.database {
        DatabaseUrl::Sqlite(path) => path,
        DatabaseUrl::Postgres(_) => return vec![rows(config).await],
    };
    if !path.exists() {
        return vec![Check::skipped(ROWS, "there is no database yet")];
    }
    let pages = match storage::damaged_pages(path).await {
        Ok(found) if found.is_empty() => Check::ok(PAGES, "the file is whole"),
        Ok(found) => damaged_file(found.join("; ")),
        Err(error) => return vec![damaged_file(with_causes(&error))],
    };
    vec![pages, rows(config).await]
}

fn damaged_file(found: String) -> Check {
    Check::failed(PAGES, found, "keep the file as it is, and see `Damage` in docs/operations.md")
}

async fn rows(config: &Config) -> Check {
    match damage::inspect(&config.database).await {
        Ok(None) => Check::skipped(ROWS, "the database is empty"),
        Ok(Some(found)) if found.counts.is_empty() => Check::ok(ROWS, "every row can be read"),
        Ok(Some(found)) => {
            let lines = found.lines().join("; ");
            Check::warning(ROWS, lines, "they are set aside; see `Damage` in docs/operations.md")
        }
        Err(error) => Check::skipped(ROWS, format!("they cannot be looked at: {}", with_causes(&error))),
    }
}
