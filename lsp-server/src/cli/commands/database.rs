//! `lsp-server backup` and `lsp-server accept-database`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use storage::Database;

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::config::Config;
use crate::error::ServerError;
use crate::guard::Guard;
use crate::store;

/// Copy the database into a new file, also while the server runs.
///
/// For SQLite; a Postgres database is copied with Postgres' own tools. The copy is one consistent state. It is for looking at, and for the day on which everything else is lost: channels move on
/// with every payment, so that a server that STARTED from it could lose them. The server refuses a copy whose witness saw more.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BackupArguments {
    /// The file to write; it must not be there.
    file: PathBuf,
}

/// Take the configured database for the newest state there is, against what its witnesses or a peer say, or although its Postgres
/// server was promoted or replaced.
///
/// DANGEROUS: if the database is an old copy, whole channels can be lost. The right use is a newest database whose witness is
/// lost. Give the number that the refusal names. The server must not run.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AcceptArguments {
    /// The generation of the database that is to be accepted.
    #[arg(long)]
    generation: u64,
}

#[derive(Serialize)]
struct Copied {
    file: PathBuf,
    bytes: u64,
}

#[derive(Serialize)]
struct Accepted {
    generation: u64,
}

pub(in crate::cli) async fn backup(
    data_dir: &Path,
    arguments: BackupArguments,
    output: Output,
) -> Result<(), CliError> {
    let config = Config::load(data_dir).map_err(ServerError::from)?;
    let file = arguments.file;
    storage::backup(&config.database, &file).await.map_err(ServerError::from)?;
    let bytes = file.metadata()?.len();
    output.print(&Copied { file, bytes }, |copied| {
        format!(
            "{}: {} bytes. Never start from it while a newer state exists.\n",
            copied.file.display(),
            copied.bytes
        )
    })
}

pub(in crate::cli) async fn accept(
    data_dir: &Path,
    arguments: AcceptArguments,
    output: Output,
) -> Result<(), CliError> {
    let config = Config::load(data_dir).map_err(ServerError::from)?;
    let guard = Guard::new(&config);
    let peeked = storage::peek_generation(&config.database).await.map_err(ServerError::from)?;
    guard.check_named(peeked, arguments.generation).map_err(ServerError::from)?;
    storage::accept_place(&config.database).await.map_err(ServerError::from)?;
    let db = Database::open(&config.database, &[store::MIGRATIONS]).await.map_err(ServerError::from)?;
    let accepted = guard.accept(&db, arguments.generation).await;
    db.close().await;
    let generation = accepted.map_err(ServerError::from)?.number;
    output
        .print(&Accepted { generation }, |accepted| format!("accepted: generation {}\n", accepted.generation))
}
