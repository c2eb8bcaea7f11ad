//! The database of an LSP, where that is not a file in its folder.

use storage::DatabaseUrl;
use storage::testing::{self, Scratch};

use super::Lsp;
use crate::failure::Failure;

/// Gone with this.
#[derive(Debug)]
pub(super) struct OwnDatabase {
    _scratch: Option<Scratch>,
}

impl OwnDatabase {
    /// On Postgres, if the tests are to run there (`LIGHTNING_ROD_TEST_ON`) and the settings name no other.
    pub(super) fn new(settings: &mut Vec<(String, String)>) -> Self {
        let is_named = settings.iter().any(|(key, _)| key == "database.url");
        let scratch = (!is_named && testing::usual_is_postgres()).then(Scratch::usual);
        settings
            .extend(scratch.iter().map(|scratch| ("database.url".to_owned(), scratch.url_text().to_owned())));
        Self { _scratch: scratch }
    }
}

impl Lsp {
    /// Where its rows are, for who looks at them while it is off.
    ///
    /// # Errors
    ///
    /// When its settings name a database that is none.
    pub fn database_url(&self) -> Result<DatabaseUrl, Failure> {
        match self.settings.iter().rfind(|(key, _)| key == "database.url") {
            Some((_, url)) => {
                url.parse().map_err(|error| Failure::wrong(format!("database.url of {}: {error}", self.name)))
            }
            None => Ok(DatabaseUrl::Sqlite(self.data_dir.join("lsp.sqlite"))),
        }
    }
}
