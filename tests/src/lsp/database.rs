//! The database of an LSP, where that is not a file in its folder.

use storage::testing::{self, Scratch};

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
