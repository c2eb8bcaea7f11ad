//! Is the database the newest state, as far as that can be told?

use storage::DatabaseUrl;

use super::Check;
use crate::config::Config;
use crate::error::with_causes;
use crate::guard::Guard;

const NAME: &str = "generation";

pub(super) async fn examine(config: &Config) -> Check {
    let may_be_read = match &config.database {
        DatabaseUrl::Sqlite(path) => path.exists(),
        DatabaseUrl::Postgres(_) => true,
    };
    let found = if may_be_read {
        match storage::peek_generation(&config.database).await {
            Ok(found) => found,
            Err(error) => {
                return Check::skipped(NAME, format!("the database cannot be read: {}", with_causes(&error)));
            }
        }
    } else {
        None
    };
    match (Guard::new(config).judge(found), found) {
        (Ok(()), Some(found)) => Check::ok(NAME, format!("{found}, no witness saw a newer one")),
        (Ok(()), None) => Check::ok(NAME, "the database has not run yet"),
        (Err(error), _) => Check::failed(
            NAME,
            with_causes(&error),
            "do not start from an old copy: `docs/operations.md`, Backup, says what else there is",
        ),
    }
}
